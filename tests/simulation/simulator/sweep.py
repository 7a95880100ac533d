"""Many seeds at once, on all cores."""

import gc
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from simulator.bugs import PLANTED
from simulator.run import run_seed
from simulator.worker_model import Parts

_AT_ONCE = 100
_SHOWN_MAX = 5


@dataclass(slots=True)
class Report:
    """What became of some seeds."""

    runs: int = 0
    red: dict[int, list[str]] = field(default_factory=dict)
    excused: list[int] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)  # runs that had at least one

    def add(self, other: "Report") -> None:
        """Take over what another part of the seeds did."""
        self.runs += other.runs
        self.red |= other.red
        self.excused += other.excused
        self.met += other.met

    def text(self) -> str:
        """The first red seeds with what is wrong and how to see it again."""
        lines = [f"{len(self.red)} of {self.runs} seeds are red: {sorted(self.red)[:50]}"]
        for seed, problems in sorted(self.red.items())[:_SHOWN_MAX]:
            lines += [f"seed {seed} (pytest tests/simulation --seed {seed})", *problems[:4]]
        return "\n  ".join(lines)


def sweep(seeds: Iterable[int], *, theme: str | None = None) -> Report:
    """Run the seeds with the code as it is."""
    report = Report()
    every = list(seeds)
    parts = [(every[at : at + _AT_ONCE], theme) for at in range(0, len(every), _AT_ONCE)]
    if len(parts) == 1:
        return _sweep_some(*parts[0])
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for done in pool.map(_sweep_some, *zip(*parts, strict=True)):
            report.add(done)
    return report


def first_red(bug: str, *, theme: str | None, seeds: Iterable[int]) -> tuple[int, str] | None:
    """The first seed that a planted bug turns red, and what is wrong there.

    A seed that is excused without the bug says nothing of it.
    """
    for seed in seeds:
        problems = _problems(seed, PLANTED[bug], theme)
        if problems and not run_seed(seed, theme=theme).is_excused:
            return seed, problems[0]
    return None


def _sweep_some(seeds: list[int], theme: str | None) -> Report:
    gc.freeze()
    gc.set_threshold(100_000)
    report = Report(len(seeds))
    for seed in seeds:
        result = run_seed(seed, theme=theme)
        report.met.update(name for name, count in result.counts.items() if count)
        if result.is_excused:
            report.excused.append(seed)
        elif result.problems:
            report.red[seed] = result.problems.all()
    return report


def _problems(seed: int, parts: Parts, theme: str | None) -> list[str]:
    """What is wrong; a step that stumbles over what it finds is wrong as well."""
    try:
        result = run_seed(seed, parts, theme)
    except (AssertionError, LookupError, ValueError) as error:
        return [repr(error)]
    return [] if result.is_excused else result.problems.all()

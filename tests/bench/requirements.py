"""What was asked for, and what was measured; the only place that knows the goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from loadtest.figures import Section, number_text

Sections = Mapping[str, Section]

_SPEED = "events_per_second"


class Verdict(NamedTuple):
    """One line of the summary; `is_met` is None where it was not measured."""

    requirement: str
    measured: str
    is_met: bool | None

    @property
    def met(self) -> str:
        return {True: "yes", False: "no", None: "-"}[self.is_met]


@dataclass(frozen=True)
class Requirement:
    """`measure` gives None where a section is missing; `limit` is a minimum or a maximum."""

    text: str
    unit: str
    limit: float
    is_minimum: bool
    measure: Callable[[Sections], float | None]

    def judge(self, sections: Sections) -> Verdict:
        """The measured value against the limit."""
        value = self.measure(sections)
        if value is None:
            return Verdict(self.text, "not measured", None)
        is_met = value >= self.limit if self.is_minimum else value <= self.limit
        return Verdict(self.text, f"{number_text(value)} {self.unit}".strip(), is_met)


def judge(sections: Sections) -> list[Verdict]:
    """One verdict per requirement, in their order; exactness last."""
    verdicts = [requirement.judge(sections) for requirement in REQUIREMENTS]
    checked = [s for s in sections.values() if any(f.name == "totals" for f in s.figures)]
    wrong = sum(len(section.differences) for section in checked)
    exact = Verdict(
        "every total exact, `meterline verify` holds", f"{wrong} differences", not wrong
    )
    return [*verdicts, exact if checked else exact._replace(measured="not measured", is_met=None)]


def _rounds(sections: Sections, section: str, name: str) -> dict[str, float]:
    """A figure of a section by round; what is measured once has the first round only."""
    named = {each.name.partition("."): each.number(name) for each in sections.values()}
    return {
        number: value
        for (found, _, number), value in named.items()
        if found == section and value is not None
    }


def _figure(section: str, name: str) -> Callable[[Sections], float | None]:
    """A figure of a section, the median where it was measured in several rounds."""

    def measure(sections: Sections) -> float | None:
        found = _rounds(sections, section, name)
        return median(found.values()) if found else None

    return measure


def _speeds(above: str, below: str) -> Callable[[Sections], float | None]:
    """The speed of one section as a share of another's in the same round, the median of rounds."""

    def measure(sections: Sections) -> float | None:
        tops = _rounds(sections, above, _SPEED)
        bottoms = _rounds(sections, below, _SPEED)
        ratios = [tops[each] / bottoms[each] for each in tops if bottoms.get(each)]
        return median(ratios) if ratios else None

    return measure


REQUIREMENTS = (
    Requirement(
        "one worker sustains at least 150 000 events/s into durable raw rows and totals, dedup on",
        "events/s", 150_000, is_minimum=True, measure=_figure("throughput", _SPEED),
    ),
    Requirement(
        "one worker sustains at least 250 000 events/s with prices as well",
        "events/s", 250_000, is_minimum=True, measure=_figure("rated", _SPEED),
    ),
    Requirement(
        "at least 20 times a plain per-event Bytewax flow with SET NX",
        "times", 20, is_minimum=True,
        measure=_speeds("throughput", "plain_flow"),
    ),
    Requirement(
        "at least half of consume-and-decode alone",
        "of it", 0.5, is_minimum=True,
        measure=_speeds("throughput", "decode_alone"),
    ),
    Requirement(
        "with rating on at least 0.75 of the speed without",
        "of it", 0.75, is_minimum=True,
        measure=_speeds("rated", "throughput"),
    ),
    Requirement(
        "Redis at most 32 bytes per event in the window",
        "bytes", 32, is_minimum=False, measure=_figure("throughput", "redis_bytes_per_event"),
    ),
    Requirement(
        "worker memory below 1024 MiB with a million active (customer, meter) keys",
        "MiB", 1024, is_minimum=False, measure=_figure("keys", "worker_peak_memory"),
    ),
    Requirement(
        "produce-to-queryable p99 below 2 s at 20 000 events/s",
        "s", 2, is_minimum=False, measure=_figure("latency", "p99"),
    ),
)  # fmt: skip

"""`make bench`: speed and memory on this machine, in one run, as ratios where possible.

Sections run one after the other against one fresh local stack (or the servers that
KAFKA_BOOTSTRAP_SERVERS, REDIS_URL and CLICKHOUSE_URL name); see docs/benchmarks.md.

    python tests/bench --quick
    python tests/bench --only throughput --only decode_alone

Exit codes: 0 everything ran and every total is exact, however fast; 1 not.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, NoReturn

from bench import QUICK, Bench, BenchFailed, Sizes, servers
from decode_alone import measure_decode_alone
from keys import measure_keys
from latency import measure_latency
from plain_flow import measure_plain_flow
from rated import measure_rated
from report import Report, print_section, print_verdicts
from rich.console import Console
from throughput import measure_throughput
from worker import WorkerFailed

from deploy.localstack.errors import StackError
from loadtest.figures import Section
from loadtest.machine import REPOSITORY, checkout, describe_machine
from metering.errors import MeterlineError

DEFAULT_SEED = 20_261
ROUNDS = 5
_RESULTS = REPOSITORY / ".meterline" / "bench"
_PIPED_WIDTH = 160
_EXPECTED = (BenchFailed, WorkerFailed, MeterlineError)


class _Part(NamedTuple):
    name: str
    title: str
    measure: Callable[[Bench, Section], None]
    is_compared: bool = False  # with another part's speed, so that one disturbed run says nothing


PARTS = (
    _Part(
        "throughput", "one worker, dedup on, to durable rows and totals", measure_throughput, True
    ),
    _Part("decode_alone", "consume and decode the same topic", measure_decode_alone, True),
    _Part("plain_flow", "a plain per-event flow with SET NX", measure_plain_flow),
    _Part("rated", "the same load, with every event charged", measure_rated, True),
    _Part("keys", "memory with a million keys", measure_keys),
    _Part("latency", "from produce to queryable, open loop", measure_latency),
)


def main() -> int:
    """Run it; returns the exit code."""
    options = _options()
    console = Console(
        highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH
    )
    signal.signal(signal.SIGTERM, _end)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    started_at = datetime.now(UTC)
    folder = _RESULTS / f"run-{started_at:%Y%m%dT%H%M%S}-{os.getpid()}"
    folder.mkdir(parents=True)
    console.print(f"seed {options.seed}; logs in {folder}", markup=False)
    try:
        with servers(folder / "stack", console) as (addresses, pids):
            machine, code = describe_machine(addresses, folder), checkout()
            for name, text in machine.items():
                console.print(f"  {name}: {text}", markup=False)
            sizes = QUICK if options.quick else Sizes()
            bench = Bench(options.seed, sizes, folder, addresses, pids, options.profile, console)
            rounds = options.rounds or (1 if options.quick else ROUNDS)
            sections = _run_all(bench, options.only, rounds=rounds)
            if checkout() != code:
                machine["commit"] += "; EDITED DURING THE RUN"
                console.print("the checkout was edited during the run", style="bold red")
    except StackError as error:
        console.print(f"BENCH FAILED: {error}", markup=False)
        return 1
    report = Report(
        started_at, " ".join(["python", *sys.argv]), options.seed, options.quick, machine, sections
    )
    print_verdicts(console, report)
    for path in report.save(_RESULTS):
        console.print(f"written: {path.relative_to(REPOSITORY)}", markup=False)
    seconds = (datetime.now(UTC) - started_at).total_seconds()
    verdict = "BENCH OK" if report.is_sound else "BENCH FAILED"
    console.print(f"{verdict} seed={options.seed} seconds={seconds:.0f}", markup=False)
    return 0 if report.is_sound else 1


def _run_all(bench: Bench, only: list[str], *, rounds: int) -> list[Section]:
    """The chosen sections; one that fails does not keep the others from running.

    Those that are compared run once a round, each round on loads of its own.
    """
    chosen = [part for part in PARTS if not only or part.name in only]
    compared = [part for part in chosen if part.is_compared]
    others = [part for part in chosen if not part.is_compared]
    again = [(part, number) for number in range(2, rounds + 1) for part in compared]
    sections = []
    try:
        for part, number in [(part, 1) for part in compared + others] + again:
            if number > 1 and part is compared[0]:
                bench.forget_main_load()
            bench.clear()
            name = part.name if number == 1 else f"{part.name}.{number}"
            bench.out.print(f"\n[bold]{name}[/]: {part.title}")
            section = Section(name, part.title)
            sections.append(section)
            began = time.monotonic()
            try:
                part.measure(bench, section)
            except _EXPECTED as error:
                section.error = str(error)
            except Exception:  # noqa: BLE001 - a bug in one section is reported as its failure
                section.error = traceback.format_exc()
            section.seconds = time.monotonic() - began
            print_section(bench.out, section)
    finally:
        bench.close()
    return sections


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [part.name for part in PARTS]
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works")
    parser.add_argument(
        "--only", action="append", default=[], choices=names, metavar="NAME",
        help=f"one section, may be repeated: {', '.join(names)}",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of the generated events")
    parser.add_argument(
        "--rounds", type=int, default=0,
        help=f"how often what is compared is measured; its median counts ({ROUNDS}; quick: 1)",
    )  # fmt: skip
    parser.add_argument("--cores", type=int, default=2, help="for everything, our servers included")
    parser.add_argument("--profile", action="store_true", help="record the worker with py-spy")
    return parser.parse_args()


def _end(_number: int, _frame: object) -> NoReturn:
    """SIGTERM ends like Ctrl-C: what was started is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    assert Path(sys.path[0]).name == "bench", "run it as `python tests/bench`"
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        sys.exit(130)

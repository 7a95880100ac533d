"""`make bench-peers`: other ways to count the same events, beside Meterline, in one run.

Each reads a topic that was full at the start, round by round; then each is killed on the way
and started again, three times. What is in its tables is compared with the truth. See docs/peers.md.

    make bench-peers
    PYTHONPATH=.:tests/bench .venv/bin/python tests/bench/peers --events 400000 --rounds 1

Exit codes: 0 all rows were measured, and Meterline's own numbers are exact; 1 not.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from bench import Bench, BenchFailed, Sizes, servers
from comparison import Comparison
from peer_rows import PEERS
from peer_run import PYTHON
from rich.console import Console
from worker import WorkerFailed

from deploy.localstack.errors import StackError
from loadtest.machine import REPOSITORY, checkout, describe_machine
from loadtest.page import put
from loadtest.peers.report import Row, document, promises_table, speed_table, truth_table
from metering.errors import MeterlineError

DEFAULT_SEED = 20_261
_RESULTS = REPOSITORY / ".meterline" / "bench-peers"
_PAGE = REPOSITORY / "docs" / "peers.md"
_NAME = "make bench-peers"
#: As it can be run from the repository's folder.
_COMMAND = "PYTHONPATH=.:tests/bench .venv/bin/python tests/bench/peers"
_PIPED_WIDTH = 200
_EXPECTED = (BenchFailed, WorkerFailed, MeterlineError)


def main() -> int:
    """Run it; returns the exit code."""
    options = _options()
    console = Console(
        highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH
    )
    signal.signal(signal.SIGTERM, _end)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    chosen = [peer for peer in PEERS if not options.only or peer.name in options.only]
    if any(peer.has_own_python for peer in chosen) and not PYTHON.exists():
        console.print(f"BENCH FAILED: expected {PYTHON.relative_to(REPOSITORY)}, got none: "
                      "`make bench-peers` makes it", markup=False)  # fmt: skip
        return 1
    started_at = datetime.now(UTC)
    folder = _RESULTS / f"run-{started_at:%Y%m%dT%H%M%S}-{os.getpid()}"
    folder.mkdir(parents=True)
    console.print(f"seed {options.seed}; logs in {folder}", markup=False)
    try:
        with servers(folder / "stack", console) as (addresses, pids):
            machine, code = describe_machine(addresses, folder), checkout()
            sizes = Sizes(events=options.events)
            bench = Bench(options.seed, sizes, folder, addresses, pids, out=console)
            rows = _measure(Comparison(bench, chosen), options)
            if checkout() != code:
                machine["commit"] += "; EDITED DURING THE RUN"
    except StackError as error:
        console.print(f"BENCH FAILED: {error}", markup=False)
        return 1
    text = "\n".join(_report(rows, options, machine, started_at))
    console.print(text, markup=False)
    stem = f"{started_at:%Y-%m-%dT%H%M%SZ}"
    (_RESULTS / f"{stem}.md").write_text(text + "\n")
    (_RESULTS / f"{stem}.json").write_text(
        json.dumps({"machine": machine, "seed": options.seed, "rows": document(rows)}, indent=1)
        + "\n"
    )
    console.print(f"written: {_RESULTS.relative_to(REPOSITORY)}/{stem}.md and .json", markup=False)
    if options.page:
        put(_PAGE, _NAME, text=text)
    is_sound = all(row.runs and not row.errors for row in rows)
    console.print(f"{'BENCH OK' if is_sound else 'BENCH FAILED'} seed={options.seed}")
    return 0 if is_sound else 1


def _measure(comparison: Comparison, options: argparse.Namespace) -> list[Row]:
    """All rounds, then the kills; one that fails does not keep the others from running."""
    try:
        for step in comparison.steps(options.rounds, is_killed=options.kill):
            try:
                step.run()
            except _EXPECTED as error:
                step.row.errors.append(f"{step.name}: {error}")
            except Exception:  # noqa: BLE001 - a bug in one row is reported as its failure
                step.row.errors.append(f"{step.name}: {traceback.format_exc()}")
            for problem in step.row.errors[-1:]:
                if problem.startswith(f"{step.name}:"):
                    comparison.bench.out.print(f"FAILED {problem}", markup=False, style="bold red")
    finally:
        comparison.bench.close()
    return comparison.rows


def _report(
    rows: list[Row], options: argparse.Namespace, machine: dict[str, str], started_at: datetime
) -> list[str]:
    command = f"{_COMMAND} {shlex.join(sys.argv[1:])}".strip()
    told = ("CPU", "cores", "memory", "load average", "kernel", "Python", "packages", "Redis",
            "ClickHouse", "commit")  # fmt: skip
    others = [run.others_cores for row in rows for run in row.runs]
    when = (
        f"`{command}` of {started_at:%Y-%m-%d %H:%M} UTC, seed {options.seed}, rounds:"
        f" {options.rounds}."
    )
    if others:
        when += f" Other programs took {min(others):.2f} to {max(others):.2f} cores meanwhile."
    return [
        when,
        "",
        *speed_table(rows), "", *truth_table(rows), "", *promises_table(rows), "",
        "| machine | |", "| --- | --- |",
        *(f"| {name} | {machine[name]} |" for name in told if name in machine),
        *(f"\n**{row.name} FAILED** {error}" for row in rows for error in row.errors),
    ]  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench-peers", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    names = [peer.name for peer in PEERS]
    parser.add_argument(
        "--events", type=int, default=4_000_000, help="of the fastest; slow ones read a part"
    )
    parser.add_argument("--rounds", type=int, default=5, help="the median of them counts")
    parser.add_argument(
        "--only", action="append", default=[], choices=names, metavar="NAME",
        help=f"one row, may be repeated: {', '.join(names)}",
    )  # fmt: skip
    parser.add_argument("--kill", action=argparse.BooleanOptionalAction, default=True,
                        help="kill each three times, after the rounds")  # fmt: skip
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of the generated events")
    parser.add_argument("--cores", type=int, default=2, help="for everything, our servers included")
    parser.add_argument("--page", action="store_true", help="put the tables into docs/peers.md")
    return parser.parse_args()


def _end(_number: int, _frame: object) -> NoReturn:
    """SIGTERM ends like Ctrl-C: what was started is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    assert Path(sys.path[0]).name == "peers", "run it as `python tests/bench/peers`"
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        sys.exit(130)

"""Rows of a comparison: what each way promises, what it did, and how much faster one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from loadtest.figures import number_text
from loadtest.peers.deviation import Deviation

#: Processes whose CPU time is told apart, in the order of the columns.
PROCESSES = ("process", "kafka", "redis", "clickhouse")
#: The row that all are compared with.
OURS = "worker"
_MISSING = "-"


@dataclass(frozen=True)
class Promises:
    """What a way to count guarantees by its construction, as one cell each."""

    window: str
    other_partition: str
    after_kill: str
    rated: str
    raw_rows: str


@dataclass(frozen=True)
class Run:
    """One pass over a topic; `cpu_us` is microseconds of CPU per message, by process.

    `totals_s` is how long a query of all totals took afterwards.
    """

    round: int
    messages: int
    seconds: float
    cpu_us: Mapping[str, float]
    others_cores: float
    deviation: Deviation
    raw: str
    totals_s: float

    @property
    def speed(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds


@dataclass
class Row:
    """One way to count; `killed` is what its totals came to after `kill -9` on the way."""

    name: str
    title: str
    promises: Promises
    runs: list[Run] = field(default_factory=list)
    killed: str = ""
    errors: list[str] = field(default_factory=list)

    def cpu(self, process: str) -> float | None:
        """Median microseconds of CPU per message of one process, None where not measured."""
        found = [run.cpu_us[process] for run in self.runs if process in run.cpu_us]
        return median(found) if found else None


def times_faster(rows: Sequence[Row], row: Row) -> float | None:
    """Median over the rounds of how many times the speed of `row` ours is, in the same round.

    None where a run of one of them is missing, or ours was not chosen.
    """
    speeds = {run.round: run.speed for each in rows if each.name == OURS for run in each.runs}
    found = [speeds[run.round] / run.speed for run in row.runs if run.round in speeds]
    return median(found) if found else None


def speed_table(rows: Sequence[Row]) -> list[str]:
    """Markdown: speed, ratio to ours, CPU time."""
    servers = ("Kafka", "Redis", "ClickHouse")
    heads = ("", "events read", "events/s, median", "min to max", "Meterline is",
             "CPU us/event: process", *servers, "all")  # fmt: skip
    lines = [_line(heads), "| --- |" + " ---: |" * (len(heads) - 1)]
    for row in rows:
        if not row.runs:
            lines.append(_line((row.title, *[_MISSING] * (len(heads) - 1))))
            continue
        speeds = [run.speed for run in row.runs]
        ratio = times_faster(rows, row)
        cpu = [row.cpu(process) for process in PROCESSES]
        lines.append(
            _line(
                (
                    row.title,
                    f"{row.runs[0].messages:,}",
                    f"{median(speeds):,.0f}",
                    f"{min(speeds):,.0f} to {max(speeds):,.0f}",
                    "" if row.name == OURS else _text(ratio, " times"),
                    *(_text(each) for each in cpu),
                    _text(sum(each for each in cpu if each is not None)),
                )
            )
        )
    return lines


def promises_table(rows: Sequence[Row]) -> list[str]:
    """Markdown: what each way promises."""
    heads = ("", "dedup window", "copy on another partition", "after `kill -9`", "rated",
             "durable raw rows")  # fmt: skip
    lines = [_line(heads), "| --- " * len(heads) + "|"]
    return lines + [_line((row.title, *asdict(row.promises).values())) for row in rows]


def truth_table(rows: Sequence[Row]) -> list[str]:
    """Markdown: what the totals and raw rows of each came to; the worst round counts."""
    heads = ("", "totals against the truth", "raw rows", "all totals read in",
             "totals after `kill -9` on the way")  # fmt: skip
    lines = [_line(heads), "| --- " * len(heads) + "|"]
    for row in rows:
        if row.runs:
            worst = max(row.runs, key=lambda run: run.deviation.hours_wrong)
            read_s = median(run.totals_s for run in row.runs)
            told = (worst.deviation.text, worst.raw, f"{number_text(read_s)} s")
        else:
            told = (_MISSING, _MISSING, _MISSING)
        lines.append(_line((row.title, *told, row.killed or _MISSING)))
    return lines


def document(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """All of it for a JSON file; quantities are texts."""
    found = []
    for row in rows:
        runs = [
            {
                **asdict(run),
                "events_per_second": run.speed,
                "deviation": {name: _plain(value) for name, value in asdict(run.deviation).items()},
            }
            for run in row.runs
        ]
        found.append(
            {**asdict(row), "runs": runs, "times_faster": times_faster(rows, row)}
        )  # fmt: skip
    return found


def _plain(value: object) -> object:
    return value if isinstance(value, int) else str(value)


def _text(value: float | None, unit: str = "") -> str:
    return _MISSING if value is None else number_text(value) + unit


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

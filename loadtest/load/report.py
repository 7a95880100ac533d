"""The result of a run: JSON, Markdown, and a page with plots."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from loadtest.figures import Figure
from loadtest.load.growth import HEADS, Growth
from loadtest.load.plots import draw_plots
from loadtest.load.watching import Sample, Watched
from loadtest.oracle import Difference
from loadtest.outcome import Outcome

_SHOWN_MAX = 40
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


@dataclass(frozen=True)
class Report:
    """All of one run; `command` repeats it. `growth` is judged in a soak only."""

    started_at: datetime
    command: str
    seed: int
    title: str
    machine: Mapping[str, str]
    figures: Sequence[Figure]
    samples: Sequence[Sample]
    disk: Mapping[str, float]
    differences: Sequence[Difference]
    growth: Sequence[Growth] = ()
    faults: Sequence[str] = ()

    @property
    def grown(self) -> list[Growth]:
        """Quantities that rose beyond what is allowed, or could not be judged."""
        return [each for each in self.growth if each.is_wrong]

    @property
    def is_right(self) -> bool:
        """Every number is exact, nothing grew that must not, and nothing else went wrong."""
        return not (self.differences or self.grown or self.faults)

    @property
    def verdict(self) -> str:
        """What the oracle says, and what grew."""
        exact = f"{len(self.differences)} numbers differ" if self.differences else "exact"
        if not self.growth:
            return "; ".join((exact, *self.faults))
        names = ", ".join(each.name for each in self.grown)
        return "; ".join((exact, f"grew: {names}" if names else "nothing grew", *self.faults))

    def save(self, folder: Path) -> list[Path]:
        """Write `report.json`, `report.md` and `report.html`; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"json": self._json(), "md": self._markdown(), "html": self._html()}
        paths = []
        for kind, text in texts.items():
            path = folder / f"report.{kind}"
            path.write_text(text, encoding="utf-8")
            paths.append(path)
        return paths

    def _json(self) -> str:
        document = {
            "started_at": self.started_at.isoformat(),
            "title": self.title,
            "command": self.command,
            "seed": self.seed,
            "verdict": self.verdict,
            "machine": dict(self.machine),
            "figures": [figure._asdict() for figure in self.figures],
            "disk_bytes_per_event": dict(self.disk),
            "growth": [each.document() for each in self.growth],
            "differences": [each._asdict() for each in self.differences],
            "samples": [{**asdict(sample), "lag": sample.lag} for sample in self.samples],
        }
        return json.dumps(document, indent=1) + "\n"

    def _markdown(self) -> str:
        lines = [
            f"# {self.title}", "",
            f"{self.started_at:%Y-%m-%d %H:%M} UTC, seed {self.seed}: **{self.verdict}**.", "",
            f"    {self.command}", "",
            *_table(("figure", "value", ""), self._rows()),
        ]  # fmt: skip
        if self.growth:
            judged = [each.row() for each in self.growth]
            lines += ["", "## Growth", "", *_table(HEADS, judged)]
        if self.differences:
            rows = [tuple(each) for each in self.differences[:_SHOWN_MAX]]
            lines += ["", "## Differences", "", *_table(("what", "expected", "got"), rows)]
        machine = list(self.machine.items())
        lines += ["", "## Machine", "", *_table(("what", "is"), machine)]
        return "\n".join(lines) + "\n"

    def _html(self) -> str:
        differences = [tuple(each) for each in self.differences[:_SHOWN_MAX]]
        plots = "\n".join(
            f"<figure><figcaption>{html.escape(name)}</figcaption>{drawn}</figure>"
            for name, drawn in draw_plots(self.samples, self.disk).items()
        )
        found = (
            f"<h2>Differences</h2>{_html_table(('what', 'expected', 'got'), differences)}"
            if differences
            else ""
        )
        growth = (
            f"<h2>Growth</h2>{_html_table(HEADS, [each.row() for each in self.growth])}"
            if self.growth
            else ""
        )
        return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.title)}</title>
<style>body{{font:15px sans-serif;margin:2em auto;max-width:60em;padding:0 1em}}
table{{border-collapse:collapse}}td,th{{border:1px solid #ccc;padding:.2em .6em;text-align:left}}
figure{{margin:1.5em 0}}figcaption{{font-weight:bold}}svg{{max-width:100%;height:auto}}
code{{background:#f4f4f4}}</style></head><body>
<h1>{html.escape(self.title)}</h1>
<p>{self.started_at:%Y-%m-%d %H:%M} UTC, seed {self.seed}:
<strong>{html.escape(self.verdict)}</strong></p>
<p><code>{html.escape(self.command)}</code></p>
{_html_table(("figure", "value", ""), self._rows())}
{growth}
{found}
<h2>Plots</h2>
{plots}
<h2>Machine</h2>
{_html_table(("what", "is"), list(self.machine.items()))}
</body></html>
"""

    def _rows(self) -> list[tuple[str, str, str]]:
        return [(figure.name, figure.text, figure.note) for figure in self.figures]


def figures_of(watched: Watched, disk: Mapping[str, float]) -> list[Figure]:
    """What a run measured; `disk` is bytes per event by table."""
    assert watched.done is not None
    done, load = watched.done, watched.started.load
    events, found = done.delivery.events, watched.latencies
    figures = [
        Figure("rate asked", load.schedule.rate, "events/s", f"for {load.schedule.seconds} s"),
        Figure("events", events, "events", f"{len(done.outcome.totals):,} hourly totals"),
        Figure("sent", events / done.delivery.seconds, "events/s", "until all is acknowledged"),
        Figure("durable", events / watched.seconds, "events/s", "from the first due to the last"),
        Figure("lag at most", max(each.lag for each in watched.samples), "events", "of any second"),
        *(
            Figure(f"latency {name}", found.percentile_ms(share), "ms", "scheduled send to durable")
            for name, share in _SHARES.items()
        ),
        Figure(
            "questions", watched.polls / max(watched.seconds, 1), "/s",
            f"to ClickHouse: the resolution; {watched.failed_polls} were not answered",
        ),
        Figure(
            "producer behind p99", behind_ms(watched, 0.99), "ms", "of its ticks; in the latency",
        ),
        Figure("producer behind max", behind_ms(watched, 1.0), "ms", "in the latency"),
        Figure("message", done.delivery.bytes / events, "bytes/event", "without key and headers"),
        *(Figure(f"disk {table}", size, "bytes/event") for table, size in disk.items()),
    ]  # fmt: skip
    return figures + process_figures(watched, events)


def process_figures(watched: Watched, events: int) -> list[Figure]:
    """Memory, open files and CPU time of each process; `events` is what the CPU time was for."""
    assert watched.cpu is not None
    cpu = watched.cpu
    figures = []
    for name in watched.samples[0].memory:
        figures += _held(watched.samples, name)
    figures += [
        Figure(f"CPU {name}", seconds / events * 1e6, "us/event", f"{seconds / cpu.at_s:.2f} cores")
        for name, seconds in cpu.processes.items()
    ]
    figures.append(Figure("CPU others", cpu.others / cpu.at_s, "cores", "other programs"))
    return figures


def _held(samples: Sequence[Sample], name: str) -> list[Figure]:
    """The most that a process held, and how it stood after a tenth of the run and at its end."""
    memory = [each.memory[name] / 2**20 for each in samples if name in each.memory]
    handles = [each.handles[name] for each in samples if name in each.handles]
    early = len(memory) // 10
    return [
        Figure(
            f"memory {name}", max(memory), "MiB",
            f"at most; {memory[early]:,.0f} after a tenth, {memory[-1]:,.0f} at the end",
        ),
        Figure(
            f"open files {name}", max(handles, default=0), "",
            f"at most; {handles[early]} after a tenth, {handles[-1]} at the end",
        ),
    ]  # fmt: skip


def counts_of(outcome: Outcome) -> dict[str, int]:
    """The truth in short; what it does not know is left out."""
    late = {} if outcome.late is None else {"late": outcome.late}
    return {
        "accepted": outcome.accepted,
        "duplicates": outcome.duplicates,
        "conflicts": outcome.conflicts,
        "rejected": outcome.rejected_without_conflicts,
        **late,
    }


def behind_ms(watched: Watched, share: float) -> float:
    """By how much a `share` (0..1) of all ticks was at most sent late."""
    assert watched.done is not None
    delays = sorted(watched.done.behind_s.tolist())
    return 1000 * float(delays[min(int(share * len(delays)), len(delays) - 1)])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(map(_cell, cells))} |" for cells in lines]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
        for cells in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"

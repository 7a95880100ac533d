"""A run as people follow it: a table that changes on a terminal, else a line now and then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from loadtest.load.watching import Sample

_LINE_EVERY = 5


@contextmanager
def live_view(
    console: Console, title: str, *, events: int | None = None
) -> Iterator[Callable[[Sample], None]]:
    """Yields what shows one more second; `events` is how many will be sent, where that is known."""
    if not console.is_terminal:
        yield _Lines(console).show
        return
    with Live(console=console, auto_refresh=False) as live:
        yield _Screen(live, title, events=events).show


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._before: Sample | None = None
        self._shown = 0

    def show(self, sample: Sample) -> None:
        if self._shown % _LINE_EVERY == 0:
            line = _line(sample, _rates(self._before, sample))
            self._console.print(line, highlight=False, soft_wrap=True)
            self._before = sample
        self._shown += 1


class _Screen:
    def __init__(self, live: Live, title: str, *, events: int | None) -> None:
        self._live = live
        self._title = title
        self._events = events
        self._before: Sample | None = None

    def show(self, sample: Sample) -> None:
        rates, self._before = _rates(self._before, sample), sample
        self._live.update(self._table(sample, rates), refresh=True)

    def _table(self, sample: Sample, rates: tuple[float, float]) -> Table:
        table = Table(title=self._title, title_justify="left", show_header=False)
        table.add_column("what")
        table.add_column("value", justify="right")
        table.add_row("elapsed", f"{sample.at_s:.0f} s")
        of = "" if self._events is None else f" of {self._events:,}"
        table.add_row("sent", f"{sample.sent:,}{of}, {rates[0]:,.0f}/s")
        table.add_row("durable", f"{sample.durable:,}, {rates[1]:,.0f}/s")
        table.add_row("lag", f"{sample.lag:,} events")
        table.add_row("p50, p99", f"{sample.p50_ms:,} ms, {sample.p99_ms:,} ms")
        table.add_row("producer behind", f"{sample.behind_ms:.0f} ms")
        for name, size in sample.memory.items():
            table.add_row(f"memory of {name}", f"{size / 2**20:,.0f} MiB")
        return table


def _rates(before: Sample | None, sample: Sample) -> tuple[float, float]:
    """Events a second that were sent, and that became durable, since the sample before."""
    if before is None or sample.at_s <= before.at_s:
        return 0.0, 0.0
    seconds = sample.at_s - before.at_s
    return (sample.sent - before.sent) / seconds, (sample.durable - before.durable) / seconds


def _line(sample: Sample, rates: tuple[float, float]) -> str:
    memory = sum(sample.memory.values()) / 2**20
    return (
        f"{sample.at_s:6.0f} s  sent {sample.sent:,} ({rates[0]:,.0f}/s)"
        f"  durable {sample.durable:,} ({rates[1]:,.0f}/s)  lag {sample.lag:,}"
        f"  p50 {sample.p50_ms:,} ms  p99 {sample.p99_ms:,} ms"
        f"  behind {sample.behind_ms:.0f} ms  memory {memory:,.0f} MiB"
    )

"""One reconciliation, on one page: what is shared, then range by range of customers, then sums."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import polars as pl
from clickhouse_connect.driver.client import Client

from metering.catalog import Meter
from metering.errors import SettingsInvalid
from reconcile.archived import Archive, Loaded, loaded
from reconcile.billed import card_versions, read_cards
from reconcile.cards import Card
from reconcile.cuts import read_cuts
from reconcile.doubles import read_moved
from reconcile.export_rows import read_export
from reconcile.files import sha256_of
from reconcile.ledger_rows import LedgerMapping, read_postings
from reconcile.mapping import GENERIC, FileMapping
from reconcile.own_periods import OwnPeriods
from reconcile.part import Part, Reading, Shared, compare_part, read_part
from reconcile.period import find_period, following_starts
from reconcile.placement import stray_findings
from reconcile.policy import Policy
from reconcile.rejected import read_rejected
from reconcile.result import InputFile, Reconciliation, compared
from reconcile.spans import SPAN_LINES, Span, find_spans
from reconcile.usage import open_history
from reconcile.variance import Check

#: Told what is being done, and how much of all is done (of 100).
Say = Callable[[str, int], None]
#: Given every range of customers when it is compared; what it holds is let go afterwards.
Keep = Callable[[Part], None]
#: What differs because a worker was writing does not any more when read again so much later.
_PAUSE_S = 2
_FILES_READ = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What to compare, and by which rules. Files are read before anything is asked of a server.

    Raw history is `usage_events`, or the `archive` where one is given.
    """

    period: str
    meters: Mapping[str, Meter]
    own: OwnPeriods
    policy: Policy = field(default_factory=Policy)
    export: Path | None = None
    export_mapping: FileMapping = GENERIC
    ledger: Path | None = None
    ledger_mapping: LedgerMapping = field(default_factory=LedgerMapping)
    archive: Archive | None = None
    span_lines: int = SPAN_LINES


@dataclass(frozen=True, slots=True)
class Files:
    """Files as they were read; None for one that is not given."""

    export: pl.DataFrame | None
    postings: pl.DataFrame | None
    inputs: tuple[InputFile, ...]


def read_files(books: Books) -> Files:
    """Raises `SettingsInvalid` with the faults of all files together."""
    faults: list[str] = []
    frames: dict[str, pl.DataFrame] = {}
    inputs = []
    readers: list[tuple[str, Path | None, Callable[[Path], pl.DataFrame]]] = [
        ("export", books.export, lambda path: read_export(path, books.export_mapping)),
        ("gl", books.ledger, lambda path: read_postings(path, books.ledger_mapping)),
    ]
    for role, path, read in readers:
        if path is None:
            continue
        try:
            digest = sha256_of(path)
            frames[role] = read(path)
            inputs.append(InputFile(role, path.name, digest, frames[role].height))
        except SettingsInvalid as error:
            faults += error.faults
    if faults:
        raise SettingsInvalid(faults)
    return Files(frames.get("export"), frames.get("gl"), tuple(inputs))


def reconcile(
    client: Client, books: Books, *, files: Files, run: Reconciliation, say: Say, keep: Keep
) -> None:
    """Run every check that there are books for into `run`, and give every part to `keep`.

    A range is read while the one before it is compared; so `keep` must not use `client`. Raises
    `PermanentError` where a period or a cut is not there.
    """
    say("period and cuts", _FILES_READ)
    cards = read_cards(client)
    with ExitStack() as scratch:
        events = "usage_events"
        if books.archive is not None:
            found = scratch.enter_context(
                loaded(
                    client, books.archive, own=books.own, versions=card_versions(cards),
                    say=lambda count: say(f"archive: {count} events", _FILES_READ),
                )
            )  # fmt: skip
            events = found.table
            run.notes.append(_told(books.archive, found))
        shared = _shared(client, books, files=files, cards=cards, events=events)
        _compare(shared, books, run=run, say=say, keep=keep)
    say("done", 100)


def _told(archive: Archive, found: Loaded) -> str:
    told = f"raw history is the archive {archive.uri}: {found.events:,} events"
    if found.not_archived:
        told += f"; {found.not_archived:,} it does not hold yet, which were taken from ClickHouse"
    return told


def _compare(shared: Shared, books: Books, *, run: Reconciliation, say: Say, keep: Keep) -> None:
    run.cut_runs = [cut.run_id for cut in shared.cuts]
    if not shared.cuts:
        run.notes.append(f"{books.period} is not closed: invoice lines were not derived again")
    period = shared.period
    spans = find_spans(
        shared.history.client, period.condition(), parameters=period.parameters,
        size=books.span_lines,
    )  # fmt: skip
    sums, read = _Sums(run, keep), partial(read_part, shared)
    waiting: list[Reading] = []
    for at, reading in enumerate(_ahead(read, spans)):
        say(_named(at, spans), _share(at, spans))
        if reading.differing:
            waiting.append(reading)
        else:
            sums.take(compare_part(shared, reading))
    if waiting:
        time.sleep(_PAUSE_S)
    again = _ahead(read, [each.period.customers for each in waiting])
    for at, (before, now) in enumerate(zip(waiting, again, strict=True)):
        place = len(spans) - len(waiting) + at
        say(f"{_named(place, spans)}: totals that differ", _share(place, spans))
        sums.take(compare_part(shared, _agreeing(before, now)))
    sums.close(shared)


def _ahead(read: Callable[[Span], Reading], spans: Sequence[Span]) -> Iterator[Reading]:
    """What is read of each range, one ahead of what is asked for: the server works meanwhile."""
    with ThreadPoolExecutor(1, "reconcile-read") as reader:
        following = reader.submit(read, spans[0]) if spans else None
        for span in [*spans[1:], None]:
            if following is None:
                return
            reading = following.result()
            following = None if span is None else reader.submit(read, span)
            yield reading


def _shared(
    client: Client, books: Books, *, files: Files, cards: dict[int, Card], events: str
) -> Shared:
    period = find_period(client, books.period, books.own)
    following: set[tuple[str, int]] = set()
    for rows, column in ((files.export, "period_start"), (files.postings, "period")):
        if rows is not None:
            following |= following_starts(rows, column, own=books.own, period=period)
    period = replace(period, following=frozenset(following))
    history = open_history(client, books.meters, events=events)
    return Shared(
        history=history, period=period, own=books.own, policy=books.policy,
        cuts=read_cuts(client, period), cards=cards, versions=card_versions(cards),
        moved=read_moved(history), rejected=read_rejected(client, period),
        strays=stray_findings(history, period), export=files.export, postings=files.postings,
        ledger_mapping=books.ledger_mapping,
    )  # fmt: skip


def _agreeing(before: Reading, now: Reading) -> Reading:
    """What was read now, of whose differences only those count that were there before."""
    known = set(before.differing)
    return replace(now, differing=[each for each in now.differing if each in known])


@dataclass(slots=True)
class _Sums:
    """Both sides of every check, over all parts."""

    run: Reconciliation
    keep: Keep
    expected: dict[tuple[Check, str], int] = field(default_factory=dict)
    got: dict[tuple[Check, str], int] = field(default_factory=dict)

    def take(self, part: Part) -> None:
        run = self.run
        run.findings += part.findings
        for name, count in part.counts.items():
            run.counts[name] = run.counts.get(name, 0) + count
        for sums, found in ((self.expected, part.expected), (self.got, part.got)):
            for key, amount in found.items():
                sums[key] = sums.get(key, 0) + amount
        self.keep(part)

    def close(self, shared: Shared) -> None:
        run = self.run
        run.checks = [Check.TOTALS, Check.LINES]
        run.checks += [Check.EXPORT] if shared.export is not None else []
        run.checks += [Check.LEDGER] if shared.postings is not None else []
        order = list(Check)
        run.findings.sort(key=lambda each: order.index(each.check))
        for check in run.checks:
            run.comparisons += compared(
                check, run.findings, expected=_of(self.expected, check), got=_of(self.got, check)
            )


def _of(sums: dict[tuple[Check, str], int], check: Check) -> dict[str, int]:
    return {currency: amount for (each, currency), amount in sums.items() if each is check}


def _named(at: int, spans: list[Span]) -> str:
    return f"customers, range {at + 1} of {len(spans)}"


def _share(at: int, spans: list[Span]) -> int:
    return _FILES_READ + (100 - _FILES_READ) * at // len(spans)

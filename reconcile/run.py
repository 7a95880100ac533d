"""One reconciliation, on one page: read both books of every check, compare, classify, add up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import polars as pl
from clickhouse_connect.driver.client import Client

from metering.catalog import Meter
from metering.errors import SettingsInvalid
from reconcile.agreements import Agreements, read_agreements
from reconcile.billed import Billed, card_versions, read_billed, read_cards
from reconcile.check_export import CardKnowledge, ExportResult, check_export
from reconcile.check_ledger import check_ledger
from reconcile.check_lines import LineCheck, LinesResult
from reconcile.check_totals import check_totals
from reconcile.cuts import Cut, read_cuts
from reconcile.doubles import read_doubles
from reconcile.export_rows import read_export
from reconcile.files import sha256_of
from reconcile.ledger_rows import LedgerMapping, read_postings
from reconcile.mapping import GENERIC, FileMapping
from reconcile.period import StartOf, find_period
from reconcile.policy import Policy
from reconcile.rejected import Rejected, read_rejected, unbound_findings
from reconcile.result import InputFile, Reconciliation, compared
from reconcile.usage import read_usage
from reconcile.variance import Check, Finding

#: Told what is being done, and how much of all is done (of 100).
Say = Callable[[str, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What to compare, and by which rules. Files are read before anything is asked of a server."""

    period: str
    meters: Mapping[str, Meter]
    start_of: StartOf
    policy: Policy = field(default_factory=Policy)
    export: Path | None = None
    export_mapping: FileMapping = GENERIC
    ledger: Path | None = None
    ledger_mapping: LedgerMapping = field(default_factory=LedgerMapping)


@dataclass(frozen=True, slots=True)
class Files:
    """Files as they were read; None for one that is not given."""

    export: pl.DataFrame | None
    postings: pl.DataFrame | None
    inputs: tuple[InputFile, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A reconciliation, with what review records are made of."""

    run: Reconciliation
    usage: pl.DataFrame
    billed: Billed
    rejected: list[Rejected]
    export: ExportResult | None
    agreements: Agreements


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
    client: Client, books: Books, files: Files, *, run_id: str, now: datetime,
    say: Say = lambda _doing, _done: None,
) -> Outcome:  # fmt: skip
    """Run every check that there are books for. Nothing is written.

    Raises `PermanentError` where a period or a cut is not there.
    """
    say("period and cuts", 0)
    period = find_period(client, books.period, books.start_of)
    run = Reconciliation(run_id, period, now, inputs=list(files.inputs))
    cards = read_cards(client)
    versions = card_versions(cards)
    agreements = read_agreements(client, period)
    cuts = read_cuts(client, period)

    say("totals against raw history", 5)
    totals = check_totals(client, period, meters=books.meters, cards=cards, agreements=agreements)
    _add(run, Check.TOTALS, totals, expected={}, got=_got_of(totals))

    say("raw history", 20)
    doubles = read_doubles(client)
    usage = read_usage(
        client, period, meters=books.meters, cuts=cuts or [_NO_CUT],
        doubles=[each.place for each in doubles],
    )  # fmt: skip
    billed = read_billed(client, period)
    rejected = read_rejected(client, period)

    say("invoice lines against raw history", 40)
    unbound = unbound_findings(rejected)
    lines = LinesResult()
    if cuts:
        check = LineCheck(billed, usage, cards=cards, versions=versions, agreements=agreements)
        lines = check.run(doubles)
    else:
        run.notes.append(f"{period.name} is not closed: invoice lines were not derived again")
    _add(run, Check.LINES, [*lines.findings, *unbound], expected=lines.due, got=lines.billed)

    export = None
    if files.export is not None:
        say("export against invoice lines", 70)
        known = CardKnowledge(cards, versions, lines.late)
        export = check_export(billed.due_outside, files.export, period=period, known=known)
        _add(run, Check.EXPORT, export.findings, expected=export.expected, got=export.got)
        run.counts |= {"export_rows": export.rows, "export_rows_of_other_periods": export.skipped}
    if files.postings is not None:
        say("postings against invoice lines", 90)
        ledger = check_ledger(
            billed.due_outside, files.postings, period=period, mapping=books.ledger_mapping
        )
        _add(run, Check.LEDGER, ledger.findings, expected=ledger.expected, got=ledger.got)
        run.counts |= {"postings": ledger.rows, "postings_not_compared": ledger.skipped}
    run.counts |= {
        "usage_lines": usage.height, "invoice_lines": billed.lines.height,
        "invoices": billed.invoices.height, "adjustment_lines": billed.adjustments.height,
        "rejected_events": len(rejected),
    }  # fmt: skip
    run.findings = [_judged(each, books.policy) for each in run.findings]
    say("done", 100)
    return Outcome(run, usage, billed, rejected, export, agreements)


#: Before the first close nothing has been seen by an invoice.
_NO_CUT = Cut("", ("",), (0,), (0,), 0, is_last=True)


def _add(
    run: Reconciliation, check: Check, findings: list[Finding], *, expected: dict[str, int],
    got: dict[str, int],
) -> None:  # fmt: skip
    run.checks.append(check)
    run.findings += findings
    run.comparisons += compared(check, findings, expected=expected, got=got)


def _got_of(findings: list[Finding]) -> dict[str, int]:
    """Totals and raw history differ by what differs; both sides are not added up as money."""
    found: dict[str, int] = {}
    for each in findings:
        found[each.currency] = found.get(each.currency, 0) + each.amount
    return found


def _judged(finding: Finding, policy: Policy) -> Finding:
    return replace(finding, severity=policy.severity(finding), tolerated=policy.tolerates(finding))

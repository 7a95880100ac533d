"""One range of customers: reads both books of every check, compares, classifies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from reconcile.agreements import Agreements, read_agreements
from reconcile.billed import Billed, read_billed
from reconcile.cards import Card, Cards
from reconcile.check_export import CardKnowledge, ExportResult, check_export
from reconcile.check_ledger import check_ledger
from reconcile.check_lines import LineCheck
from reconcile.check_totals import Differing, differing_totals, totals_findings
from reconcile.cuts import Cut
from reconcile.doubles import Double, places_of, read_sent_twice
from reconcile.ledger_rows import LedgerMapping
from reconcile.own_periods import OwnPeriods
from reconcile.period import Period
from reconcile.placement import read_misplaced
from reconcile.policy import Policy
from reconcile.rejected import Rejected, unbound_findings
from reconcile.spans import Span
from reconcile.usage import History, read_usage
from reconcile.variance import Check, Finding

#: Before the first close nothing has been seen by an invoice.
_NO_CUT = Cut("", ("",), (0,), (0,), 0, is_last=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the ranges have in common. `cuts` is empty where the period is not closed.

    `moved` are doubles of two customers, `strays` findings about events of no period. `export` and
    `postings` are None where not given.
    """

    history: History
    period: Period
    own: OwnPeriods
    policy: Policy
    cuts: Sequence[Cut]
    cards: Cards
    versions: Mapping[tuple[str, str, str], Sequence[Card]]
    moved: Sequence[Double]
    rejected: Sequence[Rejected]
    strays: Sequence[Finding]
    export: pl.DataFrame | None
    postings: pl.DataFrame | None
    ledger_mapping: LedgerMapping


@dataclass(slots=True, kw_only=True)
class Part:
    """A range of customers with what was found; also what review records are made of.

    `expected` and `got` are sums by check and currency (10^-12).
    """

    period: Period
    is_closed: bool
    usage: pl.DataFrame
    billed: Billed
    agreements: Agreements
    rejected: list[Rejected]
    export: ExportResult | None = None
    findings: list[Finding] = field(default_factory=list)
    expected: dict[tuple[Check, str], int] = field(default_factory=dict)
    got: dict[tuple[Check, str], int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(
        self, check: Check, findings: Sequence[Finding], *, expected: Mapping[str, int],
        got: Mapping[str, int],
    ) -> None:  # fmt: skip
        """What one check came to."""
        self.findings += findings
        for sums, found in ((self.expected, expected), (self.got, got)):
            for currency, amount in found.items():
                sums[check, currency] = sums.get((check, currency), 0) + amount


@dataclass(frozen=True, slots=True)
class Reading:
    """A range as it was read. `differing` are totals that are not its usage."""

    period: Period
    doubles: list[Double]
    usage: pl.DataFrame
    billed: Billed
    agreements: Agreements
    differing: list[Differing]


def read_part(shared: Shared, customers: Span) -> Reading:
    """All that the server knows of a range."""
    period = shared.period.of(customers)
    doubles = [each for each in shared.moved if customers.holds(each.customer_id)]
    doubles += read_sent_twice(shared.history, customers)
    history, cuts = shared.history, shared.cuts or [_NO_CUT]
    usage = read_usage(history, period, cuts=cuts, doubles=places_of(doubles))
    misplaced = read_misplaced(history, usage, own=shared.own, period=period)
    if misplaced:
        doubles += misplaced
        usage = read_usage(history, period, cuts=cuts, doubles=places_of(doubles))
    differing = differing_totals(history, usage, period=period)
    client = history.client
    billed, agreements = read_billed(client, period), read_agreements(client, period)
    return Reading(period, doubles, usage, billed, agreements, differing)


def compare_part(shared: Shared, reading: Reading) -> Part:
    """Every check that there are books for. Asks the server for nothing."""
    period = reading.period
    customers = period.customers
    part = Part(
        period=period, usage=reading.usage, billed=reading.billed, is_closed=bool(shared.cuts),
        agreements=reading.agreements,
        rejected=[each for each in shared.rejected if customers.holds(each.customer_id)],
    )  # fmt: skip
    differing = totals_findings(reading.differing, cards=shared.cards, agreements=part.agreements)
    part.add(Check.TOTALS, differing, expected={}, got=_sums(differing))
    late = _check_lines(shared, part, reading.doubles)
    _check_files(shared, part, late)
    part.counts |= {
        "usage_lines": reading.usage.height, "invoice_lines": part.billed.lines.height,
        "invoices": part.billed.invoices.height,
        "adjustment_lines": part.billed.adjustments.height,
        "rejected_events": len(part.rejected),
    }  # fmt: skip
    part.findings = [_judged(each, shared.policy) for each in part.findings]
    return part


def _check_lines(
    shared: Shared, part: Part, doubles: Sequence[Double]
) -> Mapping[tuple[str, str, str, int], Sequence[int]]:
    """Quantities that came late are what the export is told of."""
    late: Mapping[tuple[str, str, str, int], Sequence[int]] = {}
    if shared.cuts:
        found = LineCheck(
            part.billed, part.usage, cards=shared.cards, versions=shared.versions,
            agreements=part.agreements,
        ).run(doubles)  # fmt: skip
        part.add(Check.LINES, found.findings, expected=found.due, got=found.billed)
        late = found.late
    if not part.period.customers.low:  # a subject that is bound to nobody is of no customer
        part.add(Check.LINES, unbound_findings(list(shared.rejected)), expected={}, got={})
        part.add(Check.LINES, shared.strays, expected={}, got={})
    return late


def _check_files(
    shared: Shared, part: Part, late: Mapping[tuple[str, str, str, int], Sequence[int]]
) -> None:
    due = part.billed.due_outside
    period = part.period
    if shared.export is not None:
        rows = _of(shared.export, period.customers)
        known = CardKnowledge(shared.cards, shared.versions, late)
        part.export = check_export(due, rows, period=period, known=known)
        part.add(
            Check.EXPORT, part.export.findings, expected=part.export.expected, got=part.export.got
        )
        part.counts |= {
            "export_rows": part.export.rows, "export_rows_of_other_periods": part.export.skipped
        }  # fmt: skip
    if shared.postings is not None:
        rows = _of(shared.postings, period.customers)
        ledger = check_ledger(due, rows, period=period, mapping=shared.ledger_mapping)
        part.add(Check.LEDGER, ledger.findings, expected=ledger.expected, got=ledger.got)
        part.counts |= {"postings": ledger.rows, "postings_not_compared": ledger.skipped}


def _of(rows: pl.DataFrame, customers: Span) -> pl.DataFrame:
    inside = pl.col("customer_id") >= customers.low
    if customers.high is not None:
        inside &= pl.col("customer_id") < customers.high
    return rows.filter(inside)


def _sums(findings: Sequence[Finding]) -> dict[str, int]:
    """Totals and raw history differ by what differs; both sides are not added up as money."""
    found: dict[str, int] = {}
    for each in findings:
        found[each.currency] = found.get(each.currency, 0) + each.amount
    return found


def _judged(finding: Finding, policy: Policy) -> Finding:
    return replace(finding, severity=policy.severity(finding), tolerated=policy.tolerates(finding))

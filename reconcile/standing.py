"""What an invoice bills beside usage: base fee and true-up, and whether its total is its lines'.

The true-up is the commit, rounded, less the rounded charges; nothing where the exact charges reach
the commit. Derived from charges that were themselves derived from raw history.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from reconcile.agreements import Agreement, Agreements
from reconcile.billed import Billed
from reconcile.period import moment_text
from reconcile.variance import Check, Finding, Subject, VarianceClass, money_text

_KINDS = ("base_fee", "true_up")
_CREDIT = "credit"
_KEY = ["customer_id", "period_start"]


@dataclass(slots=True)
class CustomerCharges:
    """Sums of a customer's charges of a period under the three views; exact ones are 10^-24."""

    exact_cut: int = 0
    cut: int = 0
    exact_now: int = 0
    now: int = 0
    once: int = 0

    def add(self, exact_cut: int, cut: int, exact_now: int, now: int, once: int) -> None:
        """One more charge."""
        self.exact_cut += exact_cut
        self.cut += cut
        self.exact_now += exact_now
        self.now += now
        self.once += once


@dataclass(slots=True)
class Standing:
    """Findings, and what is due by currency."""

    findings: list[Finding] = field(default_factory=list)
    due: dict[str, int] = field(default_factory=dict)


def standing_findings(
    billed: Billed, charges: dict[tuple[str, int], CustomerCharges], *, agreements: Agreements
) -> Standing:
    """Compare base fees, true-ups and totals of every invoice."""
    adjustments = billed.adjustments.filter(pl.col("adjustment_kind") != _CREDIT)
    found, invoices = _agreed(billed, adjustments, agreements=agreements)
    lines = billed.lines.join(invoices, on=_KEY, how="semi")
    sums, adjusted = _kind_sums(lines), _kind_sums(adjustments)
    totals = dict(_line_totals(lines))
    columns = (*_KEY, "invoice_id", "currency", "total")
    for customer, start, invoice_id, currency, total in invoices.select(columns).iter_rows():
        agreement = agreements.get((customer, start))
        of_charges = charges.get((customer, start), CustomerCharges())
        for kind in _KINDS:
            invoiced = sums.get((customer, start, kind), _KindSum(currency))
            later = adjusted.get((customer, start, kind), _KindSum(currency))
            due = _due(kind, agreement, of_charges, invoiced=invoiced)
            expected = agreement.currency if agreement else currency
            found.due[expected] = found.due.get(expected, 0) + due.now
            subject = Subject(
                customer_id=customer, kind=kind, period_start=moment_text(start),
                invoice_id=invoice_id,
            )  # fmt: skip
            found.findings += _of_kind(subject, expected, due, invoiced=invoiced, later=later)
        if off := total - totals.get((customer, start), 0):
            subject = Subject(
                customer_id=customer, kind="total", period_start=moment_text(start),
                invoice_id=invoice_id,
            )  # fmt: skip
            found.findings.append(_edited(subject, currency, off, expected=total - off))
    return found


def _agreed(
    billed: Billed, adjustments: pl.DataFrame, *, agreements: Agreements
) -> tuple[Standing, pl.DataFrame]:
    """What plainly agrees, added up in columns; and the invoices that have to be looked at.

    Plain is an invoice whose total is that of its lines, with the agreement's base fee in its
    currency, and neither a commit nor a true-up nor anything adjusted about either.
    """
    terms = [
        (customer, start, each.rule.rounded(each.base_fee), each.currency)
        for (customer, start), each in agreements.items()
        if not each.commit
    ]
    schema = {"customer_id": pl.String, "period_start": pl.Int64, "fee_due": pl.Int128,
              "currency_due": pl.String}  # fmt: skip
    own = pl.col("amount")
    sums = billed.lines.group_by(_KEY).agg(
        own.sum().alias("lines_total"),
        own.filter(pl.col("kind") == "base_fee").sum().alias("fee"),
        (pl.col("kind") == "true_up").any().alias("has_true_up"),
    )
    plain = (
        billed.invoices.join(pl.DataFrame(terms, schema=schema, orient="row"), on=_KEY)
        .join(sums, on=_KEY)
        .join(adjustments.filter(pl.col("kind").is_in(_KINDS)), on=_KEY, how="anti")
        .filter(
            (pl.col("total") == pl.col("lines_total")) & (pl.col("fee") == pl.col("fee_due"))
            & ~pl.col("has_true_up")
            & ((pl.col("currency") == pl.col("currency_due")) | (pl.col("fee_due") == 0))
        )
    )  # fmt: skip
    due = dict(plain.group_by("currency").agg(pl.sum("fee")).iter_rows())
    return Standing(due=due), billed.invoices.join(plain, on=_KEY, how="anti")


def _of_kind(
    subject: Subject, currency: str, due: "_Due", *, invoiced: "_KindSum", later: "_KindSum"
) -> Iterator[Finding]:
    """What is billed in another currency than is due, too much or too little, or not adjusted."""
    for billed in (invoiced, later):
        if billed.amount and billed.currency != currency:
            reason = f"{subject.kind} billed in {billed.currency}, expected {currency}"
            for code, amount in ((currency, -billed.amount), (billed.currency, billed.amount)):
                yield Finding(
                    check=Check.LINES, variance=VarianceClass.CURRENCY, subject=subject,
                    currency=code, amount=amount, reason=reason,
                    expected_amount=due.now if code == currency else 0,
                    got_amount=billed.amount if code == billed.currency else 0,
                )  # fmt: skip
    if off := invoiced.amount - due.cut:
        yield _edited(subject, currency, off, expected=due.cut)
    if off := due.cut + later.amount - due.now:
        reason = f"{subject.kind} changes with usage that came after the cut, and is not adjusted"
        yield Finding(
            check=Check.LINES, variance=VarianceClass.LATE, subject=subject, currency=currency,
            amount=off, reason=reason, expected_amount=due.now,
            got_amount=invoiced.amount + later.amount,
        )  # fmt: skip


class _KindSum(NamedTuple):
    """What was billed of a kind (10^-12), in how many lines."""

    currency: str
    amount: int = 0
    rows: int = 0


class _Due(NamedTuple):
    """What is due at the cut, and now (10^-12)."""

    cut: int
    now: int


def _due(
    kind: str, agreement: Agreement | None, charges: CustomerCharges, *, invoiced: _KindSum
) -> _Due:
    """What is due; what was billed, where nothing says otherwise."""
    if agreement is None:
        return _Due(invoiced.amount, invoiced.amount)
    if kind == "base_fee":
        amount = agreement.rule.rounded(agreement.base_fee)
        slack = invoiced.rows * agreement.rule.minor_unit
        if invoiced.rows > 1 and abs(invoiced.amount - amount) < slack:
            amount = invoiced.amount  # one for each fee of the period, each rounded by itself
        return _Due(amount, amount)
    return _Due(
        _true_up(agreement, charges.exact_cut, charges.cut),
        _true_up(agreement, charges.exact_now, charges.now),
    )


def _true_up(agreement: Agreement, exact: int, rounded: int) -> int:
    if exact >= agreement.commit:
        return 0
    return max(agreement.rule.rounded(agreement.commit) - rounded, 0)


def _edited(subject: Subject, currency: str, off: int, *, expected: int) -> Finding:
    what = "total" if subject.kind == "total" else f"{subject.kind} lines"
    reason = f"{what}: expected {money_text(expected)}, got {money_text(expected + off)}"
    return Finding(
        check=Check.LINES, variance=VarianceClass.MANUAL_EDIT, subject=subject, currency=currency,
        amount=off, reason=reason, expected_amount=expected, got_amount=expected + off,
    )  # fmt: skip


def _kind_sums(lines: pl.DataFrame) -> dict[tuple[str, int, str], _KindSum]:
    others = lines.filter(pl.col("kind").is_in(_KINDS)).group_by([*_KEY, "kind"])
    rows = others.agg(pl.last("currency"), pl.sum("amount"), pl.len()).iter_rows()
    return {(customer, start, kind): _KindSum(*billed) for customer, start, kind, *billed in rows}


def _line_totals(lines: pl.DataFrame) -> list[tuple[tuple[str, int], int]]:
    rows = lines.group_by(_KEY).agg(pl.sum("amount")).iter_rows()
    return [((customer, start), amount) for customer, start, amount in rows]

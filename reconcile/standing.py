"""What an invoice bills beside usage: base fee and true-up, and whether its total is its lines'.

The true-up is the commit, rounded, less the rounded charges; nothing where the exact charges reach
the commit. Derived from charges that were themselves derived from raw history.
"""

from dataclasses import dataclass, field

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
            billed_amount, rows = sums.get((customer, start, kind), (0, 0))
            later, _ = adjusted.get((customer, start, kind), (0, 0))
            at_cut, now = _due(kind, agreement, of_charges, billed_amount=billed_amount, rows=rows)
            found.due[currency] = found.due.get(currency, 0) + now
            subject = Subject(
                customer_id=customer, kind=kind, period_start=moment_text(start),
                invoice_id=invoice_id,
            )  # fmt: skip
            if off := billed_amount - at_cut:
                found.findings.append(_edited(subject, currency, off, expected=at_cut))
            if off := at_cut + later - now:
                reason = f"{kind} changes with usage that came after the cut, and is not adjusted"
                found.findings.append(
                    Finding(
                        check=Check.LINES, variance=VarianceClass.LATE, subject=subject,
                        currency=currency, amount=off, reason=reason, expected_amount=now,
                        got_amount=billed_amount + later,
                    )
                )  # fmt: skip
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

    Plain is an invoice whose total is that of its lines, with the agreement's base fee, and neither
    a commit nor a true-up nor anything adjusted about either.
    """
    terms = [
        (customer, start, each.rule.rounded(each.base_fee))
        for (customer, start), each in agreements.items()
        if not each.commit
    ]
    schema = {"customer_id": pl.String, "period_start": pl.Int64, "fee_due": pl.Int128}
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
        )
    )  # fmt: skip
    due = dict(plain.group_by("currency").agg(pl.sum("fee")).iter_rows())
    return Standing(due=due), billed.invoices.join(plain, on=_KEY, how="anti")


def _due(
    kind: str, agreement: Agreement | None, charges: CustomerCharges, *, billed_amount: int,
    rows: int,
) -> tuple[int, int]:  # fmt: skip
    """What is due at the cut, and now; what was billed, where nothing says otherwise."""
    if agreement is None:
        return billed_amount, billed_amount
    if kind == "base_fee":
        amount = agreement.rule.rounded(agreement.base_fee)
        if rows > 1 and abs(billed_amount - amount) < rows * agreement.rule.minor_unit:
            amount = billed_amount  # one for each fee of the period, each rounded by itself
        return amount, amount
    return (
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


def _kind_sums(lines: pl.DataFrame) -> dict[tuple[str, int, str], tuple[int, int]]:
    others = lines.filter(pl.col("kind").is_in(_KINDS)).group_by([*_KEY, "kind"])
    rows = others.agg(pl.sum("amount"), pl.len()).iter_rows()
    return {(customer, start, kind): (amount, n) for customer, start, kind, amount, n in rows}


def _line_totals(lines: pl.DataFrame) -> list[tuple[tuple[str, int], int]]:
    rows = lines.group_by(_KEY).agg(pl.sum("amount")).iter_rows()
    return [((customer, start), amount) for customer, start, amount in rows]

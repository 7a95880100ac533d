"""Lines that no check of their content would see: foreign, repeated, of no known kind, or alone.

Whoever writes invoices makes none of these, and everything else here takes that for granted; so
they are told of first, and the other checks go on without them.

    foreign    a line in another currency than the invoice or adjustment that it stands on
    repeated   a second line of an invoice for the same meter, group and part of the period
    unknown    a line of a kind that nothing makes due
    alone      an adjustment of a base fee or true-up where there is no invoice
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from reconcile.agreements import Agreements
from reconcile.billed import Billed
from reconcile.cards import Cards
from reconcile.period import moment_text
from reconcile.variance import Check, Finding, Subject, VarianceClass

_CHARGE, _CREDIT = "charge", "credit"
_STANDING = ("base_fee", "true_up")
_PERIOD = ["customer_id", "period_start"]
_KEY = ["customer_id", "meter", "group", "period_start", "part_start"]
_Row = Mapping[str, Any]


@dataclass(slots=True)
class OddLines:
    """What was found; `lines` and `adjustments` are those that the other checks look at.

    `moved` is by currency what is billed beside the totals of invoices: a foreign line counts in
    its own currency, and not in that of its invoice. No credits are among the adjustments.
    """

    lines: pl.DataFrame
    adjustments: pl.DataFrame
    findings: list[Finding] = field(default_factory=list)
    moved: dict[str, int] = field(default_factory=dict)


def odd_lines(billed: Billed, *, cards: Cards, agreements: Agreements) -> OddLines:
    """Take out of `billed` what is odd. Frames as those of `Billed`."""
    own = billed.adjustments.filter(pl.col("adjustment_kind") != _CREDIT)
    found = OddLines(billed.lines, own)
    for rows in (billed.lines, own):
        for row in _named(rows.filter(pl.col("line_currency") != pl.col("currency"))):
            _foreign(found, row, price=_currency_of_price(row, cards, agreements=agreements))
    is_known = pl.col("kind").is_in([_CHARGE, *_STANDING])
    for row in _named(
        pl.concat([each.filter(~is_known).select(_COLUMNS) for each in _both(found)])
    ):
        reason = f"a line of kind {row['kind'] or 'none'}, which nothing makes due"
        found.findings.append(_told(row, VarianceClass.MISSING_IN_USAGE, reason=reason))
    found.lines, found.adjustments = (each.filter(is_known) for each in _both(found))
    _take_repeated(found)
    is_alone = found.adjustments.filter(pl.col("kind").is_in(_STANDING)).join(
        billed.invoices, on=_PERIOD, how="anti"
    )
    for row in _named(is_alone):
        reason = f"adjusts the {row['kind']} of a period that has no invoice"
        found.findings.append(_told(row, VarianceClass.MISSING_IN_USAGE, reason=reason))
    return found


_COLUMNS = [*_KEY, "kind", "invoice_id", "line_id", "currency", "line_currency", "amount",
            "quantity", "card"]  # fmt: skip


def _both(found: OddLines) -> tuple[pl.DataFrame, pl.DataFrame]:
    return found.lines, found.adjustments


def _named(rows: pl.DataFrame) -> Iterator[_Row]:
    return rows.select(_COLUMNS).sort("customer_id", "invoice_id", "line_id").iter_rows(named=True)


def _currency_of_price(row: _Row, cards: Cards, *, agreements: Agreements) -> str:
    """In which the line is due; that of its invoice, where nothing says."""
    card = cards.get(row["card"])
    if card is not None:
        return card.currency
    agreement = agreements.get((row["customer_id"], row["period_start"]))
    return str(row["currency"]) if agreement is None else agreement.currency


def _foreign(found: OddLines, row: _Row, *, price: str) -> None:
    """At face value: too much in the one currency, too little in the other.

    Where the invoice itself is in another currency than the price, that is told, and of every line.
    """
    if price != row["currency"] or not row["amount"]:
        return
    reason = f"the line is in {row['line_currency']}, what it stands on in {row['currency']}"
    for currency, amount in (
        (row["currency"], -row["amount"]),
        (row["line_currency"], row["amount"]),
    ):
        found.findings.append(
            _told(row, VarianceClass.CURRENCY, reason=reason, currency=currency, amount=amount)
        )
        found.moved[currency] = found.moved.get(currency, 0) + amount


def _take_repeated(found: OddLines) -> None:
    """The line with the lowest number is the one that counts."""
    lines = found.lines.with_row_index("at")
    is_charge = pl.col("kind") == _CHARGE
    several = lines.filter(is_charge & (pl.len().over([*_KEY, "kind"]) > 1))
    if several.is_empty():
        return
    number = pl.col("line_id").str.len_bytes()
    copies = several.sort(number, "line_id", "at").filter(pl.int_range(pl.len()).over(_KEY) > 0)
    for row in _named(copies):
        reason = f"line {row['line_id']} bills the same once more"
        found.findings.append(_told(row, VarianceClass.DUPLICATE, reason=reason))
    found.lines = lines.join(copies, on="at", how="anti")


def _told(
    row: _Row, variance: VarianceClass, *, reason: str, currency: str = "",
    amount: int | None = None,
) -> Finding:  # fmt: skip
    """A finding about a line: of what it bills, where nothing else is said."""
    subject = Subject(
        customer_id=row["customer_id"], meter=row["meter"], group=row["group"], kind=row["kind"],
        period_start=moment_text(row["period_start"]), part_start=moment_text(row["part_start"]),
        invoice_id=row["invoice_id"], line_id=row["line_id"],
    )  # fmt: skip
    is_due = variance is VarianceClass.CURRENCY and currency == row["currency"]
    return Finding(
        check=Check.LINES, variance=variance, subject=subject, reason=reason,
        currency=currency or row["currency"], amount=row["amount"] if amount is None else amount,
        expected_amount=row["amount"] if is_due else 0,
        got_amount=0 if is_due else row["amount"], got_quantity=row["quantity"],
    )  # fmt: skip

"""Check (c): lines of invoices and adjustments against an export of the billing system.

What agrees to the last digit is passed over in columns; the rest is looked at one unit at a time.
The order in which causes are told apart is that of `VarianceClass`: see `docs/reconciliation.md`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from reconcile.cards import Card, Cards, RoundingRule
from reconcile.decompose import Side, Terms, decompose
from reconcile.files import LINE
from reconcile.matching import UNIT, match
from reconcile.period import Period, moment_text
from reconcile.variance import Check, Finding, Subject, VarianceClass, money_text

_LINE_COLUMNS = (
    "customer_id", "meter", "group", "kind", "period_start", "part_start", "invoice_id", "line_id",
    "quantity", "amount", "currency", "minor_digits", "rounding", "plan", "price_version", "card",
    "is_adjustment",
)  # fmt: skip
_ROW_COLUMNS = (
    "customer_id", "meter", "group", "kind", "period_start", "invoice_id", "line_id", "quantity",
    "amount", "currency", "price_version", LINE,
)  # fmt: skip
_Values = dict[str, Any]


@dataclass(slots=True)
class ExportResult:
    """What was found, what both sides come to by currency, and how many rows were looked at.

    `quantities` are what the export bills beside adjustments, by (customer, meter): `Int128` of
    10^-12; null where a row does not say.
    """

    findings: list[Finding] = field(default_factory=list)
    expected: dict[str, int] = field(default_factory=dict)
    got: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    rows: int = 0
    skipped: int = 0
    quantities: pl.DataFrame = field(default_factory=pl.DataFrame)


@dataclass(frozen=True, slots=True)
class CardKnowledge:
    """Rate cards by number, those of a plan, meter and group together, and late quantities.

    `late` is by (customer, meter, group, part of the period): see `LinesResult.late`.
    """

    cards: Cards
    versions: Mapping[tuple[str, str, str], Sequence[Card]]
    late: Mapping[tuple[str, str, str, int], Sequence[int]]


def check_export(
    lines: pl.DataFrame, rows: pl.DataFrame, *, period: Period, known: CardKnowledge
) -> ExportResult:
    """Compare `lines` (see `Billed.due_outside`) with `rows` (see `read_export`)."""
    matched = match(lines, rows, period)
    found = ExportResult(
        expected=_sums(matched.lines), got=_sums(matched.rows), lines=lines.height,
        rows=matched.rows.height, skipped=matched.skipped,
        quantities=_quantities(matched.lines, matched.rows),
    )  # fmt: skip
    unclean = _unclean(matched.lines, matched.rows)
    of_unit = matched.rows.filter(pl.col(UNIT).is_in(unclean.implode()))
    row_lists = _by_unit(of_unit, _ROW_COLUMNS)
    line_lists = _by_unit(
        matched.lines.filter(pl.col(UNIT).is_in(unclean.implode())), _LINE_COLUMNS
    )
    for unit in sorted(line_lists):
        compare = _Unit(line_lists[unit], row_lists.get(unit, []), known)
        found.findings += compare.findings()
    foreign = matched.rows.filter(pl.col(UNIT).is_null()).select(_ROW_COLUMNS)
    for row in foreign.iter_rows(named=True):
        found.findings += _foreign(row)
    return found


def _sums(frame: pl.DataFrame) -> dict[str, int]:
    return dict(frame.group_by("currency").agg(pl.sum("amount")).sort("currency").iter_rows())


def _quantities(lines: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    adjustments = lines.filter("is_adjustment").select(UNIT).unique()
    billed = pl.when(pl.col("quantity").null_count() == 0).then(pl.sum("quantity"))
    own = rows.join(adjustments, on=UNIT, how="anti")
    return own.group_by("customer_id", "meter").agg(billed.alias("quantity"))


def _unclean(lines: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    """Units that do not agree, or that hold more than one line or row."""
    pairs = lines.join(rows, on=UNIT, how="left", suffix="_got")
    agrees = (
        (pl.len().over(UNIT) == 1)
        & pl.col(LINE).is_not_null()
        & (pl.col("amount") == pl.col("amount_got"))
        & (pl.col("currency") == pl.col("currency_got"))
        & (pl.col("quantity") == pl.col("quantity_got")).fill_null(value=True)
        & (pl.col("price_version") == pl.col("price_version_got")).fill_null(value=True)
    )
    return pairs.filter(~agrees.fill_null(value=False))[UNIT].unique()


def _by_unit(frame: pl.DataFrame, columns: Sequence[str]) -> dict[int, list[_Values]]:
    found: dict[int, list[_Values]] = {}
    for values in frame.select(UNIT, *columns).iter_rows(named=True):
        found.setdefault(values[UNIT], []).append(values)
    return found


@dataclass(frozen=True, slots=True)
class _Unit:
    """Lines of ours (mostly one) and the rows that are about them."""

    lines: list[_Values]
    rows: list[_Values]
    known: CardKnowledge

    def findings(self) -> list[Finding]:
        """Every cause of a difference; they add up to it."""
        first = self.lines[0]
        if not self.rows:
            return [each for line in self.lines for each in self._not_there(line)]
        quantity = sum(line["quantity"] for line in self.lines)
        amount = sum(line["amount"] for line in self.lines)
        kept, copies = _copies(self.rows, amount=amount, quantity=quantity)
        found = []
        for copy in copies:
            reason = f"row {copy[LINE]} bills the same once more"
            found.append(self._finding(VarianceClass.DUPLICATE, copy["amount"], reason, row=copy))
        total = 0
        for row in kept:
            total += row["amount"]
            if row["currency"] != first["currency"]:
                found += self._currency(row)
        expected = Side(amount, quantity, self._version(self.lines))
        quantities = [row["quantity"] for row in kept]
        got = Side(
            total, None if None in quantities else sum(quantities), self._version(kept),
            rows=max(len(kept), len(self.lines)),
        )  # fmt: skip
        for part in decompose(expected, got, self._terms()):
            found.append(self._finding(part.variance, part.amount, part.reason))
        return found

    def _version(self, entries: list[_Values]) -> int | None:
        versions = {each["price_version"] for each in entries}
        return versions.pop() if len(versions) == 1 else None

    def _terms(self) -> Terms:
        first = self.lines[0]
        rule = RoundingRule(first["minor_digits"], first["rounding"])
        if len(self.lines) > 1 or first["is_adjustment"]:
            return Terms(rule=rule)
        key = (first["customer_id"], first["meter"], first["group"], first["part_start"])
        card = self.known.cards.get(first["card"])
        others = self.known.versions.get((first["plan"], first["meter"], first["group"]), ())
        return Terms(
            rule=rule, card=None if card is None or card.carries_s else card,
            others=[each for each in others if each.price_version != first["price_version"]],
            late_quantities=self.known.late.get(key, ()),
        )  # fmt: skip

    def _not_there(self, line: _Values) -> Iterator[Finding]:
        if not line["amount"] and not line["quantity"]:
            return
        if line["is_adjustment"]:
            reason = f"adjustment {line['invoice_id']} is not in the export"
            variance = VarianceClass.LATE
        else:
            reason = f"a line of {money_text(line['amount'])} is not in the export"
            variance = VarianceClass.MISSING_IN_INVOICE
        yield Finding(
            check=Check.EXPORT, variance=variance, currency=line["currency"],
            amount=-line["amount"], reason=reason, subject=_subject(line),
            expected_amount=line["amount"], expected_quantity=line["quantity"], got_quantity=0,
        )  # fmt: skip

    def _currency(self, row: _Values) -> list[Finding]:
        """The row's amount at its face: too much in its currency, too little in ours."""
        ours = self.lines[0]["currency"]
        reason = f"row {row[LINE]} is in {row['currency']}, expected {ours}"
        return [
            self._finding(VarianceClass.CURRENCY, -row["amount"], reason, row=row, currency=ours),
            self._finding(
                VarianceClass.CURRENCY, row["amount"], reason, row=row, currency=row["currency"]
            ),
        ]

    def _finding(
        self, variance: VarianceClass, amount: int, reason: str, *, row: _Values | None = None,
        currency: str = "",
    ) -> Finding:  # fmt: skip
        rows = self.rows if row is None else [row]
        quantities = [each["quantity"] for each in self.rows]
        is_copy = variance is VarianceClass.DUPLICATE and row is not None
        own = row["currency"] if is_copy and row is not None else self.lines[0]["currency"]
        return Finding(
            check=Check.EXPORT, variance=variance, currency=currency or own, amount=amount,
            reason=reason, subject=_subject(self.lines[0], rows),
            expected_amount=sum(each["amount"] for each in self.lines),
            got_amount=sum(each["amount"] for each in self.rows),
            expected_quantity=sum(each["quantity"] for each in self.lines),
            got_quantity=None if None in quantities else sum(quantities),
        )  # fmt: skip


def _copies(
    rows: list[_Values], *, amount: int, quantity: int
) -> tuple[list[_Values], list[_Values]]:
    """Rows that count, and rows that bill again what another one bills.

    Rows that add up to the line are a split of it. Otherwise rows of one size (quantity, or amount
    where none is stated) are copies as long as leaving one out comes closer to the line; the copy
    whose amount is nearest the line's is kept.
    """
    if len(rows) == 1:
        return rows, []
    is_told = quantity != 0 and all(row["quantity"] is not None for row in rows)
    by, size = ("quantity", quantity) if is_told else ("amount", amount)
    off = sum(row[by] for row in rows) - size
    if off == 0:
        return rows, []
    ordered = sorted(rows, key=lambda row: (abs(row["amount"] - amount), row[LINE]))
    seen = Counter[int]()
    kept, copies = [], []
    for row in ordered:
        seen[row[by]] += 1
        is_copy = seen[row[by]] > 1
        if is_copy and abs(off - row[by]) < abs(off):
            copies.append(row)
            off -= row[by]
        else:
            kept.append(row)
    return kept, copies


def _foreign(row: _Values) -> Iterator[Finding]:
    reason = f"row {row[LINE]} bills what no line of ours does"
    yield Finding(
        check=Check.EXPORT, variance=VarianceClass.MISSING_IN_USAGE, currency=row["currency"],
        amount=row["amount"], reason=reason, subject=_subject(row, [row]),
        got_amount=row["amount"], expected_quantity=0, got_quantity=row["quantity"],
    )  # fmt: skip


def _subject(values: _Values, rows: Sequence[_Values] = ()) -> Subject:
    numbers = [str(row[LINE]) for row in rows]
    return Subject(
        customer_id=values["customer_id"], meter=values["meter"], group=values["group"] or "",
        kind=values["kind"], period_start=moment_text(values["period_start"]),
        part_start=moment_text(values.get("part_start")), invoice_id=values["invoice_id"],
        line_id=values["line_id"], reference=f"row {', '.join(numbers)}" if numbers else "",
    )  # fmt: skip

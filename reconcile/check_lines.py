"""Check (b): invoice lines and adjustments against raw history, each line derived again at its cut.

Of every customer, meter, group and part of the period:

    billed = line + its adjustments          due = f(q_once)
    billed - due = (line - f(q_cut))         what was edited: quantity, price, rounding, the rest
                 + (f(q_cut) + adjustments - f(q_now))      late: came after, not yet adjusted
                 + (f(q_now) - f(q_once))                   duplicate: there twice in raw history,
                                                            or of another part of the period

and likewise for base fee and true-up. f is the line's rate card, evaluated by `cards.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from typing import NamedTuple

import polars as pl

from reconcile.agreed_lines import agreed
from reconcile.agreements import Agreement, Agreements
from reconcile.billed import Billed
from reconcile.cards import Card, Cards, RoundingRule
from reconcile.decompose import Side, Terms, decompose
from reconcile.doubles import Double
from reconcile.odd_lines import OddLines, odd_lines
from reconcile.period import moment_text
from reconcile.standing import CustomerCharges, standing_findings
from reconcile.variance import Check, Finding, Subject, VarianceClass, text_of

_KEY = ["customer_id", "meter", "group", "period_start", "part_start"]
_OF_USAGE = ("q_now", "q_cut", "q_once", "n_now", "n_cut", "cards", "usage_card")
_OF_LINES = (
    "amount", "quantity", "card", "price_version", "line_id", "invoice_id", "currency",
    "minor_digits", "rounding",
)  # fmt: skip
_CHARGE = "charge"
_REASONS_MAX = 20
_CREDIT = "credit"  # money given on purpose: no usage stands behind it


class _Row(NamedTuple):
    """A key with what was used and what was billed; None where there is no line."""

    customer_id: str
    meter: str
    group: str
    period_start: int
    part_start: int
    q_now: int
    q_cut: int
    q_once: int
    n_now: int
    n_cut: int
    cards: list[int]
    usage_card: int
    amount: int | None
    quantity: int
    card: int
    price_version: int
    line_id: str
    invoice_id: str
    currency: str
    minor_digits: int
    rounding: str
    adjusted: int
    has_adjustment: bool
    adjusted_currencies: list[str]
    adjusted_amounts: list[int]


@dataclass(slots=True)
class LinesResult:
    """What was found, what both sides come to by currency, and what came late by key.

    `late` are quantities (10^-12) beyond the invoice's cut, by (customer, meter, group, part).
    """

    findings: list[Finding] = field(default_factory=list)
    billed: dict[str, int] = field(default_factory=dict)
    due: dict[str, int] = field(default_factory=dict)
    late: dict[tuple[str, str, str, int], list[int]] = field(default_factory=dict)


class Figures(NamedTuple):
    """What a key is due under three views of its usage, rounded (10^-12) and exact (10^-24)."""

    cut: int
    now: int
    once: int
    exact_cut: int
    exact_now: int
    exact_once: int


class LineCheck:
    """Derives every line of the period again."""

    def __init__(
        self, billed: Billed, usage: pl.DataFrame, *, cards: Cards,
        versions: Mapping[tuple[str, str, str], Sequence[Card]], agreements: Agreements,
    ) -> None:  # fmt: skip
        """`usage` is what `read_usage` gives."""
        self._billed = billed
        self._usage = usage
        self._cards = cards
        self._versions = versions
        self._agreements = agreements
        self._result = LinesResult()

    def run(self, doubles: Sequence[Double]) -> LinesResult:
        """Everything that is not as raw history has it."""
        found = self._result
        known: dict[tuple[str, str], list[Double]] = {}
        for double in doubles:
            known.setdefault((double.customer_id, double.meter), []).append(double)
        charges: dict[tuple[str, int], CustomerCharges] = {}
        odd = odd_lines(self._billed, cards=self._cards, agreements=self._agreements)
        found.findings += odd.findings
        rows = self._rows(odd)
        committed = (key for key, each in self._agreements.items() if each.commit)
        is_agreed = agreed(rows, self._cards, committed=committed)
        plain = rows.filter(is_agreed).group_by("currency").agg(pl.sum("amount"))
        found.due = dict(plain.iter_rows())
        rest = (_Row(*row) for row in rows.filter(~is_agreed).iter_rows())
        for (customer, _meter, _group, start), parts in groupby(rest, key=lambda r: r[:4]):
            agreement = self._agreements.get((customer, start))
            for row, due in self._parts(list(parts), agreement):
                self._compare(row, due, doubles=known.get((row.customer_id, row.meter), []))
                if agreement is not None and agreement.commit:
                    entry = charges.setdefault((customer, start), CustomerCharges())
                    entry.add(due.exact_cut, due.cut, due.exact_now, due.now, due.once)
        standing = standing_findings(self._billed, charges, agreements=self._agreements)
        found.findings += standing.findings
        for currency, amount in standing.due.items():
            found.due[currency] = found.due.get(currency, 0) + amount
        for sums in (self._billed.invoices.rename({"total": "amount"}), _no_credits(self._billed)):
            for currency, amount in sums.group_by("currency").agg(pl.sum("amount")).iter_rows():
                found.billed[currency] = found.billed.get(currency, 0) + amount
        for currency, amount in odd.moved.items():
            found.billed[currency] = found.billed.get(currency, 0) + amount
        return found

    def _rows(self, odd: OddLines) -> pl.DataFrame:
        lines = odd.lines.filter(pl.col("kind") == _CHARGE).select(*_KEY, *_OF_LINES)
        adjusted = (
            odd.adjustments.filter(pl.col("kind") == _CHARGE)
            .group_by(*_KEY, "currency").agg(pl.sum("amount")).sort(*_KEY, "currency")
            .group_by(_KEY, maintain_order=True).agg(
                pl.sum("amount").alias("adjusted"), pl.col("currency").alias("adjusted_currencies"),
                pl.col("amount").alias("adjusted_amounts"),
            )
        )  # fmt: skip
        usage = self._usage.select(*_KEY, *_OF_USAGE)
        return (
            usage.join(lines, on=_KEY, how="full", coalesce=True)
            .join(adjusted, on=_KEY, how="full", coalesce=True)
            .sort(_KEY)
            .select(
                *_KEY,
                *(pl.col(name).fill_null(0) for name in ("q_now", "q_cut", "q_once")),
                *(pl.col(name).fill_null(0) for name in ("n_now", "n_cut")),
                pl.col("cards").fill_null([]), pl.col("usage_card").fill_null(0), "amount",
                pl.col("quantity").fill_null(0), pl.col("card").fill_null(0),
                pl.col("price_version").fill_null(0),
                *(pl.col(name).fill_null("") for name in ("line_id", "invoice_id", "currency")),
                pl.col("minor_digits").fill_null(2), pl.col("rounding").fill_null("half_even"),
                pl.col("adjusted").fill_null(0), pl.col("adjusted").is_not_null().alias("has"),
                *(pl.col(f"adjusted_{name}").fill_null([]) for name in ("currencies", "amounts")),
            )
        )  # fmt: skip

    def _parts(
        self, rows: list[_Row], agreement: Agreement | None
    ) -> Iterator[tuple[_Row, Figures]]:
        """The parts of one period in order: earlier ones may use up a later one's allowance."""
        earlier: list[tuple[int, tuple[int, int, int]]] = []
        for row in rows:
            card = self._card(row)
            if card is None:
                yield row, Figures(0, 0, 0, 0, 0, 0)
                continue
            is_plain = row.n_cut and row.q_cut == row.q_now == row.q_once
            if len(rows) == 1 and not card.carries_s and is_plain:
                only = card.charge(row.q_cut)  # nothing came late, and nothing is there twice
                amount = _rule(row, agreement).rounded(only)
                yield row, Figures(amount, amount, amount, only, only, only)
                continue
            used = tuple(
                sum(x[at] for start, x in earlier if start >= row.part_start - card.carries_s)
                if card.carries_s else 0
                for at in range(3)
            )  # fmt: skip
            quantities = (row.q_cut, row.q_now, row.q_once)
            counts = (row.n_cut or row.amount is not None, row.n_now, row.n_now)
            rule = _rule(row, agreement)
            exact = [
                card.charge(quantity, before) if count or row.amount is not None else 0
                for quantity, before, count in zip(quantities, used, counts, strict=True)
            ]
            if len(rows) > 1:
                included = [card.included(q, b) for q, b in zip(quantities, used, strict=True)]
                earlier.append((row.part_start, (included[0], included[1], included[2])))
            cut, now, once = (rule.rounded(each) for each in exact)
            yield row, Figures(cut, now, once, *exact)

    def _card(self, row: _Row) -> Card | None:
        """The line's card where usage names its version too; else the one that usage names."""
        own = self._cards.get(row.card)
        if own is None or row.card in row.cards or not row.cards:
            return own or self._cards.get(row.usage_card)
        rated = [self._cards[number] for number in row.cards if number in self._cards]
        agrees = any((c.plan, c.price_version) == (own.plan, own.price_version) for c in rated)
        return own if agrees or not rated else self._cards.get(row.usage_card, rated[0])

    def _compare(self, row: _Row, due: Figures, *, doubles: list[Double]) -> None:
        found = self._result
        card = self._card(row)
        if card is None and row.amount is None and not row.has_adjustment:
            return  # usage without a price: nothing is due
        billed_in = row.currency or next(iter(row.adjusted_currencies), "")
        currency = card.currency if card else billed_in
        found.due[currency] = found.due.get(currency, 0) + due.once
        if card is not None and _agrees(row, due, card=card):
            return
        rule = _rule(row, self._agreements.get((row.customer_id, row.period_start)))
        if row.q_now != row.q_cut:
            key = (row.customer_id, row.meter, row.group, row.part_start)
            found.late.setdefault(key, []).append(row.q_now - row.q_cut)
        tell = _Teller(row, due, currency)
        found.findings += _of_currencies(row, tell=tell)
        is_missing = row.amount is None and row.n_cut > 0 and bool(due.cut or row.q_cut)
        if is_missing:
            found.findings.append(_missing(row, due, tell=tell))
        elif row.amount is not None:
            found.findings += self._line_findings(row, due, card=card, rule=rule, tell=tell)
        if row.amount is None and not row.n_now and not row.n_cut:
            found.findings += _groundless(row, due, tell=tell)
            return
        waiting = due.cut + row.adjusted - due.now
        if waiting and not (is_missing and not row.has_adjustment):
            units = text_of(row.q_now - row.q_cut)
            reason = f"{units} units came or were taken back after the cut, and are not adjusted"
            found.findings.append(tell(VarianceClass.LATE, waiting, reason))
        if row.q_now != row.q_once or due.now != due.once:
            found.findings.append(_beside(due, doubles=doubles, tell=tell))

    def _line_findings(
        self, row: _Row, due: Figures, *, card: Card | None, rule: RoundingRule, tell: "_Teller"
    ) -> list[Finding]:
        assert row.amount is not None
        if not row.n_cut and row.quantity:
            reason = f"bills {text_of(row.quantity)} units, of which raw history has none"
            return [tell(VarianceClass.MISSING_IN_USAGE, row.amount - due.cut, reason)]
        terms = Terms(rule=rule, card=card, others=self._others(row, card))
        version = card.price_version if card else None
        parts = decompose(
            Side(due.cut, row.q_cut, version),
            Side(row.amount, row.quantity, row.price_version), terms,
        )  # fmt: skip
        return [tell(part.variance, part.amount, part.reason) for part in parts]

    def _others(self, row: _Row, card: Card | None) -> list[Card]:
        if card is None:
            return []
        known = self._versions.get((card.plan, row.meter, row.group), ())
        own = self._cards.get(row.card)
        others = [each for each in known if each.price_version != card.price_version]
        return [own, *others] if own is not None and own is not card else others


@dataclass(frozen=True, slots=True)
class _Teller:
    """Makes the findings of one key."""

    row: _Row
    due: Figures
    currency: str

    def __call__(self, variance: VarianceClass, amount: int, reason: str) -> Finding:
        row = self.row
        return Finding(
            check=Check.LINES, variance=variance, amount=amount, reason=reason,
            currency=self.currency,
            subject=Subject(
                customer_id=row.customer_id, meter=row.meter, group=row.group,
                period_start=moment_text(row.period_start),
                part_start=moment_text(row.part_start), invoice_id=row.invoice_id,
                line_id=row.line_id,
            ),
            expected_amount=self.due.once, got_amount=(row.amount or 0) + row.adjusted,
            expected_quantity=row.q_once, got_quantity=row.quantity,
        )  # fmt: skip


def _of_currencies(row: _Row, *, tell: "_Teller") -> list[Finding]:
    """What is billed in another currency than the price's: too much there, too little here."""
    found = []
    adjusted = zip(row.adjusted_amounts, row.adjusted_currencies, strict=True)
    for amount, currency in ((row.amount, row.currency), *adjusted):
        if amount and currency and currency != tell.currency:
            reason = f"billed in {currency}, expected {tell.currency}"
            other = replace(tell, currency=currency)
            found.append(tell(VarianceClass.CURRENCY, -amount, reason))
            found.append(other(VarianceClass.CURRENCY, amount, reason))
    return found


def _groundless(row: _Row, due: Figures, *, tell: "_Teller") -> list[Finding]:
    """Neither usage nor a line: whatever is adjusted has nothing behind it."""
    if off := row.adjusted - due.once:
        reason = "adjusted, and raw history has no usage behind it"
        return [tell(VarianceClass.MISSING_IN_USAGE, off, reason)]
    return []


def _beside(due: Figures, *, doubles: list[Double], tell: _Teller) -> Finding:
    """Usage that counts here and ought not to: it is there twice, or is not of this part."""
    shown = [each.reason for each in doubles[:_REASONS_MAX]]
    if more := len(doubles) - len(shown):
        shown.append(f"and {more} more")
    reason = "; ".join(shown) or "an earlier part holds usage that does not count there"
    is_copy = any(each.why != "period" for each in doubles)
    variance = VarianceClass.DUPLICATE if is_copy else VarianceClass.WRONG_QUANTITY
    return tell(variance, due.now - due.once, reason)


def _missing(row: _Row, due: Figures, *, tell: _Teller) -> Finding:
    """Nothing bills the usage; where nothing adjusts it either, all of it, late or not."""
    reason = f"{text_of(row.q_now)} units were used, and no line of an invoice bills them"
    amount = -due.cut if row.has_adjustment else -due.now
    return tell(VarianceClass.MISSING_IN_INVOICE, amount, reason)


def _agrees(row: _Row, due: Figures, *, card: Card) -> bool:
    """Nothing to tell: billed as derived, nothing late, nothing twice. So are most."""
    return (
        row.amount == due.cut == due.now == due.once
        and row.quantity == row.q_cut == row.q_now == row.q_once
        and row.price_version == card.price_version
        and not row.has_adjustment
        and row.currency == card.currency
        and (row.n_cut > 0 or not row.quantity)
    )


@cache
def _rounding(minor_digits: int, name: str) -> RoundingRule:
    return RoundingRule(minor_digits, name)


def _rule(row: _Row, agreement: Agreement | None) -> RoundingRule:
    if row.amount is None and agreement is not None:
        return agreement.rule
    return _rounding(row.minor_digits, row.rounding)


def _no_credits(billed: Billed) -> pl.DataFrame:
    return billed.adjustments.filter(pl.col("adjustment_kind") != _CREDIT)

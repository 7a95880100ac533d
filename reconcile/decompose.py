"""Splits the difference of one line into its causes, so that they add up to all of it.

What a line came to is followed from the earlier book to the later one, one cause at a time:

    expected amount
      + quantity     f(got quantity) - f(expected quantity)    late, or wrong_quantity
      + price        g(got quantity) - f(got quantity)         wrong_price_version
      + rest         what is left                              rounding, or manual_edit
    = got amount

where f is the expected rate card and g that of the price version which the later book charged.
The sum telescopes, so it is exact whatever f and g are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reconcile.cards import Card, RoundingRule
from reconcile.variance import VarianceClass, money_text, text_of


@dataclass(frozen=True, slots=True)
class Side:
    """A line as one book has it. None: the book does not say. `rows` add up to it."""

    amount: int
    quantity: int | None = None
    price_version: int | None = None
    rows: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How the line is charged, as far as it is known.

    `card` is None for what no card charges (a base fee, an adjustment). `others` are the same
    plan's, meter's and group's cards of other versions. `late_quantities` are what came after the
    invoice's cut: a quantity that differs by one of these is late, not wrong.
    """

    rule: RoundingRule
    card: Card | None = None
    others: Sequence[Card] = ()
    used_before: int = 0
    late_quantities: Sequence[int] = ()

    def amount(self, card: Card, quantity: int) -> int:
        """What the quantity comes to under a card, rounded as the line is."""
        return self.rule.rounded(card.charge(quantity, self.used_before))


@dataclass(frozen=True, slots=True)
class Part:
    """One cause and what it comes to (10^-12, signed)."""

    variance: VarianceClass
    amount: int
    reason: str


def decompose(expected: Side, got: Side, terms: Terms) -> list[Part]:
    """The causes why `got` is not `expected`, which add up to the difference of their amounts.

    Empty where both are the same. A cause may come to 0: a wrong quantity inside the allowance.
    """
    rest = got.amount - expected.amount
    parts: list[Part] = []
    quantity = expected.quantity
    if expected.quantity is not None and got.quantity not in (None, expected.quantity):
        assert got.quantity is not None
        quantity = got.quantity
        part = _quantity_part(expected, quantity, terms=terms, difference=rest)
        parts.append(part)
        rest -= part.amount
    price = _price_part(expected, got, terms=terms, quantity=quantity, rest=rest)
    if price is not None:
        parts.append(price)
        rest -= price.amount
    if rest:
        parts.append(_rest(rest, terms, rows=got.rows))
    return parts


def _quantity_part(expected: Side, quantity: int, *, terms: Terms, difference: int) -> Part:
    assert expected.quantity is not None
    if terms.card is None:
        amount = difference  # nothing says what a unit costs: all of it follows the quantity
    else:
        amount = terms.amount(terms.card, quantity) - terms.amount(terms.card, expected.quantity)
    off = quantity - expected.quantity
    if off in terms.late_quantities:
        reason = f"holds {text_of(off)} units that came after the invoice's cut"
        return Part(VarianceClass.LATE, amount, reason)
    reason = f"quantity: expected {text_of(expected.quantity)}, got {text_of(quantity)}"
    return Part(VarianceClass.WRONG_QUANTITY, amount, reason)


def _price_part(
    expected: Side, got: Side, *, terms: Terms, quantity: int | None, rest: int
) -> Part | None:
    """What another price version makes; the version that is stated, else one that explains it."""
    versions = (expected.price_version, got.price_version)
    if None not in versions and versions[0] != versions[1]:
        reason = f"price version: expected {versions[0]}, got {versions[1]}"
        stated = [each for each in terms.others if each.price_version == versions[1]]
        if terms.card is None or quantity is None or not stated:
            return Part(VarianceClass.WRONG_PRICE_VERSION, rest, reason)
        amount = terms.amount(stated[0], quantity) - terms.amount(terms.card, quantity)
        return Part(VarianceClass.WRONG_PRICE_VERSION, amount, reason)
    slack = got.rows * terms.rule.minor_unit
    if terms.card is None or quantity is None or abs(rest) <= slack:
        return None
    due = terms.amount(terms.card, quantity)
    for card in terms.others:
        amount = terms.amount(card, quantity) - due
        if abs(rest - amount) <= slack:
            reason = f"charged by price version {card.price_version}, expected {versions[0]}"
            return Part(VarianceClass.WRONG_PRICE_VERSION, amount, reason)
    return None


def _rest(rest: int, terms: Terms, *, rows: int) -> Part:
    if abs(rest) <= rows * terms.rule.minor_unit:
        reason = f"off by {money_text(rest)}: a minor unit for each row at most"
        return Part(VarianceClass.ROUNDING, rest, reason)
    reason = f"off by {money_text(rest)}, which neither quantity, price nor rounding explains"
    return Part(VarianceClass.MANUAL_EDIT, rest, reason)

"""From a customer's bill to the lines of its invoice, and the hash that vouches for them. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from billing.bills import CustomerBill
from billing.usage import Evidence
from metering.catalog import Meter
from metering.dimensions import canonical
from rating_engine.bill import Line, LineKind
from rating_engine.exact import ONE_PRICE, ONE_UNIT
from rating_engine.models.model import Step, StepKind
from rating_engine.money import Money
from rating_engine.period_rater import GroupKey, RatedPart
from rating_engine.price_book.book import PricedSpan
from rating_engine.price_book.stored_rows import NewCard
from rating_engine.rate_card import CardLabel, rate_card
from rating_engine.split import Segment, SplitRater, carries_over

#: What lines are derived by: raised when the same usage and prices would give other lines.
CALCULATION_VERSION = 1
#: Amounts are stored in 10^-4 of the currency's unit, which is as small as any is paid in.
AMOUNT_DIGITS = 4
_SECOND_US = 1_000_000


class LineKey(NamedTuple):
    """What a line is for; no two lines of an invoice have one. Parts are Unix seconds."""

    kind: str
    meter: str
    group: str
    part_start: int
    part_end: int


class Tiers(NamedTuple):
    """How a charge is made up: units, price of one, flat fee, and what that comes to, of each tier.

    Of packages the units are packages. What has neither units nor fee is due for something else
    (bucket, minimum, cap). The charges add up to the line's.
    """

    units: tuple[int, ...] = ()
    unit_price: tuple[int, ...] = ()
    flat_fee: tuple[int, ...] = ()
    charge: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line, as it is stored: units are those of `sinks.invoice_rows.InvoiceLineRow`."""

    key: LineKey
    quantity: int
    included: int
    overage: int
    tiers: Tiers
    exact: int
    amount: int
    currency: str
    plan: str
    price_version: int
    card: int
    evidence: Evidence


def amount_of(money: Money) -> int:
    """Minor units as 10^-4 of the currency's unit."""
    scale: int = 10 ** (AMOUNT_DIGITS - money.currency.minor_digits)
    return money.minor * scale


def group_text(group: GroupKey, meter: Meter | None) -> str:
    """A group as raw history has it: with every dimension that the meter groups by."""
    names = () if meter is None else meter.group_by
    return canonical({**dict.fromkeys(names, ""), **dict(group)})


class LineMaker:
    """Makes lines, and remembers the rate cards that they name until they are taken."""

    def __init__(self, meters: Mapping[str, Meter]) -> None:
        """`meters` are those of the price book."""
        self._meters = meters
        self._cards: dict[object, NewCard] = {}
        self._new: list[NewCard] = []

    def lines(
        self, found: CustomerBill, evidence: Mapping[tuple[str, GroupKey], Sequence[Evidence]]
    ) -> list[InvoiceLine]:
        """The lines in the order of the bill; `evidence` is by meter and group, of each span."""
        return [self._line(line, found, evidence=evidence) for line in found.bill.lines]

    def take_new(self) -> list[NewCard]:
        """Cards that came up since this was last asked."""
        new, self._new = self._new, []
        return new

    def _line(
        self,
        line: Line,
        found: CustomerBill,
        *,
        evidence: Mapping[tuple[str, GroupKey], Sequence[Evidence]],
    ) -> InvoiceLine:
        first, last = line.spans
        text = ""
        if line.kind is LineKind.CHARGE:
            text = group_text(line.group, self._meters.get(line.meter))
        start = found.period.start
        key = LineKey(
            str(line.kind),
            line.meter,
            text,
            start + found.spans[first].span.start // _SECOND_US,
            start + found.spans[last].span.end // _SECOND_US,
        )
        priced = _priced(found.spans, line)
        assert priced.version is not None
        quantity, included, overage, tiers, card = 0, 0, 0, Tiers(), 0
        if line.part is not None:
            rated, part = line.part.rated, line.part
            quantity, included, overage = rated.quantity, rated.included, rated.overage
            tiers = tiers_of(part.rater.steps(rated.quantity, part.used_before))
            card = self._card(part, found, line=line, group=text).number
        behind = evidence.get((line.meter, line.group), ())[first : last + 1]
        return InvoiceLine(
            key,
            quantity,
            included,
            overage,
            tiers,
            line.exact,
            amount_of(line.amount),
            line.amount.currency.code,
            priced.version.plan,
            priced.version.version,
            card,
            sum(behind, start=Evidence()),
        )

    def _card(self, part: RatedPart, found: CustomerBill, *, line: Line, group: str) -> NewCard:
        first = found.spans[part.spans[0]]
        assert first.version is not None
        carries_s = carried_s(found.spans, line.meter, part=part, period_us=found.period.length_us)
        label = CardLabel(
            first.version.plan, first.version.version, line.meter, group,
            first.span.plan.currency.code, carries_s,
        )  # fmt: skip
        name = (label, first.version.content_hash, found.period, part.spans, _length(found, part))
        known = self._cards.get(name)
        if known is None:
            if len(self._cards) >= _CARDS_KEPT_MAX:
                self._cards = {}
            card = rate_card(part.rater.terms, dict(line.group))
            known = self._cards[name] = NewCard(card.number(label), label, card)
            self._new.append(known)
        return known


#: Distinct cards that are remembered; full, it starts again.
_CARDS_KEPT_MAX = 50_000


def _length(found: CustomerBill, part: RatedPart) -> tuple[int, int]:
    first, last = part.spans
    return found.spans[first].span.start, found.spans[last].span.end


def _priced(spans: Sequence[PricedSpan], line: Line) -> PricedSpan:
    """What names plan and version of a line: its first span, of a true-up the period's last."""
    if line.kind is LineKind.TRUE_UP:
        return next(each for each in reversed(spans) if each.version is not None)
    return spans[line.spans[0]]


def carried_s(spans: Sequence[PricedSpan], meter: str, *, part: RatedPart, period_us: int) -> int:
    """How many seconds before a part those begin whose use counts against it; 0 for none."""
    if len(spans) == 1 or part.rater.terms.share is not None:  # a level carries nothing
        return 0
    first, last = part.spans
    while first > 0 and meter in spans[first - 1].span.charges:
        first -= 1
    while last + 1 < len(spans) and meter in spans[last + 1].span.charges:
        last += 1
    segments = [
        Segment(span.start, span.end, span.charges[meter], span.plan.prorate_allowance)
        for span, _, _ in spans[first : last + 1]
    ]
    is_whole_allowance = not spans[part.spans[0]].span.plan.prorate_allowance
    if is_whole_allowance and carries_over(SplitRater(segments, period_us)):
        return (spans[part.spans[0]].span.start - segments[0].start) // _SECOND_US
    return 0


def tiers_of(steps: Iterable[Step]) -> Tiers:
    """The steps of a charge as tiers; what is included costs nothing and is left out."""
    rows: list[tuple[int, int, int, int]] = []
    tier_before: int | None = None
    for step in steps:
        if step.kind is StepKind.INCLUDED:
            continue
        if step.kind is StepKind.UNITS:
            rows.append((step.quantity, step.price, 0, step.amount))
        elif step.kind is StepKind.PACKAGES:
            rows.append((step.quantity * ONE_UNIT, step.price, 0, step.amount))
        elif step.kind is StepKind.FLAT_FEE and rows and step.tier == tier_before:
            units, price, _, charge = rows[-1]
            rows[-1] = (units, price, step.amount // ONE_PRICE, charge + step.amount)
        elif step.kind is StepKind.FLAT_FEE:
            rows.append((step.quantity, 0, step.amount // ONE_PRICE, step.amount))
        else:
            rows.append((0, 0, 0, step.amount))
        tier_before = step.tier
    return Tiers(*(tuple(column) for column in zip(*rows, strict=True))) if rows else Tiers()


def lines_hash(customer_id: str, period_start: int, *, lines: Sequence[InvoiceLine]) -> str:
    """SHA-256 of all lines in their order, in the one form that is hashed: JSON, a line each.

    Numbers are text, so that any size is exact; texts are quoted, so that none runs into another.
    """
    digest = hashlib.sha256()
    digest.update(orjson.dumps([customer_id, period_start, CALCULATION_VERSION, len(lines)]))
    for line in lines:
        fields = [
            *line.key,
            *map(str, (line.quantity, line.included, line.overage, line.exact, line.amount)),
            [[str(each) for each in column] for column in line.tiers],
            line.currency, line.plan, line.price_version, str(line.card), line.evidence.events,
            line.evidence.identities_hash().hex(),
        ]  # fmt: skip
        digest.update(b"\n" + orjson.dumps(fields))
    return digest.hexdigest()


def document_id(prefix: str, *names: object) -> str:
    """An id that follows from what it is of, so that who writes it again writes the same."""
    content = orjson.dumps([str(each) for each in names])
    return f"{prefix}_{hashlib.sha256(content).hexdigest()[:20]}"

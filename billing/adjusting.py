"""What is due now less what was billed so far, line by line. Pure."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from billing.invoice_lines import InvoiceLine, LineKey
from billing.usage import Evidence
from rating_engine.bill import LineKind
from sinks.adjustment_rows import AdjustmentLineRow
from sinks.invoice_rows import InvoiceLineRow

_KINDS = [str(kind) for kind in LineKind]


@dataclass(frozen=True, slots=True)
class Billed:
    """What a line comes to; units are those of `sinks.invoice_rows.InvoiceLineRow`."""

    quantity: int = 0
    included: int = 0
    overage: int = 0
    exact: int = 0
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Prices:
    """What a line was priced by."""

    currency: str
    plan: str
    price_version: int
    card: int


@dataclass(frozen=True, slots=True)
class BilledSoFar:
    """The invoice and all adjustments to it, by what lines are for."""

    lines: Mapping[LineKey, Billed]
    prices: Mapping[LineKey, Prices]

    @property
    def total(self) -> int:
        """The sum of all amounts (10^-4 of the currency's unit)."""
        return sum(each.amount for each in self.lines.values())


@dataclass(frozen=True, slots=True)
class AdjustmentLine:
    """A line before and after; `evidence` is of all events that are in it now."""

    key: LineKey
    before: Billed
    after: Billed
    prices: Prices
    evidence: Evidence

    @property
    def amount(self) -> int:
        """What is due in addition (10^-4 of the currency's unit); negative is given back."""
        return self.after.amount - self.before.amount


def billed_so_far(
    lines: Iterable[InvoiceLineRow], adjustments: Iterable[AdjustmentLineRow]
) -> BilledSoFar:
    """Add the adjustments, in any order, to the lines of the invoice."""
    found: dict[LineKey, Billed] = {}
    prices: dict[LineKey, Prices] = {}
    for line in lines:
        key = LineKey(line.kind, line.meter, line.group, line.part_start, line.part_end)
        found[key] = Billed(line.quantity, line.included, line.overage, line.exact, line.amount)
        prices[key] = Prices(line.currency, line.plan, line.price_version, line.card)
    for each in adjustments:
        key = LineKey(each.kind, each.meter, each.group, each.part_start, each.part_end)
        before = found.get(key, Billed())
        found[key] = Billed(
            before.quantity + each.quantity_after - each.quantity_before,
            before.included + each.included_after - each.included_before,
            before.overage + each.overage_after - each.overage_before,
            before.exact + each.exact_after - each.exact_before,
            before.amount + each.amount,
        )
        prices[key] = Prices(each.currency, each.plan, each.price_version, each.card)
    return BilledSoFar(found, prices)


def due_lines(lines: Iterable[InvoiceLine]) -> dict[LineKey, Billed]:
    """What lines come to, by what they are for."""
    return {
        line.key: Billed(line.quantity, line.included, line.overage, line.exact, line.amount)
        for line in lines
    }


def same_money(billed: BilledSoFar, derived: Mapping[LineKey, Billed]) -> bool:
    """Whether what was billed is what comes out for the same usage now: the prices are the same."""
    nothing = Billed()
    return all(
        (was.exact, was.amount) == (now.exact, now.amount)
        for key in billed.lines.keys() | derived.keys()
        for was, now in ((billed.lines.get(key, nothing), derived.get(key, nothing)),)
    )


def adjustment_lines(
    billed: BilledSoFar, due: Sequence[InvoiceLine], *, touched: Collection[LineKey]
) -> list[AdjustmentLine]:
    """Every line that differs, or that events came to (`touched`) without changing what it costs.

    In the order of bills. What was billed and is not due any more has nothing after.
    """
    after = due_lines(due)
    lines = {line.key: line for line in due}
    found = []
    for key in sorted(billed.lines.keys() | after.keys(), key=_place):
        before, now = billed.lines.get(key, Billed()), after.get(key, Billed())
        if before == now and key not in touched:
            continue
        line = lines.get(key)
        if line is None:
            prices, evidence = billed.prices[key], Evidence()
        else:
            prices = Prices(line.currency, line.plan, line.price_version, line.card)
            evidence = line.evidence
        found.append(AdjustmentLine(key, before, now, prices, evidence))
    return found


def _place(key: LineKey) -> tuple[object, ...]:
    return (_KINDS.index(key.kind) if key.kind in _KINDS else len(_KINDS), *key)


def adjustment_hash(customer_id: str, period_start: int, *, lines: Sequence[AdjustmentLine]) -> str:
    """SHA-256 of all lines in their order, as `lines_hash` of an invoice's."""
    digest = hashlib.sha256()
    digest.update(orjson.dumps([customer_id, period_start, len(lines)]))
    for line in lines:
        fields = [
            *line.key, *_texts(line.before), *_texts(line.after), str(line.amount),
            line.prices.currency, line.prices.plan, line.prices.price_version,
            str(line.prices.card), line.evidence.events, line.evidence.identities_hash().hex(),
        ]  # fmt: skip
        digest.update(b"\n" + orjson.dumps(fields))
    return digest.hexdigest()


def _texts(billed: Billed) -> list[str]:
    return [
        str(each)
        for each in (billed.quantity, billed.included, billed.overage, billed.exact, billed.amount)
    ]

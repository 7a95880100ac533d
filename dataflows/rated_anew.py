"""What the stream would have made of stored events, had the price book of now been there then.

The rules are those of the live path, said once more: parts, cards and chains come from `Pricing`,
values run along one source partition in the order of its log, an event is charged the difference
that it makes. One by one in Python, since corrections touch few customers. Rows that were rated by
the stream under the same book come out as they are; a test holds both together.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow as pa

from dataflows.distinct_claims import Place
from dataflows.pricing import CHAINED, SPLIT, Chain, Part, Price, Pricing
from metering.batch import CHARGE_SCALE
from metering.catalog import Aggregation, Meter
from metering.decimals import decimal256_of_words, units_of, words_of
from metering.value_identity import ValueKey
from rating_engine.exact import ONE_UNIT
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.stored_rows import NewCard, card_columns, period_columns
from rating_engine.rate_card import CardLabel, RateCard, rate_card
from rating_engine.split import SplitRater
from sinks.rating_tables import card_table, period_table

_SECOND_US = 1_000_000
_PLAIN = (
    "customer_id", "meter", "group", "identity", "stream", "partition", "offset", "index",
    "at_us", "record_ms", "dimensions", "counted", "card", "price_version",
)  # fmt: skip
_EXACT = ("quantity", "cumulative_before", "included", "overage", "charge")
_TIMES = ("part_start", "period_start")

#: Included, overage (10^-12 units) and charge (10^-24 of the currency's unit).
Figures = tuple[int, int, int]
_NOTHING: Figures = (0, 0, 0)


class Rating(NamedTuple):
    """The derived columns of one row, in the order of `_derived`."""

    counted: bool
    part_start: int
    period_start: int
    cumulative_before: int
    included: int
    overage: int
    charge: int
    card: int
    price_version: str


class RatedAnew(NamedTuple):
    """Rows that come out differently, and the prices that they name (None: no new ones).

    `values` say which event counts for each distinct value.
    """

    changed: pa.Table
    cards: pa.Table | None
    periods: pa.Table | None
    values: dict[ValueKey, Place]


class _Row(NamedTuple):
    customer_id: str
    meter: str
    group: str
    identity: bytes
    stream: str
    partition: int
    offset: int
    index: int  # type: ignore[assignment]
    at_us: int
    record_ms: int
    dimensions: str
    counted: bool
    card: int
    price_version: str
    quantity: int


class _Value:
    """The value of a unit, along one partition."""

    __slots__ = ("is_used", "latest", "units")

    def __init__(self) -> None:
        self.units = 0
        self.is_used = False
        self.latest = (0, b"")

    def add(self, row: _Row, how: Aggregation, *, counted: bool) -> None:
        if how is Aggregation.COUNT or (how is Aggregation.UNIQUE_COUNT and counted):
            self.units += ONE_UNIT
        elif how is Aggregation.SUM:
            self.units += row.quantity
        elif how is Aggregation.MAX:
            self.units = max(self.units, row.quantity) if self.is_used else row.quantity
        elif how is Aggregation.LATEST:
            moment = (row.at_us, row.identity)
            if not self.is_used or moment > self.latest:
                self.units, self.latest = row.quantity, moment
        self.is_used = True


class Rerater:
    """Rates the rows of whole billing periods; one for each pass, under one price book."""

    def __init__(self, book: PriceBook) -> None:
        """Know no row yet."""
        self._book = book
        self._pricing = Pricing(book)
        self._meters: Mapping[str, Meter] = book.catalog.meters
        self._cards: dict[tuple[object, ...], tuple[int, RateCard, str]] = {}
        self._new: list[NewCard] = []
        self._values: dict[ValueKey, Place] = {}
        self._chain_raters: dict[tuple[int, str], tuple[Chain, SplitRater, dict[int, int]]] = {}

    def rate(self, stored: pa.Table) -> RatedAnew:
        """`stored` has all billable rows of whole periods, as `RatedRows.billable` gives them."""
        if not stored.num_rows:
            return RatedAnew(stored, None, None, {})
        stored = stored.combine_chunks()
        exact = {name: units_of(stored.column(name).combine_chunks()) for name in _EXACT}
        rows = _rows(stored)
        found = self._rated(rows)
        times = [stored.column(name).to_pylist() for name in _TIMES]
        before = [
            Rating._make((bool(row.counted), *rest, row.card, row.price_version))
            for row, *rest in zip(
                rows, *times, *(exact[name] for name in _EXACT[1:]), strict=True
            )
        ]  # fmt: skip
        changed = [at for at, rating in enumerate(found) if rating != before[at]]
        kept = stored.take(pa.array(changed, pa.int64()))
        table = _with_ratings(kept, [found[at] for at in changed], catalog=self._book.content_hash)
        new, self._new = self._new, []
        values, self._values = self._values, {}
        periods = period_table(
            period_columns(self._pricing.take_billed()), updated_at=datetime.now(UTC)
        )
        return RatedAnew(table, card_table(card_columns(new)), periods, values)

    def values_of(self, stored: pa.Table) -> set[ValueKey]:
        """Distinct values of rows, by the parts of now."""
        keys = (self._value(row, self._part(row)) for row in _rows(stored))
        return {key for key in keys if key is not None}

    def _rated(self, rows: Sequence[_Row]) -> list[Rating]:
        parts = [self._part(row) for row in rows]
        counted = self._counted(rows, parts)
        values: dict[tuple[object, ...], _Value] = {}
        chains: dict[tuple[object, ...], list[int]] = {}
        found = []
        for row, part, counts in zip(rows, parts, counted, strict=True):
            place = (row.stream, row.partition, row.customer_id, row.meter, row.group)
            value = values.setdefault((*place, part.start), _Value())
            before = value.units
            value.add(row, self._how(row.meter), counted=counts)
            if part.price == CHAINED:
                figures, card, version = self._chained(
                    row, part, place=place, after=value.units, chains=chains
                )
            else:
                figures, card, version = self._carded(row, part, before=before, after=value.units)
            found.append(
                Rating(counts, part.start, part.period_start, before, *figures, card, version)
            )
        return found

    def _part(self, row: _Row) -> Part:
        second = row.at_us // _SECOND_US
        part = self._pricing.part_at(row.customer_id, second)
        if part.price == SPLIT:
            return self._pricing.meter_part(row.customer_id, row.meter, second=second)
        return part

    def _how(self, meter: str) -> Aggregation:
        known = self._meters.get(meter)
        return Aggregation.SUM if known is None else known.aggregation

    def _counted(self, rows: Sequence[_Row], parts: Sequence[Part]) -> list[bool]:
        """One event for each distinct value of a part: one that counted before, else the first."""
        found = [bool(row.counted) for row in rows]
        held: dict[ValueKey, tuple[tuple[object, ...], int]] = {}
        for at, (row, part) in enumerate(zip(rows, parts, strict=True)):
            key = self._value(row, part)
            if key is None:
                continue
            order = (not found[at], row.record_ms, row.partition, row.offset, row.index)
            found[at] = False
            if key not in held or order < held[key][0]:
                held[key] = order, at
        for key, (_, at) in held.items():
            found[at] = True
            row = rows[at]
            self._values[key] = Place(row.stream, row.partition, row.offset, row.index)
        return found

    def _value(self, row: _Row, part: Part) -> ValueKey | None:
        meter = self._meters.get(row.meter)
        if meter is None or meter.counted_dimension is None:
            return None
        value = json.loads(row.dimensions or "{}").get(meter.counted_dimension, "")
        return row.customer_id, row.meter, row.group, part.start, value

    def _carded(
        self, row: _Row, part: Part, *, before: int, after: int
    ) -> tuple[Figures, int, str]:  # fmt: skip
        if part.price < 0:
            return _NOTHING, 0, ""
        price = self._pricing.prices[part.price]
        terms = price.charges.get(row.meter)
        if terms is None:
            return _NOTHING, 0, ""
        key = (part.price, row.meter, row.group)
        if key not in self._cards:
            card = rate_card(terms, json.loads(row.group))
            self._cards[key] = self._named(card, price, row=row, carries_s=0)
        number, card, version = self._cards[key]
        high, low = card.figures(after), card.figures(before)
        return (high[0] - low[0], high[1] - low[1], high[2] - low[2]), number, version

    def _chained(
        self, row: _Row, part: Part, *, place: tuple[object, ...], after: int,
        chains: dict[tuple[object, ...], list[int]],
    ) -> tuple[Figures, int, str]:  # fmt: skip
        chain = self._pricing.chain(row.customer_id, row.meter, start=part.start)
        _, rater, places = self._chain_raters.setdefault(
            (id(chain), row.group),
            (
                chain,
                chain.rater(row.group),
                {each.start: at for at, each in enumerate(chain.parts)},
            ),
        )
        values = chains.setdefault((*place, chain.parts[0].start), [0] * len(chain.parts))
        low = _sum(rater, values)
        values[places[part.start]] = after
        high = _sum(rater, values)
        key = (id(chain), part.start, row.meter, row.group)
        if key not in self._cards:
            price, terms, carries_s = chain.price_from(part.start)
            card = rate_card(terms, json.loads(row.group))
            self._cards[key] = self._named(card, price, row=row, carries_s=carries_s)
        number, _, version = self._cards[key]
        return (high[0] - low[0], high[1] - low[1], high[2] - low[2]), number, version

    def _named(
        self, card: RateCard, price: Price, *, row: _Row, carries_s: int
    ) -> tuple[int, RateCard, str]:
        label = CardLabel(
            price.plan, price.version, row.meter, row.group, price.currency, carries_s=carries_s
        )
        number = card.number(label)
        self._new.append(NewCard(number, label, card))
        return number, card, f"{price.plan}/{price.version}"


def _sum(rater: SplitRater, values: Sequence[int]) -> Figures:
    included, overage, charge = 0, 0, 0
    for each in rater.rate(values):
        included += each.included
        overage += each.overage
        charge += each.charge
    return included, overage, charge


def _rows(stored: pa.Table) -> list[_Row]:
    columns = [stored.column(name).to_pylist() for name in _PLAIN]
    quantities = units_of(stored.column("quantity").combine_chunks()) if stored.num_rows else []
    return [
        _Row._make((*values, quantity))
        for *values, quantity in zip(*columns, quantities, strict=True)
    ]


def _with_ratings(rows: pa.Table, found: Sequence[Rating], *, catalog: str) -> pa.Table:
    columns = {name: [getattr(each, name) for each in found] for name in Rating._fields}
    derived = {
        "counted": pa.array(columns["counted"], pa.bool_()),
        "part_start": pa.array(columns["part_start"], pa.uint32()),
        "period_start": pa.array(columns["period_start"], pa.uint32()),
        **{
            name: decimal256_of_words(words_of(columns[name]))
            for name in ("cumulative_before", "included", "overage")
        },
        "charge": decimal256_of_words(words_of(columns["charge"]), scale=CHARGE_SCALE),
        "card": pa.array(columns["card"], pa.uint64()),
        "price_version": pa.array(columns["price_version"], pa.string()),
        "catalog": pa.array([catalog] * len(found), pa.string()),
    }
    for name, column in derived.items():
        rows = rows.set_column(rows.column_names.index(name), name, column)
    return rows

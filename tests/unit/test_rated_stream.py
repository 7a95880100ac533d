"""What the stream charges, event by event, is what the engine charges for the period.

Random prices, changes inside periods, calendars, late events, replays and forgotten units; judged
by the engine from the events alone. The seed is printed.
"""

import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from catalogs import microseconds
from folding import Row, folds_of

from dataflows.catalog_watch import rating_of
from dataflows.ledger import Ledger
from dataflows.rating import Rated
from dataflows.totals_ahead import AheadLimits
from metering.batch import EventBatch, RawBatch, Source
from metering.decode import Decoder
from metering.settings import load_settings
from metering.totals import (
    PlacedKey,
    StoredPartition,
    StoredUnit,
    StoredWindow,
    TotalColumns,
    UnitKey,
)
from rating_engine.billing_period import BillingCalendar, BillingPeriod
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from rating_engine.split import Segment, SplitRater

METERS = """
meters:
- {key: m_sum, unit: u, aggregation: sum, group_by: [region], allow_negative: true}
- {key: m_max, unit: u, aggregation: max}
- {key: m_latest, unit: u, aggregation: latest}
- {key: m_free, unit: u, aggregation: sum}
"""
PRICES = (
    '{model: per_unit, unit_price: "0.001"}',
    """{model: graduated, tiers: [{up_to: "40", unit_price: "0.3"},
        {up_to: "90", unit_price: "0.1", flat_fee: "5"}, {unit_price: "0.05"}]}""",
    '{model: volume, tiers: [{up_to: "60", unit_price: "0.5"}, {unit_price: "0.2"}]}',
    '{model: package, package_size: "7", package_price: "2"}',
    """{model: dimensional, dimensions: [region], prices: [{values: {region: eu},
        price: {model: per_unit, unit_price: "2"}}],
        default: {model: per_unit, unit_price: "1"}}""",
)
STARTS_US = microseconds("2026-03-01")
DAYS = 120
DAY_S = 86_400
Q = 10**12


class Store:
    """A `TotalsStore` over the rows that were cut."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str, int], tuple[StoredWindow, int]] = {}
        self.cards: dict[tuple[str, str, str, int], tuple[int, int, int]] = {}

    def take(self, found: TotalColumns, absorbed: int) -> None:
        """Store what a flush wrote."""
        rated = found.rated
        assert rated is not None
        columns = [x.to_pylist() for x in (found.customers, found.meters, found.groups)]
        for at, names in enumerate(zip(*columns, strict=True)):
            key = (*names, int(found.window_starts[at]))
            whole = _number(found.quantities[at])
            last_identity = found.last_identities[at].tobytes()
            self.rows[key] = StoredWindow(
                whole, int(found.events[at]), int(found.late_events[at]), int(found.first_us[at]),
                int(found.last_us[at]), last_identity, absorbed, _number(rated[at, 0:3]),
                _number(rated[at, 3:6]), _number(rated[at, 6:9]),
            ), absorbed  # fmt: skip
            self.cards[key] = (
                int(found.parts[at]), int(found.periods[at]), int(found.cards[at])
            )  # fmt: skip

    def partition(self, _stream: str, _partition: int) -> StoredPartition:
        """Absorbed offset and newest window."""
        rows = self.rows.items()
        return StoredPartition(
            max((absorbed for _, (_, absorbed) in rows), default=-1),
            max((key[3] for key, _ in rows), default=-1),
        )

    def units(
        self, _stream: str, _partition: int, keys: list[UnitKey]
    ) -> dict[UnitKey, StoredUnit]:
        """Windows folded."""
        found = {}
        for key in keys:
            every = [
                (name[3], row) for name, (row, _) in self.rows.items()
                if name[:3] == key[:3] and key.start // 3600 * 3600 <= name[3] < key.end
            ]  # fmt: skip
            some = [(start, row) for start, row in every if start >= key.start and row.events]
            if every:
                absorbed = max(row.absorbed_offset for _, row in every)
                found[key] = StoredUnit(absorbed, -1, 0, 0, 0, 0, bytes(16))
            if some:
                rows = [row for _, row in some]
                latest = max(rows, key=lambda row: (row.last_us, row.last_identity))
                found[key] = StoredUnit(
                    absorbed, max(start for start, _ in some),
                    sum(row.units for row in rows), max(row.units for row in rows), latest.units,
                    latest.last_us, latest.last_identity,
                )  # fmt: skip
        return found

    def folds(
        self, _stream: str, _partition: int, *, since: int, recent: int, rows_max: int
    ) -> pa.Table | None:
        """Rows folded, by the part that they were written of."""
        rows = (
            Row(name[:3], self.cards[name][0], name[3], row) for name, (row, _) in self.rows.items()
        )
        return folds_of(rows, since=since, recent=recent, rows_max=rows_max)

    def windows(self, _stream: str, keys: list[PlacedKey]) -> dict[PlacedKey, StoredWindow]:
        """Rows by key."""
        return {place: self.rows[place.key][0] for place in keys if place.key in self.rows}


def _number(words: Any) -> int:
    return int.from_bytes(np.ascontiguousarray(words).tobytes(), "little", signed=True)


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _catalog(folder: Path, rng: Random, customers: list[str]) -> PriceBook:
    (folder / "meters.yaml").write_text(METERS)
    plans, rows = ["plans:\n"], []
    for plan in ("a", "b"):
        carries = "true" if rng.random() < 0.4 else "false"
        plans.append(
            f"- key: {plan}\n  currency: USD\n  prorate_allowance: {carries}\n  versions:\n"
        )
        moment = STARTS_US
        for version in range(1, rng.randint(2, 4)):
            plans.append(f"  - version: {version}\n    effective_from: {_time(moment)}\n")
            plans.append("    charges:\n")
            for meter in ("m_sum", "m_max", "m_latest"):
                if rng.random() < 0.15:
                    continue
                price = rng.choice(PRICES if meter == "m_sum" else PRICES[:4])
                allowance = rng.choice(["0", "20", "150"])
                bounds = rng.choice(["", 'minimum: "3", ', 'cap: "15", '])
                plans.append(
                    f'    - {{meter: {meter}, allowance: "{allowance}", {bounds}price: {price}}}\n'
                )
            moment += rng.randint(1, 60) * DAY_S * 1_000_000 + rng.choice([0, 5_400_000_000])
    for n, customer in enumerate(customers):
        if rng.random() < 0.15:
            continue  # never had a subscription
        zone, anchor = rng.choice([("UTC", 1), ("Asia/Kolkata", 15), ("America/New_York", 31)])
        at = STARTS_US + rng.choice([0, rng.randint(0, 40) * DAY_S * 1_000_000])
        for part in range(rng.randint(1, 2)):
            until = at + rng.randint(5, 70) * DAY_S * 1_000_000
            end = "" if rng.random() < 0.5 and part else f", until: {_time(until)}"
            rows.append(
                f"- {{id: s{n}_{part}, customer_id: {customer}, plan: {rng.choice('ab')}, "
                f"anchor_day: {anchor}, time_zone: {zone}, from: {_time(at)}{end}}}\n"
            )
            at = until + rng.choice([0, 3 * DAY_S * 1_000_000])
    (folder / "plans.yaml").write_text("".join(plans))
    (folder / "subscriptions.yaml").write_text("subscriptions:\n" + "".join(rows or ["  []"]))
    return load_price_book(folder)


def _messages(rng: Random, customers: list[str]) -> list[bytes]:
    moment = STARTS_US
    found = []
    for n in range(rng.randint(100, 400)):
        moment += rng.randint(0, 2 * DAYS * DAY_S // 400) * 1_000_000
        late = rng.choice([0, 0, 0, rng.randint(0, 50) * DAY_S * 1_000_000])
        meter = rng.choice(["m_sum", "m_sum", "m_max", "m_latest", "m_free"])
        quantity = rng.choice([1, 5, 12.5, 33, 80])
        if meter == "m_sum" and rng.random() < 0.1:
            quantity = -quantity
        dimensions = {"region": rng.choice(["eu", "us"])} if meter == "m_sum" else {}
        found.append(
            json.dumps(
                {
                    "id": f"e{n}", "customer_id": rng.choice(customers), "meter": meter,
                    "quantity": str(quantity), "dimensions": dimensions,
                    "occurred_at": _time(max(moment - late, STARTS_US - DAY_S * 1_000_000)),
                }
            ).encode()
        )  # fmt: skip
    return found


class Judge:
    """Charges of periods, by the engine, from values by segment of time."""

    def __init__(self, book: PriceBook) -> None:
        self.book = book
        self.values: dict[Any, dict[int, int]] = defaultdict(dict)
        self.latest: dict[Any, Any] = {}

    def add(self, batch: EventBatch, row: int) -> tuple[Any, tuple[int, int, int]]:
        """The key of an event's period, and what it adds to it."""
        customer = batch.texts("customer_id", np.array([row]))[0]
        meter, group = batch.series[int(batch.codes[row])]
        us = int(batch.occurred_us[row])
        calendar = self.book.calendar_of(customer) or BillingCalendar()
        period = calendar.period_of(us)
        key = (customer, meter, group, period)
        spans = self.book.spans(customer, period)
        moment = us - period.start * 1_000_000
        at = next((i for i, s in enumerate(spans) if s.span.start <= moment < s.span.end), -1)
        if at < 0 or meter not in spans[at].span.charges:
            return key, (0, 0, 0)
        before = self.figures(key)
        self._fold(key, self._part(spans, meter, at, period), batch, row)
        after = self.figures(key)
        return key, (after[0] - before[0], after[1] - before[1], after[2] - before[2])

    def figures(self, key: Any) -> tuple[int, int, int]:
        """Included, overage and charge of a period, less what is due for nothing."""
        customer, meter, group, period = key
        total = np.array([0, 0, 0], object)
        for segments, offset in self._runs(self.book.spans(customer, period), meter):
            rater = SplitRater(segments, period.length_us, group=json.loads(group))
            # one segment a part, since levels of a part are not sums of its segments
            parts = SplitRater(
                rater.merged, period.length_us, group=json.loads(group),
                aggregation=self.book.catalog.meters[meter].aggregation,
            )  # fmt: skip
            numbers = [offset + rater.part_of.index(at) for at in range(len(rater.merged))]
            held = self.values[key]
            for values, sign in (([held.get(n, 0) for n in numbers], 1), ([0] * len(numbers), -1)):
                for each in parts.rate(values):
                    total += np.array([each.included, each.overage, each.charge], object) * sign
        return int(total[0]), int(total[1]), int(total[2])

    def _runs(self, spans: Any, meter: str) -> list[tuple[list[Segment], int]]:
        runs: list[tuple[list[Segment], int]] = []
        previous = False
        for at, (span, _, _) in enumerate(spans):
            terms = span.charges.get(meter)
            if terms is not None:
                if not previous:
                    runs.append(([], at))
                runs[-1][0].append(
                    Segment(span.start, span.end, terms, span.plan.prorate_allowance)
                )
            previous = terms is not None
        return runs

    def carried_s(self, key: Any, us: int) -> int:
        """How long before an event's part those begin whose use counts against it."""
        if key[1] in ("m_max", "m_latest"):
            return 0
        spans, moment = self.book.spans(key[0], key[3]), us - key[3].start * 1_000_000
        for segments, _ in self._runs(spans, key[1]):
            rater = SplitRater(segments, key[3].length_us)
            covered = [rater.rater_of(part).terms.covered for part in range(len(rater.merged))]
            carried = [
                at for at, part in enumerate(rater.merged)
                if not part.prorate_allowance and covered[at] and any(covered[:at])
            ]  # fmt: skip
            for part in rater.merged if carried else ():
                if part.start <= moment < part.end and not part.prorate_allowance:
                    return (part.start - rater.merged[0].start) // 1_000_000
        return 0

    def _part(self, spans: Any, meter: str, at: int, period: BillingPeriod) -> int:
        for segments, offset in self._runs(spans, meter):
            if offset <= at < offset + len(segments):
                rater = SplitRater(segments, period.length_us)
                return offset + rater.part_of.index(rater.part_of[at - offset])
        raise AssertionError

    def _fold(self, key: Any, part: int, batch: EventBatch, row: int) -> None:
        held, units = self.values[key], _number(batch.quantities[row])
        if key[1] == "m_max":
            held[part] = max(held.get(part, units), units)
        elif key[1] == "m_latest":
            order = (int(batch.occurred_us[row]), batch.identities[row].tobytes())
            if order >= self.latest.get((key, part), (0, b"")):
                self.latest[key, part] = order
                held[part] = units
        else:
            held[part] = held.get(part, 0) + units


def _version_of(book: PriceBook, key: Any, part: int) -> str:
    """The price version in force at the start of a part, "" where it does not price the meter."""
    version = book.version_at(key[0], part * 1_000_000)
    if version is None or key[1] not in version.charges:
        return ""
    return f"{version.plan}/{version.version}"


@pytest.mark.parametrize("seed", range(120))
def test_events_are_charged_what_they_add_to_their_period(seed: int, tmp_path: Path) -> None:
    rng = Random(seed)
    customers = [f"c{n}" for n in range(rng.choice([1, 3, 8]))]
    book = _catalog(tmp_path, rng, customers)
    messages = _messages(rng, customers)
    store, judge = Store(), Judge(book)
    decoder = Decoder(book.catalog, load_settings())
    record_ms = (STARTS_US + 400 * DAY_S * 1_000_000) // 1000
    sums: dict[Any, Any] = defaultdict(lambda: np.array([0, 0, 0], object))
    ledger = _ledger(book, store, rng)
    carries = {0: 0}
    first, generation = 0, 1
    while first < len(messages):
        count = rng.randint(1, 60)
        some = messages[first : first + count]
        raw = RawBatch(
            Source("s", 0, generation), list(range(first, first + len(some))),
            [record_ms] * len(some), list(some), first, first + len(some),
        )  # fmt: skip
        batch = decoder.decode(raw)
        assert len(batch) == len(some), batch.rejections[:1]
        plan = ledger.load(batch)
        assert plan.absorbed is None or not plan.absorbed.any()
        chosen, yes = np.arange(len(batch)), np.ones(len(batch), np.bool_)
        applied = ledger.apply(plan, chosen, late=~yes, counted=yes)
        assert applied.rated is not None
        new_cards, _ = ledger.take_new_prices()
        if new_cards is not None:
            names = (new_cards.column(name).to_pylist() for name in ("card", "carries_s"))
            carries |= dict(zip(*names, strict=True))
        for row in range(len(batch)):
            key, expected = judge.add(batch, row)
            got = _figures(applied.rated, row)
            assert got == expected, (seed, first + row, key, got, expected)
            part = int(plan.parts.starts[row])
            assert key[3].start <= part <= int(batch.occurred_us[row]) // 1_000_000
            named = applied.rated.versions[int(applied.rated.version_of[row])]
            assert named == _version_of(book, key, part), (seed, first + row, key)
            carried = judge.carried_s(key, int(batch.occurred_us[row]))
            assert carries[int(applied.rated.cards[row])] == carried, (seed, first + row, key)
            assert part <= int(plan.windows[row]) < int(plan.parts.ends[row]) <= key[3].end
            sums[*key[:3], int(plan.windows[row])] += np.array(got, object)
        if rng.random() < 0.5:
            number, totals = ledger.cut()
            for found in totals.values():
                store.take(found, first + len(some) - 1)
            ledger.settle(number)
            if rng.random() < 0.3:
                generation += 1
                ledger = _ledger(book, store, rng)
        first += len(some)
    _, totals = ledger.cut()
    for found in totals.values():
        store.take(found, len(messages) - 1)
    stored = {key: (row.included, row.overage, row.charge) for key, (row, _) in store.rows.items()}
    assert stored == {key: tuple(value) for key, value in sums.items()}, seed


def _ledger(book: PriceBook, store: Store, rng: Random) -> Ledger:
    ledger = Ledger(
        book.catalog, store, units_max=rng.choice([2, 5, 1000]),
        windows_max=rng.choice([0, 0, 20, 2000]), rating=rating_of(book),
    )  # fmt: skip
    ledger.ahead_limits = AheadLimits(
        keys_min=rng.choice([1, 5, 256]), rows_max=rng.choice([20, 1000])
    )
    return ledger


def _figures(rated: Rated, row: int) -> tuple[int, int, int]:
    return (
        _number(rated.included[row]), _number(rated.overage[row]), _number(rated.charge[row])
    )  # fmt: skip

"""Plain usage events for the bench, as fast as one process can write them, with their totals.

Sound events in the own shape only, 250 bytes on average, of the meters that add up; a share of
them may be exact copies of an earlier one of the same chunk. Rows are bytes of one fixed width per
meter, filled in by column, so that the generator is never what the bench measures.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np

from loadtest.outcome import Outcome, Total, TotalKey
from loadtest.population import partition_of
from loadtest.templates import Integers, Template, digits, rows_of_text, split_rows
from loadtest.truth import decimal_of_units
from loadtest.usage import rfc3339

#: Meters of the preload with the fraction digits of their quantities; all of them are sums.
PRELOAD_METERS = (("api_requests", 0), ("workflow_runs", 0), ("agent_minutes", 3), ("credits", 3))
_REGIONS = ("eu", "us", "ap")
_QUANTITY_MIN, _QUANTITY_MAX = 100_000, 1_000_000
_ON_TIME_S = 60
_HOUR_S = 3600
_HOURS = 2


@dataclass(frozen=True)
class PreloadPlan:
    """How much: `duplicates` is a share of all events (0..1), `chunk_events` a multiple of 4.

    `giant` is the share of events (0..1) that the first of the customers makes, of whom there are
    two then at least; the others are alike. There are at most a million customers.
    """

    events: int = 1_000_000
    customers: int = 20_000
    partitions: int = 8
    duplicates: float = 0.0
    giant: float = 0.0
    chunk_events: int = 40_000


class Chunk(NamedTuple):
    """Messages in the order to produce, as columns of equal length."""

    keys: list[bytes]
    values: list[bytes]
    partitions: list[int]


class Preload:
    """Iterate it once to get the chunks; `outcome` is the truth about what was taken so far."""

    def __init__(self, seed: int, plan: PreloadPlan, started_at: datetime) -> None:
        """All events occur within the minute before `started_at` (aware)."""
        self.plan = plan
        self._random = np.random.default_rng(seed)
        self._names = [f"cust-{index:06d}" for index in range(plan.customers)]
        self._keys = [name.encode() for name in self._names]
        self._partitions = np.array([partition_of(name, plan.partitions) for name in self._names])
        self._first_second = int(started_at.timestamp()) - _ON_TIME_S
        seconds = [rfc3339((self._first_second + s) * 1_000_000)[:-1] for s in range(_ON_TIME_S)]
        self._seconds = rows_of_text(seconds)
        self._first_hour = self._first_second // _HOUR_S
        self._axes = (plan.customers, len(PRELOAD_METERS), len(_REGIONS), _HOURS)
        self._milli: Integers = np.zeros(math.prod(self._axes), dtype=np.int64)
        self._events: Integers = np.zeros(math.prod(self._axes), dtype=np.int64)
        self._made = 0
        self._duplicates = 0

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks until `plan.events` are made, rounded up to a multiple of the meters."""
        while self._made < self.plan.events:
            yield self._chunk(min(self.plan.chunk_events, self.plan.events - self._made))

    def outcome(self) -> Outcome:
        """Accepted, duplicates and every hourly total; what is late depends on the producing."""
        places = np.flatnonzero(self._events)
        axes = (axis.tolist() for axis in np.unravel_index(places, self._axes))
        sums = (self._milli[places].tolist(), self._events[places].tolist())
        totals = {
            self._key(customer, meter, region, hour): Total(decimal_of_units(milli * 10**9), events)
            for customer, meter, region, hour, milli, events in zip(*axes, *sums, strict=True)
        }
        return Outcome(
            accepted=self._made - self._duplicates, duplicates=self._duplicates, totals=totals
        )

    def _key(self, customer: int, meter: int, *where: int) -> TotalKey:
        region, hour = where
        name = PRELOAD_METERS[meter][0]
        group = f'{{"region":"{_REGIONS[region]}"}}' if name == "api_requests" else "{}"
        return TotalKey(self._names[customer], name, group, (self._first_hour + hour) * _HOUR_S)

    def _chunk(self, events: int) -> Chunk:
        each = -(-events // len(PRELOAD_METERS))
        count = each * len(PRELOAD_METERS)
        customers = np.empty(count, dtype=np.int64)
        values = [b""] * count
        for meter in range(len(PRELOAD_METERS)):
            places = slice(meter, count, len(PRELOAD_METERS))
            customers[places], values[places] = self._rows(meter, each)
        self._made += count
        keys = [self._keys[customer] for customer in customers.tolist()]
        return Chunk(keys, values, self._partitions[customers].tolist())

    def _rows(self, meter: int, count: int) -> tuple[Integers, list[bytes]]:
        """`count` events of one meter: the customer and the bytes of each, written to the truth."""
        name, fraction_digits = PRELOAD_METERS[meter]
        draw = self._random.integers
        customers = self._draw_customers(count)
        regions = draw(0, len(_REGIONS), count)
        seconds = draw(0, _ON_TIME_S, count)
        milli = draw(_QUANTITY_MIN, _QUANTITY_MAX, count)
        if not fraction_digits:
            milli -= milli % 1000
        serials = self._made + np.arange(count) * len(PRELOAD_METERS) + meter
        template = _TEMPLATES[name]
        rows = template.rows(count)
        template.fill(rows, "@", columns=digits(serials, 12))
        template.fill(rows, "#", columns=digits(customers, 6))
        template.fill(rows, "$", columns=digits(milli // 1000, 3))
        if fraction_digits:
            template.fill(rows, "%", columns=digits(milli % 1000, 3))
        template.fill(rows, "^", columns=self._seconds[seconds])
        template.fill(rows, "&", columns=digits(serials % 1_000_000, 6))
        template.fill(rows, "~", columns=rows_of_text(list(_REGIONS))[regions])
        copies, sources = self._choose_copies(count)
        rows[copies], customers[copies] = rows[sources], customers[sources]
        fresh = np.ones(count, dtype=bool)
        fresh[copies] = False
        grouped = regions if name == "api_requests" else np.zeros_like(regions)
        hours = (self._first_second + seconds) // _HOUR_S - self._first_hour
        meters = np.full_like(customers, meter)
        places = np.ravel_multi_index((customers, meters, grouped, hours), self._axes)[fresh]
        np.add.at(self._milli, places, milli[fresh])
        np.add.at(self._events, places, 1)
        self._duplicates += len(copies)
        return customers, split_rows(rows)

    def _draw_customers(self, count: int) -> Integers:
        """By index; the giant is 0."""
        if not self.plan.giant:
            return self._random.integers(0, self.plan.customers, count)
        others = self._random.integers(1, self.plan.customers, count)
        return np.where(self._random.random(count) < self.plan.giant, 0, others)

    def _choose_copies(self, count: int) -> tuple[Integers, Integers]:
        """Rows that become copies; for each the earlier row that it repeats, itself no copy."""
        is_copy = self._random.random(count) < self.plan.duplicates
        is_copy[0] = False
        originals = np.flatnonzero(~is_copy)
        copies = np.flatnonzero(is_copy)
        before = np.cumsum(~is_copy)[copies]
        chosen = (self._random.random(len(copies)) * before).astype(np.int64)
        return copies, originals[chosen]


def _template(meter: str, fraction_digits: int) -> Template:
    quantity = "$$$" + ("." + "%" * fraction_digits if fraction_digits else "")
    text = (
        f'{{"id":"evt-@@@@@@@@@@@@","customer_id":"cust-######","meter":"{meter}",'
        f'"quantity":{quantity},"occurred_at":"^^^^^^^^^^^^^^^^^^^.&&&&&&Z",'
        '"dimensions":{"region":"~~","plan":"pro","endpoint":"/orders"},'
        '"source":"api-gateway","batch_id":"batch-00000001"}'
    )
    return Template(text, "@#$%^&~")


_TEMPLATES = {name: _template(name, places) for name, places in PRELOAD_METERS}

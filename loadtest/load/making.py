"""The messages of a load, chunk by chunk, and the truth about them, written down as each is made.

Everything is drawn from the seed, by column; the truth is kept in whole thousandths and never
reads a message. Every copy is such that it does not matter who is processed first.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadtest.load.event_rows import (
    GROUPED,
    LOAD_METERS,
    EventRows,
    Fresh,
    customer_name,
    draw_milli,
    region_name,
)
from loadtest.load.malformed import MalformedPool
from loadtest.load.originals import Original, Originals
from loadtest.load.profiles import Mix, Profile
from loadtest.load.schedule import TICKS_PER_S, Schedule
from loadtest.load.sums import Sums
from loadtest.maker import LATE_S_MAX, LATE_S_MIN, ON_TIME_S_MAX
from loadtest.outcome import CONFLICT_CODE, Outcome, Total, TotalKey
from loadtest.population import partition_of
from loadtest.templates import Integers, split_rows

_CHUNK_EVENTS, _CHUNK_TICKS = 4_000, 50
_HOUR_S = 3600
_FRESH, _REPEATED, _ELSEWHERE, _RESTAMPED, _CONFLICT, _MALFORMED = range(6)


@dataclass(frozen=True)
class Load:
    """One load: the same one gives the same bytes. `began_s` is its start, Unix seconds."""

    profile: Profile
    schedule: Schedule
    seed: int
    partitions: int
    prefix: str
    began_s: int


class Chunk(NamedTuple):
    """Messages in the order to send, as columns of equal length; `ticks` is when each is due."""

    keys: list[bytes]
    values: list[bytes | None]
    partitions: list[int]
    ticks: NDArray[np.int32]


class LoadMaker:
    """Iterate it once; `outcome` is the truth about the chunks that were taken so far."""

    def __init__(self, load: Load) -> None:
        """Nothing is made yet; names and probabilities are laid out."""
        self._load = load
        profile = load.profile
        self._random = np.random.default_rng(load.seed)
        names = [customer_name(load.prefix, index) for index in range(profile.customers)]
        self._keys = np.array([name.encode() for name in names], dtype=object)
        self._partitions = np.array([partition_of(name, load.partitions) for name in names])
        self._first_second = load.began_s - LATE_S_MAX - ON_TIME_S_MAX
        self._first_hour = self._first_second // _HOUR_S
        seconds = LATE_S_MAX + ON_TIME_S_MAX + load.schedule.seconds + 1
        self._rows = EventRows(
            load.prefix, regions=profile.regions, dimensions=profile.dimensions,
            first_second=self._first_second, seconds=seconds,
        )  # fmt: skip
        hours = (self._first_second + seconds) // _HOUR_S - self._first_hour + 1
        self._axes = (profile.customers, len(LOAD_METERS), profile.regions, hours)
        self._shares = _cumulated_shares(profile.mix)
        self._popularity = _popularity(profile)
        self._originals = Originals(self._random)
        self._malformed = MalformedPool(Random(load.seed), names[0])
        self._sums = Sums()
        self._serial = 0
        self._accepted = self._duplicates = self._late = 0
        self._rejected: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks up to the end of the schedule."""
        ends = self._load.schedule.ends
        for first, last in self._load.schedule.chunks(_CHUNK_EVENTS, _CHUNK_TICKS):
            before = int(ends[first - 1]) if first else 0
            each = np.diff(ends[first:last], prepend=before)
            ticks = np.repeat(np.arange(first, last, dtype=np.int32), each)
            if len(ticks):
                yield self._chunk(ticks)

    def outcome(self) -> Outcome:
        """Counts, rejects by code, and every hourly total."""
        keys, milli, events = self._sums.columns()
        axes = (axis.tolist() for axis in np.unravel_index(keys, self._axes))
        rows = zip(*axes, milli.tolist(), events.tolist(), strict=True)
        totals = {
            self._key(customer, meter, region, hour): Total(Decimal(total).scaleb(-3), count)
            for customer, meter, region, hour, total, count in rows
        }
        return Outcome(
            accepted=self._accepted,
            duplicates=self._duplicates,
            late=self._late,
            rejected=dict(self._rejected),
            totals=totals,
        )

    def _key(self, customer: int, meter: int, *where: int) -> TotalKey:
        region, hour = where
        group = f'{{"region":"{region_name(region)}"}}' if meter == GROUPED else "{}"
        name = customer_name(self._load.prefix, customer)
        return TotalKey(name, LOAD_METERS[meter][0], group, (self._first_hour + hour) * _HOUR_S)

    def _chunk(self, ticks: NDArray[np.int32]) -> Chunk:
        count = len(ticks)
        kinds = np.searchsorted(self._shares, self._random.random(count), side="right")
        if not self._originals:
            kinds[(kinds != _FRESH) & (kinds != _MALFORMED)] = _FRESH
        due_s = float(ticks[-1]) / TICKS_PER_S
        values = np.empty(count, dtype=object)
        customers = np.empty(count, dtype=np.int64)
        steps = np.zeros(count, dtype=np.int64)
        for kind in (_REPEATED, _ELSEWHERE, _RESTAMPED, _CONFLICT):
            places = np.flatnonzero(kinds == kind)
            if len(places):
                copies = self._copies(kind, len(places), now_s=self._now_s(ticks[places[0]]))
                values[places] = _objects([each.value for each in copies])
                customers[places] = [each.customer for each in copies]
                steps[places] = self._steps(kind, len(places))
        places = np.flatnonzero(kinds == _MALFORMED)
        if len(places):
            now_us = self._now_s(ticks[0]) * 1_000_000
            picked = self._malformed.pick(len(places), due_s=due_s, now_us=now_us)
            self._rejected.update(each.code for each in picked)
            values[places] = _objects([each.value for each in picked])
            customers[places] = self._draw_customers(len(places))
        originals = self._fresh(
            ticks, np.flatnonzero(kinds == _FRESH), values=values, customers=customers
        )
        self._originals.remember(due_s, originals)
        partitions = (self._partitions[customers] + steps) % self._load.partitions
        return Chunk(
            self._keys[customers].tolist(), values.tolist(), partitions.tolist(), ticks
        )  # fmt: skip

    def _fresh(
        self, ticks: NDArray[np.int32], places: Integers, *, values: NDArray[np.object_],
        customers: Integers,
    ) -> list[Original]:  # fmt: skip
        """Make sound events at `places`; what may be copied later."""
        draw, count = self._random, len(places)
        fresh = Fresh(
            customers=self._draw_customers(count),
            regions=draw.integers(0, self._load.profile.regions, count),
            seconds=self._moments(ticks[places]),
            milli=draw_milli(draw, count),
            serials=self._serial + np.arange(count),
        )
        meters = draw.integers(0, len(LOAD_METERS), count)
        self._serial += count
        self._accepted += count
        customers[places] = fresh.customers
        found: list[Original] = []
        for meter, (_, fraction_digits) in enumerate(LOAD_METERS):
            chosen = np.flatnonzero(meters == meter)
            some = Fresh(*(column[chosen] for column in fresh))
            if not fraction_digits:
                some = some._replace(milli=some.milli - some.milli % 1000)
            made = split_rows(self._rows.write(meter, some))
            values[places[chosen]] = _objects(made)
            self._count(meter, some)
            names = some.customers.tolist()
            found += map(Original, made, names, [meter] * len(made))
        return found

    def _count(self, meter: int, fresh: Fresh) -> None:
        regions = fresh.regions if meter == GROUPED else np.zeros_like(fresh.regions)
        hours = fresh.seconds // _HOUR_S - self._first_hour
        meters = np.full_like(hours, meter)
        keys = np.ravel_multi_index((fresh.customers, meters, regions, hours), self._axes)
        self._sums.add(keys.astype(np.int64), fresh.milli)

    def _moments(self, ticks: NDArray[np.int32]) -> Integers:
        """When each occurred, Unix seconds: within the minute before it is due, or hours before."""
        chance, is_late = self._random.random(len(ticks)), self._random.random(len(ticks))
        late = is_late < self._load.profile.mix.late
        self._late += int(late.sum())
        ago = np.where(late, LATE_S_MIN + chance * (LATE_S_MAX - LATE_S_MIN), chance * 60)
        due = self._load.began_s + ticks.astype(np.int64) // TICKS_PER_S
        return due - ago.astype(np.int64)

    def _copies(self, kind: int, count: int, *, now_s: int) -> list[Original]:
        originals = self._originals.pick(count)
        if kind == _CONFLICT:
            self._rejected[CONFLICT_CODE] += count
            return [
                each._replace(value=self._rows.conflicting(each.meter, each.value))
                for each in originals
            ]
        self._duplicates += count
        if kind != _RESTAMPED:
            return originals
        return [
            each._replace(value=self._rows.restamped(each.meter, each.value, second=now_s))
            for each in originals
        ]

    def _steps(self, kind: int, count: int) -> Integers:
        """How many partitions on from its own each copy goes."""
        if kind != _ELSEWHERE or self._load.partitions == 1:
            return np.zeros(count, dtype=np.int64)
        return self._random.integers(1, self._load.partitions, count)

    def _draw_customers(self, count: int) -> Integers:
        if self._popularity is None:
            return self._random.integers(0, self._load.profile.customers, count)
        chance = self._random.random(count)
        return np.searchsorted(self._popularity, chance, side="right").astype(np.int64)

    def _now_s(self, tick: np.int32) -> int:
        return self._load.began_s + int(tick) // TICKS_PER_S


def _cumulated_shares(mix: Mix) -> NDArray[np.float64]:
    """Borders between the kinds, in the order of their numbers."""
    shares = [mix.repeated, mix.elsewhere, mix.restamped, mix.conflicts, mix.malformed]
    return np.cumsum([1 - sum(shares), *shares])[:-1]


def _popularity(profile: Profile) -> NDArray[np.float64] | None:
    """Cumulated shares of the customers; None where all are alike."""
    if not profile.skew and not profile.giant:
        return None
    ranks = np.arange(1, profile.customers + 1, dtype=np.float64)
    shares = ranks**-profile.skew
    if profile.giant:
        shares[0] = shares[1:].sum() * profile.giant / (1 - profile.giant)
    summed = np.cumsum(shares)
    summed /= summed[-1]
    summed[-1] = 1.0
    return summed


def _objects(values: list[bytes] | list[bytes | None]) -> NDArray[np.object_]:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found

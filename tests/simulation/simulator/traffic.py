"""What producers send: the log of a run, drawn before the run begins.

Every message has its offset and record time from the start; the run reveals them bit by bit. The
oracle reads the `Event`s, the workers read `EventBatch`es made of the same events.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

import numpy as np
import pyarrow as pa

from metering.batch import EVENT_SCHEMA, EventBatch, RawBatch, Source
from metering.catalog import Aggregation, Catalog, Meter
from metering.decimals import decimal256_of_words
from metering.rejection import Rejection, RejectionCode, Suppression

STREAM = "usage:1"
HOUR_MS = 3_600_000
ONE = 10**12
LATENESS = timedelta(hours=2)
#: 2026-03-31 23:20 UTC: runs of an hour cross the border of a month.
START_MS = 1_774_999_200_000
METERS = {
    "m_sum": Meter("m_sum", "u", Aggregation.SUM, ("g",), allow_negative=True),
    "m_count": Meter("m_count", "u", Aggregation.COUNT, ("g",)),
    "m_max": Meter("m_max", "u", Aggregation.MAX, ("g",), allow_negative=True),
    "m_latest": Meter("m_latest", "u", Aggregation.LATEST, ("g",), allow_negative=True),
    "m_unique": Meter("m_unique", "u", Aggregation.UNIQUE_COUNT, ("g",), counted_dimension="d"),
}
CATALOG = Catalog(METERS)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the log; `units` in 10^-12, `value` is the counted dimension."""

    partition: int
    offset: int
    index: int
    record_ms: int
    identity: bytes
    customer: str
    meter: str
    group: str
    units: int
    occurred_us: int
    value: str
    disregarded: bool

    @property
    def coordinate(self) -> tuple[int, int, int]:
        """Partition, offset, index."""
        return (self.partition, self.offset, self.index)

    @property
    def payload(self) -> tuple[int, str]:
        """What a digest is made of."""
        return (self.units, self.value)


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is no event: `rule` is empty for a rejection."""

    partition: int
    offset: int
    record_ms: int
    rule: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How the producers of one run behave; `window_ms` is a generation of the dedup memory."""

    partitions: int
    events: int
    customers: int
    groups: int
    meters: tuple[str, ...]
    again: float
    recent: int  # copies are mostly of the last so many events
    elsewhere: float
    conflicting: float
    restamped: float
    odd: float
    hours: float
    lag_hours: float
    window_ms: int


def draw_plan(rng: Random, theme: str) -> Plan:
    """Some features of each run are off, so that the others meet more often."""
    plan = _any_plan(rng)
    meter = (rng.choice(sorted(METERS)),)
    if theme == "windows":
        return replace(
            plan, events=44, partitions=1, customers=1, groups=0, meters=meter, again=0.1,
            hours=20.0, lag_hours=12.0,
        )  # fmt: skip
    if theme == "ahead":
        is_long = rng.random() < 0.5
        return replace(
            plan, events=120 if is_long else plan.events, partitions=1, customers=1,
            groups=0 if is_long else 1, meters=meter, again=0.1, odd=0.0,
            hours=20.0 if is_long else rng.choice([1.0, 3.0]), lag_hours=12.0 if is_long else 0.2,
        )  # fmt: skip
    if theme == "twins":
        return replace(
            plan, partitions=2, customers=1, groups=0, meters=meter, again=0.6, elsewhere=1.0,
            recent=2, odd=0.0, hours=1.0, lag_hours=0.2,
        )  # fmt: skip
    if theme == "zombies":
        return replace(
            plan, partitions=rng.choice([1, 2]), customers=1, meters=meter, odd=0.0,
            hours=rng.choice([1.0, 3.0]),
        )  # fmt: skip
    return plan


def _any_plan(rng: Random) -> Plan:
    windowed = rng.random() < 0.25
    hours = rng.choice([1.0, 3.0, 20.0]) if not windowed else rng.choice([12.0, 20.0])
    return Plan(
        partitions=rng.choice([1, 2, 2, 2, 3]),
        events=rng.randint(12, 48),
        customers=rng.choice([1, 1, 2]),
        groups=rng.choice([0, 0, 1, 2]),
        meters=tuple(rng.sample(sorted(METERS), rng.choice([1, 1, 2, 5]))),
        again=rng.choice([0.0, 0.2, 0.4, 0.6]),
        recent=rng.choice([2, 6, 20]),
        elsewhere=rng.choice([0.0, 0.5, 1.0, 1.0]),
        conflicting=rng.choice([0.0, 0.0, 0.2]),
        restamped=0.0 if windowed else rng.choice([0.0, 0.0, 0.5]),
        odd=rng.choice([0.0, 0.0, 0.15]),
        hours=hours,
        lag_hours=rng.choice([0.2, 6.0, 12.0]),
        window_ms=rng.choice([1, 4]) * HOUR_MS if windowed else 4000 * HOUR_MS,
    )


class Partition:
    """Messages of one partition in offset order, with gaps between some."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.offsets: list[int] = []
        self.times_ms: list[int] = []
        self.entries: list[list[Event] | Refused] = []
        self.revealed = 0  # messages that can be read
        self._first_event: list[int] = []  # of each message, and one past the last
        self._events: list[Event] = []
        self._columns: pa.RecordBatch | None = None

    def append(self, entry: "list[Event] | Refused", offset: int, record_ms: int) -> None:
        """Add the next message."""
        self.offsets.append(offset)
        self.times_ms.append(record_ms)
        self.entries.append(entry)

    def seal(self) -> None:
        """All messages are there: lay out the columns that batches are cut from."""
        for entry in self.entries:
            self._first_event.append(len(self._events))
            if isinstance(entry, list):
                self._events.extend(entry)
        self._first_event.append(len(self._events))
        self._columns = _columns(self._events)
        self._arrays = _Arrays(self._events)

    @property
    def end(self) -> int:
        """One past the last offset that can be read."""
        return self.offsets[self.revealed - 1] + 1 if self.revealed else 0

    @property
    def events(self) -> Sequence[Event]:
        """All events, in log order."""
        return self._events

    def read(self, source: Source, position: int, count: int) -> EventBatch | None:
        """Up to `count` messages from offset `position` on, decoded; None at the end."""
        first = next(
            (at for at in range(self.revealed) if self.offsets[at] >= position), self.revealed
        )
        last = min(first + count, self.revealed)
        if first == last:
            return None
        at, to = self._first_event[first], self._first_event[last]
        arrays, entries = self._arrays, self.entries[first:last]
        assert self._columns is not None
        offsets, following = self.offsets[first:last], self.offsets[last - 1] + 1
        meters = arrays.meters[at:to]
        raw = RawBatch(
            source, offsets, self.times_ms[first:last], [b"{}"] * len(offsets), position, following
        )
        return EventBatch(
            source=source, first_offset=position, next_offset=following,
            columns=self._columns.slice(at, to - at), series=arrays.series,
            codes=arrays.codes[at:to], quantities=arrays.quantities[at:to],
            counted_values=arrays.values[at:to] if "m_unique" in meters else None,
            identities=arrays.identities[at:to], digests=arrays.digests[at:to],
            offsets=arrays.offsets[at:to], indexes=arrays.indexes[at:to],
            occurred_us=arrays.occurred_us[at:to], record_ms=arrays.record_ms[at:to],
            billable=arrays.billable[at:to],
            rejections=[_rejection(e) for e in entries if isinstance(e, Refused) and not e.rule],
            suppressions=[
                Suppression(e.offset, 0, e.record_ms, e.rule)
                for e in entries if isinstance(e, Refused) and e.rule
            ],
            raw=raw,
        )  # fmt: skip


class _Arrays:
    """The plain columns of all events of a partition."""

    def __init__(self, events: list[Event]) -> None:
        self.meters = [event.meter for event in events]
        self.series = sorted({(event.meter, event.group) for event in events})
        self.codes = np.array(
            [self.series.index((event.meter, event.group)) for event in events], np.int64
        )
        words = b"".join(event.units.to_bytes(16, "little", signed=True) for event in events)
        self.quantities = np.frombuffer(words, np.int64).reshape(-1, 2)
        self.values = [event.value for event in events]
        raw = b"".join(event.identity for event in events)
        self.identities = np.frombuffer(raw, np.uint64).reshape(-1, 2)
        self.digests = np.array([digest_of(event) for event in events], np.uint32)
        self.offsets = np.array([event.offset for event in events], np.int64)
        self.indexes = np.array([event.index for event in events], np.int64)
        self.occurred_us = np.array([event.occurred_us for event in events], np.int64)
        self.record_ms = np.array([event.record_ms for event in events], np.int64)
        self.billable = np.array([not event.disregarded for event in events], np.bool_)


def digest_of(event: Event) -> int:
    """26 bits, of which the low 24 are compared: equal payloads only."""
    number = event.units // ONE * 64 + (int(event.value[1:]) if event.value else 63)
    return number & 0x3FFFFFF


def _columns(events: list[Event]) -> pa.RecordBatch:
    n = len(events)
    texts = [""] * n
    words = b"".join(event.units.to_bytes(32, "little", signed=True) for event in events)
    wide = decimal256_of_words(np.frombuffer(words, np.uint64).reshape(-1, 4))
    columns = [
        [event.identity for event in events], [event.customer for event in events],
        [event.meter for event in events], [event.group for event in events],
        [event.identity.hex() for event in events], texts, wide.cast(pa.decimal128(38, 12)),
        [event.occurred_us for event in events],
        [f'{{"d":"{event.value}"}}' if event.value else "{}" for event in events],
        texts, texts, texts, [event.offset for event in events],
        [event.index for event in events], [event.record_ms for event in events],
        [digest_of(event) for event in events], [event.disregarded for event in events],
    ]  # fmt: skip
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, field.type)
        for values, field in zip(columns, EVENT_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=EVENT_SCHEMA)


def _rejection(entry: Refused) -> Rejection:
    code = RejectionCode.METER_MUST_BE_KNOWN
    return Rejection(entry.offset, 0, entry.record_ms, code, "drawn", b"{}")

"""A batch's messages as single events, in coordinate order."""

from dataclasses import dataclass, field
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from metering.batch import RawBatch
from metering.decode_event import EventReader, Fault
from metering.decode_message import (
    DECODE_ERRORS,
    EVENT_BYTES_MAX,
    FLAT_BYTES_MAX,
    is_utf8,
    may_be_nested_too_deeply,
    unpacked,
)
from metering.decode_shape import in_own_shape
from metering.event import OwnShapeEvent, UsageEvent
from metering.rejection import Rejection, RejectionCode
from metering.rejection_sentence import sentence, shortened

_OWN_SHAPE = msgspec.json.Decoder(OwnShapeEvent)


@dataclass(slots=True)
class Entries:
    """Events of one batch that were read, one entry each, and what was refused on the way.

    `rows` are positions in the batch's messages, `indexes` positions in a message's array.
    """

    batch: RawBatch
    events: list[UsageEvent]
    raws: list[bytes]
    rows: NDArray[np.int64]
    indexes: NDArray[np.int64]
    rejections: list[Rejection]

    def record_ms(self) -> NDArray[np.int64]:
        """Arrival time of each entry's record, Unix milliseconds."""
        return self.batch.record_ms_column()[self.rows]

    def reject(self, position: int, fault: Fault) -> None:
        """Reject the entry at `position`."""
        row, index = int(self.rows[position]), int(self.indexes[position])
        rejection = _rejection(self.batch, (row, index), raw=self.raws[position], fault=fault)
        self.rejections.append(rejection)


@dataclass(slots=True)
class _Reading:
    """Entries while they are gathered."""

    batch: RawBatch
    reader: EventReader
    by_the_book: bool
    events: list[UsageEvent] = field(default_factory=list)
    raws: list[bytes] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)


def read_entries(batch: RawBatch, reader: EventReader, *, by_the_book: bool = False) -> Entries:
    """Events of `batch` as far as they have the types of an event.

    Messages that are one event in own shape take one typed decode. The rest is unpacked, and what
    is not own shape goes to `reader` (with `by_the_book`: everything).
    """
    count = len(batch.values)
    parsed, odd = ([], list(range(count))) if by_the_book else _parsed(batch.values)
    if not odd:
        entries = all_single(batch)
        entries.events = parsed
        return entries
    reading = _Reading(batch, reader, by_the_book)
    start = 0
    for seen, row in enumerate([*odd, count]):
        reading.events += parsed[start - seen : row - seen]
        reading.raws += cast("list[bytes]", batch.values[start:row])
        reading.rows += range(start, row)
        reading.indexes += [0] * (row - start)
        if row < count:
            _read_message(reading, row)
        start = row + 1
    rows, indexes = np.array(reading.rows, np.int64), np.array(reading.indexes, np.int64)
    return Entries(batch, reading.events, reading.raws, rows, indexes, reading.rejections)


def all_single(batch: RawBatch) -> Entries:
    """Every message as one entry; the events are not given."""
    count = len(batch.values)
    raws = cast("list[bytes]", batch.values)
    return Entries(batch, [], raws, np.arange(count), np.zeros(count, np.int64), [])


def messages_of(batch: RawBatch, rows: NDArray[np.int64]) -> RawBatch:
    """The batch with the messages at `rows` only."""
    places = rows.tolist()
    return RawBatch(
        batch.source,
        [batch.offsets[row] for row in places],
        [batch.record_times_ms[row] for row in places],
        [batch.values[row] for row in places],
        batch.first_offset,
        batch.next_offset,
    )


def merged(
    batch: RawBatch, entries: Entries, *, single: NDArray[np.int64], others: NDArray[np.int64]
) -> tuple[Entries, NDArray[np.int64], NDArray[np.int64]]:
    """Entries of the whole `batch`, and where in it those of both parts are.

    The messages at `single` are one entry each; `entries` are those of the messages at `others`.
    """
    rows = np.concatenate([single, others[entries.rows]])
    indexes = np.concatenate([np.zeros(len(single), np.int64), entries.indexes])
    raws = [*(batch.values[row] or b"" for row in single.tolist()), *entries.raws]
    order = np.lexsort((indexes, rows))
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    whole = Entries(
        batch, [], [raws[at] for at in order.tolist()], rows[order], indexes[order],
        entries.rejections,
    )  # fmt: skip
    return whole, places[: len(single)], places[len(single) :]


def _parsed(values: list[bytes | None]) -> tuple[list[UsageEvent], list[int]]:
    """Values that are one event in own shape, and the positions of all others."""
    values = _decodable(values)
    events: list[UsageEvent] = []
    odd: list[int] = []
    remaining = map(_OWN_SHAPE.decode, cast("list[bytes]", values))
    while True:
        try:  # extend keeps what came before an error, and the iterator goes on after it
            events.extend(remaining)
        except (*DECODE_ERRORS, TypeError):
            odd.append(len(events) + len(odd))
        else:
            return events, odd


def _decodable(values: list[bytes | None]) -> list[bytes | None]:
    """`values` with None for what the typed decoder must not see: too long or deep, not UTF-8."""
    if None not in values:
        given = cast("list[bytes]", values)
        if all(map(bytes.isascii, given)) and max(map(len, given), default=0) <= FLAT_BYTES_MAX:
            return values
    return [None if value is None or not _is_decodable(value) else value for value in values]


def _is_decodable(value: bytes) -> bool:
    return len(value) <= EVENT_BYTES_MAX and is_utf8(value) and not may_be_nested_too_deeply(value)


def _read_message(reading: _Reading, row: int) -> None:
    batch = reading.batch
    value = batch.values[row]
    raws = unpacked(value)
    if isinstance(raws, RejectionCode):
        fault = Fault(raws, sentence(raws, _shown(raws, value)))
        reading.rejections.append(_rejection(batch, (row, 0), raw=value or b"", fault=fault))
        return
    single = raws[0] == value
    for index, raw in enumerate(raws):
        read: UsageEvent | Fault | None = None
        if not reading.by_the_book and len(raw) <= EVENT_BYTES_MAX:
            # a single event was tried before, and is not in own shape
            read = (None if single else _own_shape(raw)) or in_own_shape(raw)
        read = read or reading.reader.read(raw, batch.record_times_ms[row])
        if isinstance(read, Fault):
            reading.rejections.append(_rejection(batch, (row, index), raw=raw, fault=read))
        else:
            reading.events.append(read)
            reading.raws.append(raw)
            reading.rows.append(row)
            reading.indexes.append(index)


def _own_shape(raw: bytes) -> UsageEvent | None:
    try:
        return _OWN_SHAPE.decode(raw)
    except DECODE_ERRORS:
        return None


def _rejection(batch: RawBatch, place: tuple[int, int], *, raw: bytes, fault: Fault) -> Rejection:
    row, index = place
    return Rejection(
        batch.offsets[row],
        index,
        batch.record_times_ms[row],
        fault.code,
        fault.sentence,
        raw,
        fault.event_id,
        fault.customer_id,
        fault.meter,
    )


def _shown(code: RejectionCode, value: bytes | None) -> str:
    if not value:
        return "nothing"
    if code is RejectionCode.MESSAGE_MUST_NOT_EXCEED_SIZE_LIMIT:
        return f"{len(value)} bytes"
    if code is RejectionCode.ARRAY_MUST_NOT_EXCEED_LENGTH_LIMIT:
        return f"{len(value)} bytes of more"
    return shortened(value)

"""Many events at once: texts to columns, and which of them are beyond doubt.

Everything here is vectorised and narrow. A row that does not pass is not wrong, only not plain: the
event reader decides it. What passes here, the event reader accepts with the same values.
"""

from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from metering.batch import QUANTITY_SCALE
from metering.dimensions import (
    NEGATIVE_ALLOWED,
    QUANTITY_OPTIONAL,
    SOUND,
    TEXT_MAX,
    Facts,
    FactsMemory,
)
from metering.event import UsageEvent
from metering.identity import identities
from metering.period import FIRST_SECOND

DECIMAL: Final = pa.decimal128(38, QUANTITY_SCALE)
_MOMENT: Final = pa.timestamp("us", tz="UTC")

#: Never cast other texts to decimals: Arrow 26 crashes on `1E-999999999`.
_PLAIN_NUMBER: Final = (
    r'^(?:-?[0-9]{1,20}(?:\.[0-9]{1,12})?|"[+-]?[0-9]{1,20}(?:\.[0-9]{1,12})?")\n$'
)
#: Arrow takes offsets without minutes and times without seconds as well; RFC 3339 does not.
_PLAIN_TIME: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
)
_NO_NUMBER: Final = msgspec.Raw(b"{}")
_BELOW_MICROSECONDS: Final = r"(\.[0-9]{6})[0-9]+"


class Known(NamedTuple):
    """A meter as named, and what follows from it and some dimensions."""

    meter: str
    facts: Facts


@dataclass(slots=True)
class Columns:
    """Fields of events, one row an event, all of equal length.

    `position` is the event's place in the batch as parsed. `known[codes[i]]` are event i's meter
    and what follows from it and the dimensions. `words` are the low and the high word of the
    quantity in 10^-12 units. Texts in Arrow columns are "" where the event has none.
    """

    position: NDArray[np.int64]
    identity: NDArray[np.uint64]  # shape (n, 2)
    known: list[Known]
    codes: NDArray[np.int64]
    words: NDArray[np.int64]  # shape (n, 2)
    occurred_us: NDArray[np.int64]
    record_ms: NDArray[np.int64]
    customer_texts: pa.StringArray
    subject_texts: pa.StringArray
    id_texts: pa.StringArray
    source_texts: pa.StringArray
    batch_id_texts: pa.StringArray
    schema_version_texts: pa.StringArray

    def __len__(self) -> int:
        """Count the events."""
        return len(self.position)

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Rows `rows`, in that order."""
        at = pa.array(rows)
        return type(self)(*(_taken(getattr(self, each.name), rows, at=at) for each in fields(self)))

    def joined(self, other: Self) -> Self:
        """Rows of both, in the order of their positions."""
        both = type(self)(
            *(_joined(getattr(self, e.name), getattr(other, e.name)) for e in fields(self))
        )
        both.codes[len(self) :] += len(self.known)
        return both.take(np.argsort(both.position))


def build_columns(
    events: list[UsageEvent],
    record_ms: NDArray[np.int64],
    *,
    facts: FactsMemory,
    tolerance_us: int,
    seed: int,
) -> tuple[Columns, NDArray[np.bool_]]:
    """Columns of `events`, and which rows are beyond doubt; the others mean nothing.

    `record_ms` are the arrival times of their records, Unix milliseconds; `tolerance_us` is how far
    ahead of it an event may be, `seed` is for identities.
    """
    meters = [event.meter for event in events]
    dimensions = _each([event.dimensions for event in events])
    numbers: dict[tuple[str, bytes], int] = {}
    codes = np.array(
        [numbers.setdefault(key, len(numbers)) for key in zip(meters, dimensions, strict=True)],
        np.int64,
    )
    known = [Known(key[0], facts[key]) for key in numbers]
    properties = np.array([each.facts.flags for each in known], np.uint8)[codes]
    sound = (properties & SOUND) != 0
    customers = [event.customer_id for event in events]
    subjects = [event.subject for event in events]
    if None in customers:
        pairs = zip(customers, subjects, strict=True)
        sound &= np.array([not (c is None and s is None) for c, s in pairs], np.bool_)
    optional = (properties & QUANTITY_OPTIONAL) != 0
    words, is_number = _quantities([event.quantity for event in events], optional)
    sound &= is_number & (((properties & NEGATIVE_ALLOWED) != 0) | (words[:, 1] >= 0))
    occurred_us, is_time = _moments([event.occurred_at for event in events])
    sound &= is_time & (occurred_us >= FIRST_SECOND * 1_000_000)
    sound &= occurred_us <= record_ms * 1000 + tolerance_us
    columns = Columns(
        position=np.arange(len(events)),
        identity=identities(
            customers,
            subjects,
            meters=meters,
            seed=seed,
            event_ids=[event.identity_id or event.id for event in events],
        ),
        known=known,
        codes=codes,
        words=words,
        occurred_us=occurred_us,
        record_ms=record_ms,
        customer_texts=_texts(customers, sound, least=1),
        subject_texts=_texts(subjects, sound, least=1),
        id_texts=_texts([event.id for event in events], sound, least=1),
        source_texts=_texts([event.source for event in events], sound, least=0),
        batch_id_texts=_texts([event.batch_id for event in events], sound, least=0),
        schema_version_texts=_texts([event.schema_version for event in events], sound, least=0),
    )
    return columns, sound


def _texts(values: list[Any], sound: NDArray[np.bool_], *, least: int) -> pa.StringArray:
    """Column of `values` with "" for None; clears `sound` where a text is not one we take."""
    column = pa.array(values, pa.string())
    if column.null_count:
        given = column.is_valid().to_numpy(zero_copy_only=False)
        column = column.fill_null("")
        _check_texts(column, sound, least=np.where(given, least, 0))
    else:
        _check_texts(column, sound, least=least)
    return column


def _check_texts(
    column: pa.StringArray, sound: NDArray[np.bool_], *, least: int | NDArray[np.int64]
) -> None:
    if not len(column):
        return
    ends = np.frombuffer(column.buffers()[1], np.int32)[: len(column) + 1]
    data = column.buffers()[2]
    letters = np.frombuffer(data or b"", np.uint8)[: ends[-1]]
    sizes = np.diff(ends)
    sound &= sizes >= least
    if len(letters) and letters.min() < ord(" "):
        found = pc.match_substring_regex(column, "[\\x00-\\x1f]")
        sound &= ~found.to_numpy(zero_copy_only=False)
    if sizes.max() > TEXT_MAX:
        sound &= pc.utf8_length(column).to_numpy() <= TEXT_MAX


def _each(raws: list[msgspec.Raw]) -> list[bytes]:
    """`bytes` of every raw: one join and one split are faster than a copy each."""
    parts = b"\n".join(raws).split(b"\n")
    return parts if len(parts) == len(raws) else list(map(bytes, raws))


def _quantities(
    raws: list[msgspec.Raw], optional: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Words of the quantities (n x 2), and which of them are plain decimal numbers."""
    joined = b"\n".join([*raws, b""])
    ends = np.flatnonzero(np.frombuffer(joined, np.uint8) == ord("\n")) + 1
    if len(ends) != len(raws):  # no number has a line break in it
        single = [raw if b"\n" not in bytes(raw) else _NO_NUMBER for raw in raws]
        return _quantities(single, optional)
    offsets = pa.py_buffer(np.concatenate([[0], ends]).astype(np.int32))
    lines = pa.StringArray.from_buffers(len(raws), offsets, pa.py_buffer(joined))
    plain = pc.match_substring_regex(lines, _PLAIN_NUMBER)
    sound = plain.to_numpy(zero_copy_only=False)
    if not sound.all():
        absent = optional & (np.diff(ends, prepend=0) == 1)
        lines = pc.if_else(plain, lines, pc.if_else(pa.array(absent), "1", "0"))
        sound = sound | absent
    decimals = pc.ascii_trim(lines, '"\n').cast(DECIMAL)
    words = np.frombuffer(decimals.buffers()[1] or b"", np.int64)
    return words[: 2 * len(raws)].reshape(-1, 2), sound


def _moments(values: list[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Unix microseconds of the times, and which of them are plain RFC 3339."""
    texts = pa.array(values, pa.string())
    plain = pc.match_substring_regex(texts, _PLAIN_TIME)
    if plain.false_count:
        texts = pc.replace_substring_regex(texts, _BELOW_MICROSECONDS, r"\1")
        plain = pc.match_substring_regex(texts, _PLAIN_TIME)
        texts = pc.if_else(plain, texts, None)
    moments = _cast_where_possible(texts).cast(pa.int64())
    sound = moments.is_valid().to_numpy(zero_copy_only=False)
    return moments.fill_null(0).to_numpy(), sound


def _cast_where_possible(texts: pa.StringArray) -> pa.TimestampArray:
    """Cast to times, null where there is no such time (February 30); halves until it knows."""
    try:
        return texts.cast(_MOMENT)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return pa.nulls(1, _MOMENT)
    half = len(texts) // 2
    return pa.concat_arrays(
        [_cast_where_possible(texts[:half]), _cast_where_possible(texts[half:])]
    )


def _taken(column: Any, rows: NDArray[np.int64], *, at: pa.Array) -> Any:
    if isinstance(column, list):  # what codes refer to
        return column
    return column.take(at) if isinstance(column, pa.Array) else column[rows]


def _joined(one: Any, other: Any) -> Any:
    if isinstance(one, list):
        return one + other
    if isinstance(one, pa.Array):
        return pa.concat_arrays([one, other])
    return np.concatenate([one, other])

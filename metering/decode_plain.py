"""Messages that are one plain event each, read in one pass (see `plain_scan`)."""

from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.batch import QUANTITY_SCALE, RawBatch
from metering.decode_columns import Columns, Known
from metering.dimensions import NEGATIVE_ALLOWED, QUANTITY_OPTIONAL, SOUND, FactsMemory
from metering.identity import digests_of_texts
from metering.plain_scan import (
    BATCH,
    CUSTOMER,
    DIMENSIONS,
    FIELDS,
    ID,
    METER,
    QUANTITY,
    SCHEMA,
    SOURCE,
    SUBJECT,
    scan,
)
from metering.plain_texts import distinct, gathered, identity_texts
from metering.plain_words import Bytes, Integers

_ONE = 10**QUANTITY_SCALE
_PRINTABLE = ord(" ")
_ASCII_MAX = 127


def plain_columns(
    raw: RawBatch, *, facts: FactsMemory, tolerance_us: int, seed: int
) -> tuple[Columns, NDArray[np.int64]]:
    """Columns of the messages that are plain and sound beyond doubt, and which messages these are.

    What is not among them may be anything. `Columns.position` are the messages' places.
    """
    joined, ends = _joined(raw)
    data = np.frombuffer(joined, np.uint8)
    record_ms = raw.record_ms_column()
    spans, words, moments, plain = _scanned(joined, data, ends=ends)
    codes, firsts = distinct(data, spans, plain)
    keys = [_named(joined, spans[row]) for row in firsts.tolist()]
    known = [Known(key[0], facts[key]) for key in keys]
    words, sound = _sound(known, codes, words=words, is_given=spans[:, QUANTITY, 0] >= 0)
    sound &= moments <= record_ms * 1000 + tolerance_us
    rows = np.flatnonzero(sound)
    identity_ends, identity_bytes = identity_texts(data, spans, rows)
    columns = Columns(
        position=rows,
        identity=digests_of_texts(identity_bytes.tobytes(), identity_ends, seed=seed),
        known=known,
        codes=codes[rows],
        words=words[rows],
        occurred_us=moments[rows],
        record_ms=record_ms[rows],
        customer_texts=_column(data, spans, rows=rows, field=CUSTOMER),
        subject_texts=_column(data, spans, rows=rows, field=SUBJECT),
        id_texts=_column(data, spans, rows=rows, field=ID),
        source_texts=_column(data, spans, rows=rows, field=SOURCE),
        batch_id_texts=_column(data, spans, rows=rows, field=BATCH),
        schema_version_texts=_column(data, spans, rows=rows, field=SCHEMA),
    )
    return columns, rows


def _joined(raw: RawBatch) -> tuple[bytes, Integers]:
    """All messages, with a quote behind the last, and where each ends."""
    values = cast("list[bytes]", raw.values)
    try:
        sizes = np.fromiter(map(len, values), np.int64, len(values))
    except TypeError:  # a message without a value
        values = [value or b"" for value in raw.values]
        sizes = np.fromiter(map(len, values), np.int64, len(values))
    return b"".join([*values, b'"']), np.cumsum(sizes)


def _scanned(
    joined: bytes, data: Bytes, *, ends: Integers
) -> tuple[Integers, Integers, Integers, NDArray[np.bool_]]:
    count = len(ends)
    plain = np.ones(count, np.bool_)
    if not joined.isascii() or b"\\" in joined or data.min() < _PRINTABLE:
        odd = (data < _PRINTABLE) | (data > _ASCII_MAX) | (data == ord("\\"))
        plain[np.searchsorted(ends, np.flatnonzero(odd), side="right")] = False
    spans = np.empty((count, FIELDS, 2), np.int64)
    words, moments = np.empty((count, 2), np.int64), np.empty(count, np.int64)
    scan(data, ends, spans, words, moments, plain)
    return spans, words, moments, plain


def _named(joined: bytes, span: Integers) -> tuple[str, bytes]:
    meter, dimensions = span[METER].tolist(), span[DIMENSIONS].tolist()
    return joined[slice(*meter)].decode(), joined[slice(*dimensions)] or b"{}"


def _sound(
    known: list[Known], codes: Integers, *, words: Integers, is_given: NDArray[np.bool_]
) -> tuple[Integers, NDArray[np.bool_]]:
    """The quantities with what stands for an absent one, and which rows fit their meters."""
    # The last one is for code -1.
    flags = np.array([*(each.facts.flags for each in known), 0], np.uint8)[codes]
    sound = (flags & SOUND) != 0
    if not is_given.all():
        sound &= is_given | ((flags & QUANTITY_OPTIONAL) != 0)
        words[~is_given] = (_ONE, 0)
    sound &= ((flags & NEGATIVE_ALLOWED) != 0) | (words[:, 1] >= 0)
    return words, sound


def _column(data: Bytes, spans: Integers, *, rows: Integers, field: int) -> pa.StringArray:
    """Arrow column of one field's texts, "" where there is none."""
    offsets, texts = gathered(data, spans, rows, field)
    return pa.StringArray.from_buffers(len(rows), pa.py_buffer(offsets), pa.py_buffer(texts))

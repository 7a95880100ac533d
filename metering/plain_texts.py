"""Texts of plain events, moved together without a Python object for each (see `plain_scan`)."""

import numpy as np
from numpy.typing import NDArray

from metering.compiled import compiled, inlined
from metering.plain_scan import CUSTOMER, DIMENSIONS, ID, METER, SUBJECT
from metering.plain_words import WORD_BYTES, Bytes, Integers, is_repeated, word_at

_COLON, _0, _C, _S = 58, 48, 99, 115
_DIGITS_MAX = 3
_HALF = np.uint64(32)
_OFFSET_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)

Offsets = NDArray[np.int32]


@compiled
def gathered(data: Bytes, spans: Integers, rows: Integers, field: int) -> tuple[Offsets, Bytes]:
    """The texts of one field in `rows`, one after the other, and where they begin and end."""
    offsets = np.empty(len(rows) + 1, np.int32)
    offsets[0] = size = 0
    for at in range(len(rows)):
        row = rows[at]
        size += spans[row, field, 1] - spans[row, field, 0]
        offsets[at + 1] = size
    texts = np.empty(size, np.uint8)
    for at in range(len(rows)):
        start, to = spans[rows[at], field, 0], offsets[at]
        for place in range(offsets[at + 1] - to):
            texts[to + place] = data[start + place]
    return offsets, texts


@compiled
def identity_texts(data: Bytes, spans: Integers, rows: Integers) -> tuple[Integers, Bytes]:
    """What identities are the hash of (see `identity`), one after the other."""
    size = 0
    for at in range(len(rows)):
        span = spans[rows[at]]
        who = CUSTOMER if span[CUSTOMER, 0] >= 0 else SUBJECT
        for field in (who, METER, ID):
            size += span[field, 1] - span[field, 0]
    extra = 3 + 2 * _DIGITS_MAX
    texts = np.empty(size + extra * len(rows), np.uint8)
    ends = np.empty(len(rows), np.int64)
    to = 0
    for at in range(len(rows)):
        row = rows[at]
        is_customer = spans[row, CUSTOMER, 0] >= 0
        texts[to] = _C if is_customer else _S
        to = _counted(data, spans, row, CUSTOMER if is_customer else SUBJECT, texts, to + 1)
        to = _counted(data, spans, row, METER, texts, to)
        start = spans[row, ID, 0]
        for place in range(spans[row, ID, 1] - start):
            texts[to + place] = data[start + place]
        to += spans[row, ID, 1] - start
        ends[at] = to
    return ends, texts[:to]


@inlined
def _counted(data: Bytes, spans: Integers, row: int, field: int, texts: Bytes, to: int) -> int:
    """Write the length of a text, a colon and the text; the place behind it."""
    start = spans[row, field, 0]
    size = spans[row, field, 1] - start
    for unit in (100, 10, 1):
        if size >= unit:
            texts[to] = _0 + size // unit % 10
            to += 1
    texts[to] = _COLON
    to += 1
    for place in range(size):
        texts[to + place] = data[start + place]
    return to + size


@compiled
def distinct(data: Bytes, spans: Integers, plain: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Number of each row's (meter, dimensions), and the first row of each; -1 for no plain row."""
    codes = np.full(len(plain), -1, np.int64)
    firsts = np.empty(len(plain), np.int64)
    count = 0
    size = 64
    while size < 2 * len(plain):
        size *= 2
    table = np.full(size, -1, np.int64)
    for row in range(len(plain)):
        if not plain[row]:
            continue
        word = _OFFSET_BASIS
        for field in (METER, DIMENSIONS):
            place, end = spans[row, field, 0], spans[row, field, 1]
            while end - place >= WORD_BYTES:
                word = (word ^ word_at(data, place)) * _PRIME
                word ^= word >> _HALF
                place += WORD_BYTES
            while place < end:
                word = (word ^ np.uint64(data[place])) * _PRIME
                place += 1
        slot = np.int64((word ^ (word >> _HALF)) & np.uint64(size - 1))
        while table[slot] >= 0 and not _is_same(data, spans, row, firsts[table[slot]]):
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot] = count
            firsts[count] = row
            count += 1
        codes[row] = table[slot]
    return codes, firsts[:count]


@inlined
def _is_same(data: Bytes, spans: Integers, row: int, other: int) -> bool:
    is_same = True
    for field in (METER, DIMENSIONS):
        start, first = spans[row, field, 0], spans[other, field, 0]
        size = spans[row, field, 1] - start
        is_same = is_same and size == spans[other, field, 1] - first
        is_same = is_same and is_repeated(data, start, first, size)
    return is_same

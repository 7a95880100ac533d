"""One pass over the bytes of many messages: where the fields of plain events are.

Plain is narrow on purpose: one object in Meterline's own shape, each member once, ASCII without
escapes, numbers without exponents, RFC 3339 times up to microseconds. What is not plain is not
wrong; the event reader decides it.
"""

import numpy as np
from numpy.typing import NDArray

from metering.compiled import compiled, inlined
from metering.period import FIRST_SECOND
from metering.plain_words import Bytes, Integers, is_repeated

#: Columns of `spans`, in the order of the names in `_KEYS`.
ID, METER, CUSTOMER, SUBJECT, OCCURRED, QUANTITY, DIMENSIONS, SOURCE, BATCH, SCHEMA = range(10)
FIELDS = 10

_NAMES = (
    b"id", b"meter", b"customer_id", b"subject", b"occurred_at", b"quantity", b"dimensions",
    b"source", b"batch_id", b"schema_version",
)  # fmt: skip
_KEYS = np.frombuffer(b"".join(_NAMES), np.uint8)
_KEY_ENDS = np.cumsum(np.array([len(name) for name in _NAMES], np.int64))
_KEY_STARTS = _KEY_ENDS - np.array([len(name) for name in _NAMES], np.int64)

TEXT_MAX = 256
_EVENT_BYTES_MAX = 1 << 16
_WHOLE_DIGITS_MAX = 18
_FRACTION_DIGITS_MAX = 12
_MICROSECOND_DIGITS = 6
_NO = -1

_SPACE, _QUOTE, _COLON, _COMMA, _DOT, _PLUS, _MINUS = 32, 34, 58, 44, 46, 43, 45
_OPEN, _CLOSE = 123, 125
_0, _9, _T, _Z = 48, 57, 84, 90
_DAY_S, _HOUR_S, _MINUTE_S, _MILLION = 86_400, 3_600, 60, 1_000_000


@compiled
def scan(
    data: Bytes, ends: Integers, spans: Integers, numbers: Integers, moments: Integers,
    plain: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Scan messages that stand one after the other in `data`, each up to its `ends`.

    `plain` says on entry which of them hold nothing but printable ASCII without a backslash; a
    quote has to stand behind the last of them. Fills, for every message: `spans` (n x FIELDS x 2),
    start and end of each field's text, -1 where it is absent; `numbers` (n x 2), the low and the
    high word of the quantity in 10^-12; `moments`, when it occurred in Unix microseconds; `plain`,
    whether all of these mean anything.
    """
    start = 0
    # The members of the message before, which most likely repeat: field, whether it is a text, and
    # the bytes between the value before and this one.
    layout = np.zeros((FIELDS + 1, 4), np.int64)
    members = 0
    for row in range(len(ends)):
        end = ends[row]
        for field in range(FIELDS):
            spans[row, field, 0] = spans[row, field, 1] = _NO
        numbers[row, 0] = numbers[row, 1] = moments[row] = 0
        if not plain[row] or end - start > _EVENT_BYTES_MAX:
            plain[row] = False
        elif not (
            members and _is_alike(data, start, end, layout, members, spans, numbers, moments, row)
        ):
            for field in range(FIELDS):
                spans[row, field, 0] = spans[row, field, 1] = _NO
            members = _members(data, start, end, layout, spans, numbers, moments, row)
            plain[row] = members > 0
        start = end


@inlined
def _is_alike(
    data: Bytes, at: int, end: int, layout: Integers, members: int, spans: Integers,
    numbers: Integers, moments: Integers, row: int,
) -> bool:  # fmt: skip
    """Whether a message is plain and laid out as the one before."""
    for member in range(members + 1):
        first = layout[member, 2]
        size = layout[member, 3] - first
        if at + size > end:
            return False
        if not is_repeated(data, at, first, size):
            return False
        at += size
        if member < members:
            field = layout[member, 0]
            start = at
            at = _value(data, at, end, field, layout[member, 1], numbers, moments, row)
            if at < 0:
                return False
            spans[row, field, 0], spans[row, field, 1] = start, at
    return at == end


@compiled
def _members(
    data: Bytes, at: int, end: int, layout: Integers, spans: Integers, numbers: Integers,
    moments: Integers, row: int,
) -> int:  # fmt: skip
    """How many members a message has, and their layout; 0 where it is not plain."""
    count, before = 0, at
    at = _blank(data, at, end)
    is_open = at < end and data[at] == _OPEN
    while is_open and count < FIELDS:
        at = _blank(data, at + 1, end)
        if at >= end or data[at] != _QUOTE:
            return 0
        name = at + 1
        at = _closing(data, name)
        field = _field(data, name, at)
        if field < 0 or spans[row, field, 0] >= 0:
            return 0
        at = _blank(data, at + 1, end)
        if at >= end or data[at] != _COLON:
            return 0
        at = _blank(data, at + 1, end)
        if at >= end:
            return 0
        is_text = data[at] == _QUOTE
        if not (is_text or field == QUANTITY) and field != DIMENSIONS:
            return 0
        at += is_text
        layout[count, 0], layout[count, 1], layout[count, 2], layout[count, 3] = (
            field, is_text, before, at,
        )  # fmt: skip
        spans[row, field, 0] = at
        at = _value(data, at, end, field, layout[count, 1], numbers, moments, row)
        if at < 0:
            return 0
        spans[row, field, 1] = before = at
        count += 1
        if is_text:
            if at >= end or data[at] != _QUOTE:
                return 0
            at += 1
        at = _blank(data, at, end)
        is_open = at < end and data[at] == _COMMA
    has_all = (
        spans[row, ID, 0] >= 0
        and spans[row, METER, 0] >= 0
        and spans[row, OCCURRED, 0] >= 0
        and (spans[row, CUSTOMER, 0] >= 0 or spans[row, SUBJECT, 0] >= 0)
    )
    if not has_all or at >= end or data[at] != _CLOSE or _blank(data, at + 1, end) != end:
        return 0
    layout[count, 2], layout[count, 3] = before, end
    return count


@inlined
def _value(
    data: Bytes, at: int, end: int, field: int, is_text: int, numbers: Integers,
    moments: Integers, row: int,
) -> int:  # fmt: skip
    """End of the value that begins at `at` (a text's closing quote); -1 if it is not plain."""
    if field == QUANTITY:
        return _quantity(data, at, end, is_text, numbers, row)
    if field == DIMENSIONS:
        return _object(data, at, end) if not is_text else _NO
    closing = _closing(data, at)
    size = closing - at
    if closing >= end or size > TEXT_MAX or (size == 0 and field < SOURCE):
        return _NO
    if field == OCCURRED:
        moments[row] = _moment(data, at, closing)
        if moments[row] < 0:
            return _NO
    return closing


@inlined
def _blank(data: Bytes, at: int, end: int) -> int:
    while at < end and data[at] == _SPACE:
        at += 1
    return at


@inlined
def _closing(data: Bytes, at: int) -> int:
    """Place of the next quote; there is always one."""
    while data[at] != _QUOTE:
        at += 1
    return at


@inlined
def _is_named(data: Bytes, at: int, end: int, field: int) -> bool:
    start = _KEY_STARTS[field]
    if end - at != _KEY_ENDS[field] - start:
        return False
    for place in range(end - at):
        if data[at + place] != _KEYS[start + place]:
            return False
    return True


@compiled
def _field(data: Bytes, at: int, end: int) -> int:
    for field in range(FIELDS):
        if _is_named(data, at, end, field):
            return field
    return _NO


@compiled
def _object(data: Bytes, at: int, end: int) -> int:
    """End of the object that begins at `at`; what is in it is checked where it is read."""
    if data[at] != _OPEN:
        return _NO
    depth = 0
    while at < end:
        letter = data[at]
        if letter == _QUOTE:
            at = _closing(data, at + 1)
        elif letter == _OPEN:
            depth += 1
        elif letter == _CLOSE:
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return _NO


@compiled
def _quantity(data: Bytes, at: int, end: int, is_text: int, numbers: Integers, row: int) -> int:
    sign = data[at] if at < end else 0
    if sign == _MINUS or (is_text and sign == _PLUS):
        at += 1
    first, whole = at, 0
    while at < end and _0 <= data[at] <= _9:
        if at - first >= _WHOLE_DIGITS_MAX:
            return _NO
        whole = whole * 10 + (data[at] - _0)
        at += 1
    digits = at - first
    if digits == 0 or (not is_text and digits > 1 and data[first] == _0):
        return _NO
    fraction, scale = 0, _FRACTION_DIGITS_MAX
    if at < end and data[at] == _DOT:
        at += 1
        while at < end and _0 <= data[at] <= _9:
            if scale == 0:
                return _NO
            fraction = fraction * 10 + (data[at] - _0)
            scale -= 1
            at += 1
        if scale == _FRACTION_DIGITS_MAX:
            return _NO
    for _ in range(scale):
        fraction *= 10
    _put(numbers, row, np.uint64(whole), np.uint64(fraction), sign == _MINUS)
    return at


@compiled
def _put(
    numbers: Integers, row: int, whole: np.uint64, fraction: np.uint64, is_negative: bool,
) -> None:  # fmt: skip
    """`whole` * 10^12 + `fraction` as two words, two's complement."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    one_low, one_high = (
        np.uint64(1_000_000_000_000 & 0xFFFFFFFF),
        np.uint64(1_000_000_000_000 >> 32),
    )
    low, high = whole & mask, whole >> half
    bottom = low * one_low
    middle = low * one_high + (bottom >> half)
    cross = high * one_low + (middle & mask)
    top = high * one_high + (middle >> half) + (cross >> half)
    word = (cross << half) | (bottom & mask)
    total = word + fraction
    if total < word:
        top += np.uint64(1)
    if is_negative:
        total = ~total + np.uint64(1)
        top = ~top
        if total == np.uint64(0):
            top += np.uint64(1)
    numbers[row, 0], numbers[row, 1] = np.int64(total), np.int64(top)


@inlined
def _two(data: Bytes, at: int) -> int:
    """Two digits as a number, or -1."""
    tens, ones = data[at] - _0, data[at + 1] - _0
    if 0 <= tens <= 9 and 0 <= ones <= 9:
        return tens * 10 + ones
    return _NO


@compiled
def _moment(data: Bytes, at: int, end: int) -> int:
    """Unix microseconds of a time from 1971 on, or -1."""
    if end - at < 20:
        return _NO
    century, year = _two(data, at), _two(data, at + 2)
    month, day = _two(data, at + 5), _two(data, at + 8)
    hour, minute, second = _two(data, at + 11), _two(data, at + 14), _two(data, at + 17)
    is_shaped = (
        data[at + 4] == _MINUS and data[at + 7] == _MINUS and data[at + 10] == _T
        and data[at + 13] == _COLON and data[at + 16] == _COLON
    )  # fmt: skip
    if not is_shaped or century < 0 or year < 0:
        return _NO
    year += century * 100
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return _NO
    days = _days(year, month, day)
    if days < 0:
        return _NO
    at += 19
    micro, scale = 0, _MICROSECOND_DIGITS
    if data[at] == _DOT:
        at += 1
        while at < end and _0 <= data[at] <= _9:
            if scale == 0:
                return _NO
            micro = micro * 10 + (data[at] - _0)
            scale -= 1
            at += 1
        if scale == _MICROSECOND_DIGITS:
            return _NO
    for _ in range(scale):
        micro *= 10
    ahead = _ahead(data, at, end)
    if ahead == _DAY_S:
        return _NO
    seconds = days * _DAY_S + hour * _HOUR_S + minute * _MINUTE_S + second - ahead
    return seconds * _MILLION + micro if seconds >= FIRST_SECOND else _NO


@compiled
def _ahead(data: Bytes, at: int, end: int) -> int:
    """Seconds that a zone is ahead of UTC; a day where it is none."""
    if end - at == 1 and data[at] == _Z:
        return 0
    if end - at != 6 or data[at + 3] != _COLON:
        return _DAY_S
    hours, minutes = _two(data, at + 1), _two(data, at + 4)
    if not (0 <= hours <= 23 and 0 <= minutes <= 59):
        return _DAY_S
    ahead = hours * _HOUR_S + minutes * _MINUTE_S
    if data[at] == _PLUS:
        return ahead
    return -ahead if data[at] == _MINUS else _DAY_S


@compiled
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a date of the Gregorian calendar, -1 where there is no such day."""
    if year < 1970 or not 1 <= month <= 12 or day < 1:
        return _NO
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 31
    if month == 2:
        longest = 29 if is_leap else 28
    elif month in (4, 6, 9, 11):
        longest = 30
    if day > longest:
        return _NO
    # Years that begin in March put the leap day last.
    from_march = (month + 9) % 12
    since = year - 1 if month <= 2 else year
    past = since * 365 + since // 4 - since // 100 + since // 400
    return past + (from_march * 306 + 5) // 10 + day - 1 - 719_468

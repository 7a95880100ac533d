"""Reading times as RFC 3339 writes them: a date, a time and an offset, always all three."""

import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):([0-5]\d)(?:\.(\d+))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAP_YEAR = 4


def microseconds(text: str) -> int | None:
    """Unix microseconds UTC of `text`; None where it is not RFC 3339 with an offset.

    `T` may be `t` or a space and `Z` may be `z`, as RFC 3339 allows; `-00:00` is UTC. What is finer
    than a microsecond is cut off. A leap second (`:60`) is refused: it has no Unix time.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:  # Python knows no year 0; it is a leap year, and long before 1970 like its stand-in
        moment = datetime(year or _LEAP_YEAR, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    fraction, sign, hours, minutes = found.groups()[6:]
    value = (moment - _EPOCH) // timedelta(microseconds=1)
    value += int((fraction or "0")[:6].ljust(6, "0"))
    if sign:
        offset = (int(hours) * 60 + int(minutes)) * 60_000_000
        value += offset if sign == "-" else -offset
    return value


def written(unix_us: int) -> str:
    """`unix_us` (Unix microseconds UTC, years 1 to 9999) as RFC 3339 in UTC."""
    moment = _EPOCH + timedelta(microseconds=unix_us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

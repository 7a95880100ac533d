"""Reading single fields of a plan: names, whole numbers, moments, calendars."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from metering.rfc3339 import microseconds
from rating_engine.billing_period import ANCHOR_DAY_MAX, BillingCalendar
from rating_engine.fields import Fields
from rating_engine.price_book.shapes import KEY_PATTERN

MOMENT = "a time like 2026-01-31T00:00:00Z, with an offset, from 1900 and before 9000"
BORDER = f"{MOMENT}, on a whole second"
ZONE = "an IANA time zone like Europe/Berlin"
#: 1900-01-01 and 9000-01-01 in Unix microseconds: calendars reckon beyond both ends.
_FIRST_US, _LAST_US = -2_208_988_800_000_000, 221_845_392_000_000_000
_GOT_MAX = 200
_PLAIN_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}|\.\d{6}|\.\d{9})?Z", re.ASCII)
_WITHIN_SECOND = re.compile(r"\.\d*[1-9]", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
ANCHOR = f"a whole number from 1 to {ANCHOR_DAY_MAX}"


def shown(value: object) -> str:
    """A value as a fault shows it."""
    return "nothing" if value is None else f"{value!r} ({type(value).__name__})"


def shortened(got: str) -> str:
    """What came, at a length that can be read."""
    return got if len(got) <= _GOT_MAX else f"{got[:_GOT_MAX]}..."


def is_zone(name: str) -> bool:
    """Whether the time zone database knows `name`."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; a path that leads out; a folder
        return False
    return True


def moment_us(value: object) -> int | None:
    """Text of a time as Unix microseconds UTC; None for anything else."""
    if not isinstance(value, str):
        return None
    read = _plain_us(value) if _PLAIN_MOMENT.fullmatch(value) else microseconds(value)
    return read if read is not None and _FIRST_US <= read < _LAST_US else None


def _plain_us(text: str) -> int | None:
    """The same for the most frequent notation, five times as fast: there are millions."""
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    except ValueError:
        return None


def read_key(fields: Fields, name: str) -> str:
    """Read a required name; "" after a fault."""
    value = fields.values.get(name)
    if not isinstance(value, str) or re.fullmatch(KEY_PATTERN, value) is None:
        fields.fault(name, expected=f"text like {KEY_PATTERN}", got=shown(value))
        return ""
    return value


def read_whole(fields: Fields, name: str, *, high: int) -> int:
    """Read a required whole number from 1 to `high`; 0 after a fault."""
    value = fields.values.get(name)
    if type(value) is not int or not 1 <= value <= high:
        fields.fault(name, expected=f"a whole number from 1 to {high}", got=shown(value))
        return 0
    return value


def border_us(value: object) -> int | None:
    """The same for a time at which prices change: on a whole second, as parts of periods are."""
    if not isinstance(value, str) or _WITHIN_SECOND.search(value):
        return None
    return moment_us(value)


def read_border(fields: Fields, name: str) -> int | None:
    """Read a required time at which prices change; None after a fault."""
    value = fields.values.get(name)
    read = border_us(value)
    if read is None:
        fields.fault(name, expected=BORDER, got=shown(value))
    return read


def read_calendar(fields: Fields) -> BillingCalendar:
    """Read a plan's optional `period`; the calendar month in UTC where it says nothing."""
    period = fields.child("period") if fields.has("period") else None
    if period is None:
        return BillingCalendar()
    period.allow_only("every", "anchor_day", "time_zone")
    if period.values.get("every", "month") != "month":
        period.fault("every", expected="month", got=shown(period.values["every"]))
    day = 1
    if period.has("anchor_day"):
        day = read_whole(period, "anchor_day", high=ANCHOR_DAY_MAX) or 1
    zone = period.values.get("time_zone", "UTC")
    if not isinstance(zone, str) or not is_zone(zone):
        period.fault("time_zone", expected=ZONE, got=shown(zone))
        zone = "UTC"
    return BillingCalendar(day, zone)

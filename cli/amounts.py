"""`METER=QUANTITY` and `NAME=VALUE` on the command line, exact, with one clear line for a fault."""

from collections.abc import Mapping, Sequence

from metering.catalog import Meter
from metering.errors import PermanentError
from metering.quantity import units
from metering.rejection import RejectionCode
from rating_engine.period_rater import GroupKey


def quantities(texts: Sequence[str], meters: Mapping[str, Meter], *, option: str) -> dict[str, int]:
    """Read `METER=QUANTITY`, each meter once, as 10^-12 units by meter.

    Raises `PermanentError` for an unknown meter, what is no exact number, or a negative one where
    the meter does not allow it.
    """
    found: dict[str, int] = {}
    for text in texts:
        key, mark, number = text.partition("=")
        if not mark or not key:
            msg = f"{option}: expected METER=QUANTITY, got {text!r}"
            raise PermanentError(msg)
        meter = meters.get(key)
        if meter is None:
            msg = f"{option}: expected one of the meters {', '.join(sorted(meters))}, got {key!r}"
            raise PermanentError(msg)
        read = units(number)
        if isinstance(read, RejectionCode):
            msg = (
                f"{option}: expected a number like 1000 or 0.5 for {key}, below 10^20 and with at "
                f"most 12 digits behind the point, got {number!r}"
            )
            raise PermanentError(msg)
        if read < 0 and not meter.allow_negative:
            msg = f"{option}: expected 0 or more for {key}, got {number!r}"
            raise PermanentError(msg)
        if key in found:
            msg = f"{option}: expected a meter once, got {key!r} again"
            raise PermanentError(msg)
        found[key] = read
    return found


def group_values(texts: Sequence[str]) -> dict[str, str]:
    """Read `NAME=VALUE`, each name once. Raises `PermanentError`."""
    found: dict[str, str] = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or not name or name in found:
            msg = f"--group: expected NAME=VALUE, each name once, got {text!r}"
            raise PermanentError(msg)
        found[name] = value
    return found


def group_of(meter: Meter, values: Mapping[str, str]) -> GroupKey:
    """Those of `values` that split the meter's totals, sorted by name."""
    return tuple(sorted((name, values[name]) for name in meter.group_by if name in values))

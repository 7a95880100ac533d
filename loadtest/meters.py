"""The demo's meters as the generator knows them: how each adds up, and what its events carry.

This restates `catalog/meters.yaml` on purpose: the judge must not read the rules from the judged.
A unit test holds the two together.
"""

from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import NamedTuple

#: Quantities are whole numbers of 10^-12 units, so that sums are exact.
UNITS_PER_ONE = 10**12
#: Of agent minutes, in tenths (the rest has 12 fraction digits); of credits, of ordinary size.
_TENTHS, _ORDINARY = 0.9, 0.99


class Aggregation(StrEnum):
    """How the events of one window become one quantity."""

    SUM = "sum"
    COUNT = "count"
    MAX = "max"
    LATEST = "latest"
    UNIQUE_COUNT = "unique_count"


class Quantity(NamedTuple):
    """A quantity as it is written (a plain decimal) and as whole units of 10^-12."""

    text: str
    units: int


class Meter(NamedTuple):
    """One meter; `draw` makes a quantity, `weight` is its part of all events (any scale)."""

    name: str
    aggregation: Aggregation
    draw: Callable[[Random], Quantity]
    weight: int
    group_by: tuple[str, ...] = ()
    counted_dimension: str = ""
    allow_negative: bool = False


def decimal_quantity(whole: int, fraction_digits: int) -> Quantity:
    """`whole` x 10^-`fraction_digits` as a quantity; `fraction_digits` is 0..12."""
    units = whole * 10 ** (12 - fraction_digits)
    if not fraction_digits:
        return Quantity(str(whole), units)
    sign = "-" if whole < 0 else ""
    digits = str(abs(whole)).rjust(fraction_digits + 1, "0")
    return Quantity(f"{sign}{digits[:-fraction_digits]}.{digits[-fraction_digits:]}", units)


def quantity_of_units(units: int) -> Quantity:
    """Whole units of 10^-12 as a quantity, without trailing zeros."""
    text = decimal_quantity(units, 12).text.rstrip("0").rstrip(".")
    return Quantity(text, units)


def _few(random: Random) -> Quantity:
    """For meters that count events or values: any quantity, which must not matter."""
    return decimal_quantity(1 + int(random.random() * 9), 0)


def _requests(random: Random) -> Quantity:
    return decimal_quantity(1 + int(random.random() * 500), 0)


def _gigabytes(random: Random) -> Quantity:
    return decimal_quantity(1 + int(random.random() * 900_000), 3)


def _runs(random: Random) -> Quantity:
    return decimal_quantity(1 + int(random.random() * 5), 0)


def _minutes(random: Random) -> Quantity:
    chance = random.random()
    if chance < _TENTHS:
        return decimal_quantity(1 + int(chance * 1000), 1)
    return decimal_quantity(1 + int(random.random() * 10**13), 12)


def _seats(random: Random) -> Quantity:
    return decimal_quantity(int(random.random() * 200), 0)


def _credits(random: Random) -> Quantity:
    chance = random.random()
    if chance < _ORDINARY:
        return decimal_quantity(int(chance * 100_000) - 49_000, 2)
    return decimal_quantity(random.randrange(10**18, 10**19), 0)


METERS: tuple[Meter, ...] = (
    Meter("api_requests", Aggregation.SUM, _requests, 40, group_by=("region",)),
    Meter("storage_gb", Aggregation.MAX, _gigabytes, 8),
    Meter("documents_processed", Aggregation.COUNT, _few, 12),
    Meter("workflow_runs", Aggregation.SUM, _runs, 12),
    Meter("agent_minutes", Aggregation.SUM, _minutes, 10),
    Meter("seats", Aggregation.LATEST, _seats, 4),
    Meter("active_users", Aggregation.UNIQUE_COUNT, _few, 8, counted_dimension="user_id"),
    Meter("credits", Aggregation.SUM, _credits, 6, allow_negative=True),
)

METER_BY_NAME = {meter.name: meter for meter in METERS}

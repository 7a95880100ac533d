"""Sound usage events of one meter as rows of bytes; where in a row what stands."""

from typing import NamedTuple

import numpy as np

from loadtest.templates import Bytes, Integers, Template, digits, rows_of_text
from loadtest.usage import rfc3339

#: Meters of the load with the fraction digits of their quantities; all of them are sums.
LOAD_METERS = (("api_requests", 0), ("workflow_runs", 0), ("agent_minutes", 3), ("credits", 3))
GROUPED = 0
CUSTOMER_DIGITS = 7
_MARKS = "@#$%^&~*"
_SECOND_CHARACTERS, _QUANTITY_CHARACTERS = 19, 3
_LEAST_QUANTITY, _QUANTITIES = 100, 900


class Fresh(NamedTuple):
    """Columns of events: index of customer and region, Unix second, thousandths, serial."""

    customers: Integers
    regions: Integers
    seconds: Integers
    milli: Integers
    serials: Integers


class EventRows:
    """Writes events; moments lie in `first_second` (Unix) and the `seconds` that follow."""

    def __init__(
        self, prefix: str, *, regions: int, dimensions: int, first_second: int, seconds: int
    ) -> None:
        """`prefix` begins the name of every customer; `dimensions` pairs are added to each."""
        self._first_second = first_second
        self._seconds = rows_of_text(
            [rfc3339((first_second + at) * 1_000_000)[:-1] for at in range(seconds)]
        )
        self._regions = rows_of_text([region_name(index) for index in range(regions)])
        self._templates = [
            _template(prefix, name, places=places, dimensions=dimensions)
            for name, places in LOAD_METERS
        ]

    def write(self, meter: int, fresh: Fresh) -> Bytes:
        """One row an event, in order."""
        template = self._templates[meter]
        rows = template.rows(len(fresh.customers))
        template.fill(rows, "@", columns=digits(fresh.serials, 12))
        template.fill(rows, "#", columns=digits(fresh.customers, CUSTOMER_DIGITS))
        template.fill(rows, "$", columns=digits(fresh.milli // 1000, _QUANTITY_CHARACTERS))
        if LOAD_METERS[meter][1]:
            template.fill(rows, "%", columns=digits(fresh.milli % 1000, 3))
        template.fill(rows, "^", columns=self._seconds[fresh.seconds - self._first_second])
        template.fill(rows, "&", columns=digits(fresh.serials % 1_000_000, 6))
        template.fill(rows, "~", columns=self._regions[fresh.regions])
        if "*" in template.starts:
            template.fill(rows, "*", columns=digits(fresh.serials % 997, 4))
        return rows

    def restamped(self, meter: int, value: bytes, *, second: int) -> bytes:
        """The same event, said to have occurred in another second."""
        start = self._templates[meter].starts["^"]
        moment = bytes(self._seconds[second - self._first_second])
        return value[:start] + moment + value[start + _SECOND_CHARACTERS :]

    def conflicting(self, meter: int, value: bytes) -> bytes:
        """The same identity with another quantity."""
        start = self._templates[meter].starts["$"]
        end = start + _QUANTITY_CHARACTERS
        other = (int(value[start:end]) - _LEAST_QUANTITY + 1) % _QUANTITIES + _LEAST_QUANTITY
        return value[:start] + str(other).encode() + value[end:]


def customer_name(prefix: str, index: int) -> str:
    """The customer of an index, below 10^7."""
    return f"{prefix}-{index:0{CUSTOMER_DIGITS}d}"


def region_name(index: int) -> str:
    """What the grouped meter is split by."""
    return f"r{index:04d}"


def draw_milli(random: np.random.Generator, count: int) -> Integers:
    """Quantities in thousandths: three digits before the point and three behind."""
    low, high = 1000 * _LEAST_QUANTITY, 1000 * (_LEAST_QUANTITY + _QUANTITIES)
    return random.integers(low, high, count)


def _template(prefix: str, meter: str, *, places: int, dimensions: int) -> Template:
    quantity = "$" * _QUANTITY_CHARACTERS + ("." + "%" * places if places else "")
    more = "".join(f',"dimension-{n:02d}":"value-{n:02d}-of-this-pair"' for n in range(dimensions))
    if dimensions:
        more = more.removesuffix('-of-this-pair"') + '-of-****-pair"'
    text = (
        f'{{"id":"evt-@@@@@@@@@@@@","customer_id":"{prefix}-{"#" * CUSTOMER_DIGITS}",'
        f'"meter":"{meter}","quantity":{quantity},'
        f'"occurred_at":"{"^" * _SECOND_CHARACTERS}.&&&&&&Z",'
        f'"dimensions":{{"region":"~~~~~","plan":"pro","endpoint":"/v1/items"{more}}},'
        '"source":"api-gateway","batch_id":"batch-00000001","schema_version":"1"}'
    )
    return Template(text, _MARKS)

"""Fresh usage events from a seed: customer, meter, quantity, moment, dimensions, shape."""

from bisect import bisect_right
from itertools import accumulate
from random import Random

from loadtest.meters import METERS, Aggregation, Meter
from loadtest.plan import Shares
from loadtest.population import Population, device, workspace
from loadtest.usage import Shape, Usage

_REGIONS = ("eu", "us", "ap")
_PLANS = ("pro", "team", "free")
_USERS_PER_CUSTOMER = 25
#: Last digit of the customers that count their ids from 1 on.
_COUNTS_OWN_IDS = 3
#: Shares: named by a bound subject alone (and as many carry a subject besides); with a region.
_BY_SUBJECT, _GROUPED = 0.1, 0.95
_US_PER_S = 1_000_000
_US_PER_HOUR = 3600 * _US_PER_S
#: On time is clearly less than the allowed lateness of 5 minutes, late is clearly more.
ON_TIME_S_MAX = 60
LATE_S_MIN, LATE_S_MAX = 600, 6 * 3600
#: Share of late events that occurred exactly on a window's border.
ON_THE_HOUR = 0.02


class UsageMaker:
    """Draws usage events one by one; the same seed draws the same ones."""

    def __init__(self, population: Population, random: Random, shares: Shares) -> None:
        """`shares` says how many events are CloudEvents or camelCase."""
        self._population = population
        self._random = random
        self._cloud_events = shares.cloud_events
        self._camel_case = shares.cloud_events + shares.camel_case
        self._weights = list(accumulate(meter.weight for meter in METERS))
        self._sequences: dict[tuple[str, str], int] = {}

    def draw(self, serial: int, now_us: int, *, late: bool, customer: int | None = None) -> Usage:
        """The usage event number `serial`, as of `now_us`; `customer` is an index, else drawn."""
        chance = self._random.random
        index = int(chance() * self._population.customers) if customer is None else customer
        name = self._population.names[index]
        meter = METERS[bisect_right(self._weights, chance() * self._weights[-1])]
        names_customer, subject = self._naming(index)
        return Usage(
            serial=serial,
            id=self._id(serial, index, name, meter),
            customer_id=name,
            names_customer=names_customer,
            subject=subject,
            meter=meter,
            quantity=meter.draw(self._random),
            occurred_us=self._occurred(meter, serial, now_us, late=late),
            dimensions=self._dimensions(meter),
            late=late,
            shape=self._shape(),
        )

    def moment(self, serial: int, now_us: int, *, late: bool) -> int:
        """When it occurred, Unix us: within a minute before `now_us`, or hours before.

        The serial is in the microseconds, so that no two events of a window tie.
        """
        chance = self._random.random()
        ago_s = LATE_S_MIN + chance * (LATE_S_MAX - LATE_S_MIN) if late else chance * ON_TIME_S_MAX
        second = (now_us - int(ago_s * _US_PER_S)) // _US_PER_S
        return second * _US_PER_S + serial % _US_PER_S

    def _occurred(self, meter: Meter, serial: int, now_us: int, *, late: bool) -> int:
        moment = self.moment(serial, now_us, late=late)
        may_tie = meter.aggregation is not Aggregation.LATEST
        if late and may_tie and self._random.random() < ON_THE_HOUR:
            return moment - moment % _US_PER_HOUR
        return moment

    def _id(self, serial: int, index: int, name: str, meter: Meter) -> str:
        """Unique within (customer, meter); a tenth of the customers count theirs from 1 on.

        So the same id comes from many customers and for many meters, and stays distinct usage.
        """
        if index % 10 != _COUNTS_OWN_IDS:
            return f"evt-{serial:012x}"
        sequence = self._sequences.get((name, meter.name), 0) + 1
        self._sequences[name, meter.name] = sequence
        return f"job-{sequence}"

    def _naming(self, index: int) -> tuple[bool, str | None]:
        chance = self._random.random()
        if chance < _BY_SUBJECT and self._population.is_bound(index):
            return False, workspace(index)
        return True, device(index) if chance < 2 * _BY_SUBJECT else None

    def _dimensions(self, meter: Meter) -> dict[str, str]:
        chance = self._random.random
        dimensions = {"plan": _PLANS[int(chance() * 3)], "endpoint": "/v1/items/search"}
        if meter.group_by and chance() < _GROUPED:
            dimensions["region"] = _REGIONS[int(chance() * 3)]
        if meter.counted_dimension:
            dimensions[meter.counted_dimension] = f"user-{int(chance() * _USERS_PER_CUSTOMER)}"
        return dimensions

    def _shape(self) -> Shape:
        chance = self._random.random()
        if chance < self._cloud_events:
            return Shape.CLOUD_EVENT
        return Shape.CAMEL_CASE if chance < self._camel_case else Shape.OWN

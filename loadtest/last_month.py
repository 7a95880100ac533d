"""Usage of the month before: what is invoiced, and what comes in after the invoices were issued.

Some customers are chosen by the seed; each event names its customer. Quantities are such that
many a late event crosses a tier, or an allowance.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from loadtest.maker import UsageMaker
from loadtest.plan import Message, Shares
from loadtest.population import Population, partition_of
from loadtest.prices import plan_of
from loadtest.shapes import encode, render
from loadtest.truth import Truth
from loadtest.usage import unix_us

#: Serials of their own, so that ids repeat nothing of another load.
_FIRST_SERIAL = 1 << 40
#: Customers with this last digit count their ids from 1 on, in every load.
_COUNTS_OWN_IDS = 3
_US_PER_S = 1_000_000


class Month(NamedTuple):
    """A calendar month in UTC, half-open."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """As `--period` takes it."""
        return f"{self.start:%Y-%m}"


def month_before(now: datetime) -> Month:
    """The calendar month before the one that holds `now`."""
    end = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Month((end - timedelta(days=1)).replace(day=1), end)


class LastMonth:
    """Makes messages; `truth` grows with them. The same seed makes the same ones."""

    def __init__(
        self, seed: int, population: Population, *, month: Month, partitions: int, customers: int
    ) -> None:
        """`customers` of the population have usage in `month`."""
        self.month = month
        self.truth = Truth()
        self._population = population
        self._partitions = partitions
        self._random = Random(seed)
        self._maker = UsageMaker(population, self._random, Shares())
        self._serial = _FIRST_SERIAL
        able = [
            index
            for index in range(population.customers)
            if plan_of(index) is not None and index % 10 != _COUNTS_OWN_IDS
        ]
        self._chosen = self._random.sample(able, min(customers, len(able)))

    def messages(self, events: int) -> Iterator[Message]:
        """So many events, one message each, all due at once."""
        begin_us, end_us = unix_us(self.month.start), unix_us(self.month.end)
        for _ in range(events):
            self._serial += 1
            index = self._random.choice(self._chosen)
            usage = self._maker.draw(self._serial, end_us, late=False, customer=index)
            second = begin_us // _US_PER_S + int(
                self._random.random() * ((end_us - begin_us) // _US_PER_S)
            )
            # the serial is in the microseconds, so that no two events of a window tie
            usage = usage._replace(
                names_customer=True,
                late=True,
                occurred_us=second * _US_PER_S + self._serial % _US_PER_S,
            )
            self.truth.accept(usage)
            value = encode(render(usage, self._random))
            key = usage.customer_id
            yield Message(partition_of(key, self._partitions), key.encode(), value, 1, 0.0)

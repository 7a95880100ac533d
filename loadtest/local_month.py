"""A month in which clocks change where the customers live, and its usage: before and after a cut.

Events are few and chosen: on both borders of the month and of the price change, around the hour
that the clocks skip or repeat, below a tier that a late one crosses, and one that is taken back.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from loadtest.local_bills import DOCUMENTS, METER, PLAN, VERSIONS, Used, overage
from loadtest.meters import METER_BY_NAME, Aggregation, decimal_quantity
from loadtest.plan import Message
from loadtest.population import partition_of
from loadtest.shapes import encode, render
from loadtest.usage import Shape, Usage

#: In one of them clocks change within any five months in a row.
_ZONES = ("Europe/Berlin", "America/New_York", "Australia/Sydney", "America/Santiago")
_MONTHS_BACK = 12
_US_PER_S = 1_000_000
_DAY = 86_400
EU, US = '{"region":"eu"}', '{"region":"us"}'
BUSY, STEADY, IDLE = CUSTOMERS = ("local-busy", "local-steady", "local-idle")
#: The event that a correction takes back: by it a tier is left again.
RETRACTED = (STEADY, METER, "local-over")

#: Events by customer and id.
Usages = dict[tuple[str, str], Used]


class LocalMonth(NamedTuple):
    """A month of a zone in which its clocks change; moments are Unix seconds, half-open."""

    zone: str
    name: str
    start: int
    changed: int
    end: int

    @property
    def borders(self) -> dict[str, int]:
        """As `expected_lines` takes them."""
        return {"start": self.start, "changed": self.changed, "end": self.end}


def local_month(before: datetime) -> LocalMonth:
    """The newest one that ended before a moment."""
    year, month = before.year, before.month
    for _ in range(_MONTHS_BACK):
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
        for zone in _ZONES:
            local = ZoneInfo(zone)
            start = datetime(year, month, 1, tzinfo=local)
            end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=local)
            if start.utcoffset() != end.utcoffset() and end <= before:
                changed = datetime(year, month, 12, 8, 30, tzinfo=local)
                moments = (int(each.timestamp()) for each in (start, changed, end))
                return LocalMonth(zone, f"{year}-{month:02d}", *moments)
    message = f"expected a month in which clocks change in a year before {before}"
    raise ValueError(message)


def write_local_plan(folder: Path, month: LocalMonth) -> None:
    """Add the plan and its customers to a catalog that has others."""
    changed = f"{datetime.fromtimestamp(month.changed, UTC):%Y-%m-%dT%H:%M:%SZ}"
    with (folder / "plans.yaml").open("a", encoding="utf-8") as file:
        file.write(PLAN.format(zone=month.zone, changed=changed))
    with (folder / "subscriptions.csv").open("a", encoding="utf-8") as file:
        for name in CUSTOMERS:
            file.write(f"sub-{name},{name},local,2020-01-01T00:00:00Z\n")


def before_the_cut(month: LocalMonth) -> Usages:
    """What is there when the month is closed."""
    start, changed, end = month.start, month.changed, month.end
    documents = {
        (STEADY, f"local-doc-{at}"): Used(start + at * _DAY, DOCUMENTS, "{}", 1) for at in range(11)
    }
    return documents | {
        (BUSY, "local-first"): Used(start, METER, EU, 7),
        (BUSY, "local-last"): Used(end - 1, METER, EU, 5),
        (BUSY, "local-too-early"): Used(start - 1, METER, EU, 90_000),
        (BUSY, "local-too-late"): Used(end, METER, EU, 90_000),
        (BUSY, "local-old-price"): Used(changed - 1, METER, EU, 450),
        (BUSY, "local-new-price"): Used(changed, METER, EU, 190),
        (BUSY, "local-other"): Used(changed + _DAY, METER, US, 41),
        (STEADY, "local-base"): Used(start + 3 * _DAY, METER, US, 530),
        (STEADY, "local-over"): Used(start + 4 * _DAY, METER, US, 77),
    }


def beyond_the_cut(month: LocalMonth) -> Usages:
    """What comes when the invoices are out: tiers are crossed, and a customer who was idle."""
    return {
        (BUSY, "local-late-1"): Used(month.start + 2 * _DAY, METER, EU, 333),
        (BUSY, "local-late-2"): Used(month.end - 3 * 3600, METER, EU, 144),
        (BUSY, "local-late-3"): Used(month.end, METER, EU, 90_000),
        (STEADY, "local-late-4"): Used(month.changed - 1, METER, EU, 3),
        (IDLE, "local-late-5"): Used(month.end - 1, METER, US, 999),
    }


def tier(used: Usages, key: tuple[str, str], *, month: LocalMonth) -> bool:
    """Whether the second tier is reached where the event named `key` is priced."""
    own = used[key]
    version = int(own.second >= month.changed)
    low, high = (month.changed, month.end) if version else (month.start, month.changed)
    quantity = sum(
        each.quantity
        for (customer, _), each in used.items()
        if customer == key[0]
        and (each.meter, each.group) == (own.meter, own.group)
        and low <= each.second < high
    )
    over = overage(quantity, version, month=(month.start, month.changed, month.end))
    return over > VERSIONS[version].border


def messages(used: Usages, *, partitions: int, serial: int) -> Iterator[Message]:
    """One message each; `serial` is the first of their numbers."""
    random = Random(serial)
    for at, ((customer, name), each) in enumerate(used.items()):
        meter = METER_BY_NAME[each.meter]
        dimensions = {} if meter.aggregation is Aggregation.COUNT else {"region": each.group[11:13]}
        usage = Usage(
            serial=serial + at,
            id=name,
            customer_id=customer,
            names_customer=True,
            subject=None,
            meter=meter,
            quantity=decimal_quantity(each.quantity, 0),
            occurred_us=each.second * _US_PER_S,
            dimensions=dimensions,
            late=True,
            shape=Shape.OWN,
        )
        value = encode(render(usage, random))
        yield Message(partition_of(customer, partitions), customer.encode(), value, 1, 0.0)

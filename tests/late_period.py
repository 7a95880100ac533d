"""A billing period with everything that makes closing hard, and its judge; for tests of invoices.

March 2025 in Berlin: an hour short, since clocks go forward on the 30th. On the 12th the price
version changes, in the middle of an hour of UTC. Tiers with fees, an allowance and a commit by
elapsed time, base fees. Customers are `a`, `b`, `c`, and `idle`, who uses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fraction_oracle import Charge, Event, Key, Version, expected_lines

_BERLIN = ZoneInfo("Europe/Berlin")
PERIOD = "2025-03"
START = int(datetime(2025, 3, 1, tzinfo=_BERLIN).timestamp())
END = int(datetime(2025, 4, 1, tzinfo=_BERLIN).timestamp())
CHANGE = int(datetime(2025, 3, 12, 7, 30, tzinfo=UTC).timestamp())
EU, US = '{"region":"eu"}', '{"region":"us"}'
CUSTOMERS = ("a", "b", "c", "idle")

METERS = """meters:
- {key: requests, unit: request, aggregation: sum, group_by: [region]}
- {key: credits, unit: credit, aggregation: sum, allow_negative: true}
"""
PLANS = """plans:
- key: growth
  currency: USD
  prorate_allowance: true
  period: {anchor_day: 1, time_zone: Europe/Berlin}
  versions:
  - version: 1
    effective_from: 2025-01-01T00:00:00Z
    base_fee: "31"
    commit: "40"
    charges:
    - {meter: requests, allowance: "100", price: {model: graduated, tiers: [
        {up_to: "50", unit_price: "0.333"}, {up_to: "300", unit_price: "0.125", flat_fee: "2"},
        {unit_price: "0.05"}]}}
    - {meter: credits, price: {model: graduated, tiers: [{unit_price: "0.015"}]}}
  - version: 2
    effective_from: 2025-03-12T07:30:00Z
    base_fee: "17"
    commit: "25"
    charges:
    - {meter: requests, allowance: "80", price: {model: graduated, tiers: [
        {up_to: "20", unit_price: "0.4"}, {unit_price: "0.07", flat_fee: "1.5"}]}}
    - {meter: credits, price: {model: graduated, tiers: [{unit_price: "0.015"}]}}
"""
SUBSCRIPTIONS = "subscriptions:\n" + "".join(
    f"- {{id: s-{name}, customer_id: {name}, plan: growth, from: 2025-01-01T00:00:00Z}}\n"
    for name in CUSTOMERS
)


def _f(text: str) -> Fraction:
    return Fraction(text)


_CREDITS = Charge(_f("0"), ((None, _f("0.015"), _f("0")),))
VERSIONS = (
    Version(0, _f("31"), _f("40"), {
        "requests": Charge(_f("100"), (
            (_f("50"), _f("0.333"), _f("0")), (_f("300"), _f("0.125"), _f("2")),
            (None, _f("0.05"), _f("0")),
        )),
        "credits": _CREDITS,
    }),
    Version(CHANGE, _f("17"), _f("25"), {
        "requests": Charge(_f("80"), (
            (_f("20"), _f("0.4"), _f("0")), (None, _f("0.07"), _f("1.5")),
        )),
        "credits": _CREDITS,
    }),
)  # fmt: skip


def write_catalog(folder: Path, **files: str) -> Path:
    """The catalog of the period; `files` replace some of it."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"meters": METERS, "plans": PLANS, "subscriptions": SUBSCRIPTIONS, **files}
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def expected(events: Sequence[Event]) -> dict[Key, int]:
    """Cents by line of one customer's bill; nothing for lines of nothing."""
    return expected_lines(VERSIONS, events, start=START, end=END)


#: Events by customer and id.
Usage = Mapping[tuple[str, str], Event]


def write_events(path: Path, usage: Usage) -> Path:
    """A file for `meterline backfill`."""
    path.write_text(
        "".join(json.dumps(payload(customer, name, each)) + "\n"
                for (customer, name), each in usage.items()),
        encoding="utf-8",
    )  # fmt: skip
    return path


def payload(customer: str, name: str, event: Event) -> dict[str, Any]:
    """An event as a producer sends it."""
    return {
        "id": name,
        "customer_id": customer,
        "meter": event.meter,
        "quantity": decimal_text(event.quantity),
        "occurred_at": datetime.fromtimestamp(event.second, UTC).isoformat(),
        "dimensions": json.loads(event.group),
    }


def of_customer(usage: Usage, customer: str, *, without: Iterable[str] = ()) -> list[Event]:
    """A customer's events, those of some ids left out."""
    left_out = set(without)
    return [
        each
        for (whose, name), each in usage.items()
        if whose == customer and name not in left_out
    ]  # fmt: skip


def decimal_text(value: Fraction) -> str:
    """A fraction of at most 12 digits as a decimal."""
    whole = value * 10**12
    assert whole.denominator == 1
    sign = "-" if whole < 0 else ""
    units, rest = divmod(abs(whole.numerator), 10**12)
    return f"{sign}{units}.{rest:012d}"


def event(day: int, quantity: str, *, meter: str = "requests", group: str = EU) -> Event:
    """An event at noon of a day of the period."""
    second = int(datetime(2025, 3, day, 12, tzinfo=_BERLIN).timestamp())
    return Event(second, meter, group if meter == "requests" else "{}", Fraction(quantity))


#: What is there when the period is closed.
FIRST: Usage = {
    ("a", "1"): event(2, "120.5"), ("a", "2"): event(20, "40"),
    ("a", "3"): Event(START, "requests", EU, Fraction("0.1")),
    ("a", "4"): Event(END - 1, "requests", EU, Fraction("0.2")),
    ("a", "5"): Event(START - 1, "requests", EU, Fraction(7000)),
    ("a", "6"): Event(END, "requests", EU, Fraction(7000)),
    ("a", "7"): event(3, "500", meter="credits"), ("a", "8"): event(4, "-120", meter="credits"),
    ("b", "1"): event(5, "2000", group=US), ("b", "2"): event(25, "300"),
    ("b", "3"): Event(CHANGE - 1, "requests", EU, Fraction(30)),
    ("b", "4"): Event(CHANGE, "requests", EU, Fraction(31)),
    ("c", "1"): event(10, "3"),
}  # fmt: skip
#: What comes afterwards: tiers are crossed, a commit is reached, a group is new.
LATE: Usage = {
    ("a", "20"): event(6, "400"), ("a", "21"): event(28, "90.75"),
    ("a", "22"): event(30, "11", group=US), ("b", "20"): event(7, "-1", meter="credits"),
    ("c", "20"): event(11, "5000"),
    ("idle", "20"): Event(END - 1, "requests", US, Fraction(900)),
    ("idle", "21"): Event(END, "requests", US, Fraction(900)),
}  # fmt: skip

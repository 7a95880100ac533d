"""A catalog with every kind of meter, plans whose prices change inside the period, and usage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

#: The month before this one, so that no event lies in the future.
_THIS = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
MONTH = (_THIS - timedelta(days=1)).replace(day=1)
PERIOD = f"{MONTH:%Y-%m}"
CHANGE = MONTH + timedelta(days=14, hours=10, minutes=30)

METERS = """meters:
- {key: requests, unit: request, aggregation: sum, group_by: [region]}
- {key: calls, unit: call, aggregation: sum}
- {key: storage, unit: GB, aggregation: max}
- {key: seats, unit: seat, aggregation: latest}
- {key: credits, unit: credit, aggregation: sum, allow_negative: true}
- {key: documents, unit: document, aggregation: count}
- {key: users, unit: user, aggregation: unique_count, counted_dimension: user_id}
"""
_CHARGES = """
    charges:
    - {meter: requests, allowance: "%(allowance)s", price: {model: per_unit,
        unit_price: "%(unit)s"}}
    - {meter: calls, allowance: "100", price: {model: graduated, tiers: [
        {up_to: "100", unit_price: "%(first)s"}, {unit_price: "0.02"}]}}
    - {meter: storage, price: {model: graduated, tiers: [
        {up_to: "10", unit_price: "0.3"}, {unit_price: "0.1", flat_fee: "5"}]}}
    - {meter: seats, price: {model: per_unit, unit_price: "3"}}
    - {meter: credits, price: {model: per_unit, unit_price: "1"}}
    - {meter: documents, minimum: "7", price: {model: package, package_size: "2",
        package_price: "1.5"}}
    - {meter: users, price: {model: per_unit, unit_price: "0.333"}}
"""
_PLAN = """- key: {key}
  currency: USD
  prorate_allowance: {prorate}
  versions:
  - version: 1
    effective_from: 2020-01-01T00:00:00Z
    base_fee: "20"{first}"""
_SECOND = """  - version: 2
    effective_from: {change}
    base_fee: "30"{second}"""
PLANS = ("steady", "shares", "carries")


def catalog(folder: Path, customers: dict[str, tuple[str, datetime]], **prices: str) -> Path:
    """Write a catalog: `customers` have a plan of `PLANS` each, since a moment.

    `first` is the price of a call in the first tier.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {"allowance": "1000", "unit": "0.01", "first": "0.05", **prices}
    plans = "plans:\n"
    for key in PLANS:
        plans += _PLAN.format(
            key=key, prorate="true" if key == "shares" else "false", first=_CHARGES % values
        )
        if key != "steady":
            later = {**values, "allowance": "1500", "unit": "0.02"}
            plans += _SECOND.format(change=f"{CHANGE:%Y-%m-%dT%H:%M:%SZ}", second=_CHARGES % later)
    subscriptions = "subscriptions:\n" + "".join(
        f"- {{id: s-{name}, customer_id: {name}, plan: {plan}, from: {since:%Y-%m-%dT%H:%M:%SZ}}}\n"
        for name, (plan, since) in customers.items()
    )
    for name, text in (
        ("meters", METERS), ("plans", plans), ("subscriptions", subscriptions),
    ):  # fmt: skip
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def usage(customer: str, random: Random, count: int) -> list[dict[str, Any]]:
    """Events of all meters over the whole month, in any order of time; some are late."""
    found = []
    for at in range(count):
        meter = random.choice(
            ["requests", "calls", "storage", "seats", "credits", "documents", "users"]
        )
        dimensions = {"region": random.choice(["eu", "us"])} if meter == "requests" else {}
        if meter == "users":
            dimensions = {"user_id": f"u{random.randrange(4)}"}
        quantity = Decimal(random.randrange(1, 60_000)) / 100
        if meter == "credits":
            quantity = quantity / 7 - 20
        found.append(
            {
                "id": f"{customer}-{at}", "customer_id": customer, "meter": meter,
                "quantity": f"{quantity:.3f}", "dimensions": dimensions,
                "occurred_at": moment(random.randrange(27 * 86_400_000)),
            }
        )  # fmt: skip
    return found


def moment(milliseconds: int) -> str:
    """A time so many milliseconds into the month."""
    return (MONTH + timedelta(milliseconds=milliseconds)).isoformat()

"""Usage of a small invented business, by day and hour: months of it as files, minutes of it live.

Plans in two currencies, commits, an allowance, a customer without a subscription, one that went
silent, one that spikes; live also duplicates, conflicts, late and malformed events. The same seed
gives the same usage.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

_PLANS = """\
plans:
- key: starter
  currency: USD
  versions:
  - version: 1
    effective_from: 2024-01-01T00:00:00Z
    charges:
    - {meter: api_requests, allowance: "200000", price: {model: per_unit, unit_price: "0.0004"}}
    - {meter: storage_gb, price: {model: per_unit, unit_price: "0.09"}}
    - {meter: agent_minutes, price: {model: per_unit, unit_price: "0.04"}}
- key: growth
  currency: USD
  versions:
  - version: 1
    effective_from: 2024-01-01T00:00:00Z
    base_fee: "99"
    charges:
    - meter: api_requests
      price: {model: graduated, tiers: [{up_to: "500000", unit_price: "0.0003"},
        {unit_price: "0.0002"}]}
    - {meter: storage_gb, price: {model: per_unit, unit_price: "0.07"}}
    - {meter: agent_minutes, commit: {units: "20000", base_fee: "650"},
        price: {model: per_unit, unit_price: "0.035"}}
- key: scale
  currency: USD
  versions:
  - version: 1
    effective_from: 2024-01-01T00:00:00Z
    base_fee: "499"
    commit: "4500"
    charges:
    - {meter: api_requests, price: {model: per_unit, unit_price: "0.00022"}}
    - {meter: storage_gb, price: {model: per_unit, unit_price: "0.05"}}
    - {meter: agent_minutes, price: {model: per_unit, unit_price: "0.03"}}
    - {meter: seats, price: {model: per_unit, unit_price: "9"}}
- key: nordic
  currency: EUR
  versions:
  - version: 1
    effective_from: 2024-01-01T00:00:00Z
    base_fee: "89"
    commit: "900"
    charges:
    - {meter: api_requests, price: {model: per_unit, unit_price: "0.00031"}}
    - {meter: agent_minutes, price: {model: per_unit, unit_price: "0.04"}}
"""


class Customer(NamedTuple):
    """`size` scales its usage; without a plan, nothing charges it."""

    name: str
    plan: str
    size: int


SILENT, SPIKING = "umbra-labs", "helio-ai"
CUSTOMERS = (
    Customer("acme-robotics", "scale", 9),
    Customer("borealis", "nordic", 4),
    Customer("cobalt-freight", "growth", 5),
    Customer("delta-optics", "starter", 2),
    Customer("ember-games", "scale", 7),
    Customer("fjord-data", "nordic", 3),
    Customer("granite-bank", "scale", 6),
    Customer(SPIKING, "growth", 4),
    Customer("iris-health", "growth", 3),
    Customer("juniper-cloud", "starter", 3),
    Customer("kestrel-maps", "starter", 1),
    Customer("lumen-retail", "growth", 6),
    Customer(SILENT, "growth", 3),
    Customer("trial-co", "", 1),
)
#: Meter with its mean quantity of an event of a customer of size 1.
_METERS = (("api_requests", 450), ("storage_gb", 60), ("agent_minutes", 4), ("seats", 3))
_REGIONS = ("eu", "us", "ap")
_SILENT_FOR = timedelta(hours=30)
_SPIKE_FOR, _SPIKE = timedelta(hours=6), 4
_WEEKEND = 5
#: Of an event's mean quantity, since many more come in an hour.
_LIVE_PART = 0.01
Event = dict[str, Any]


def write_catalog(folder: Path, meters: Path) -> None:
    """Meters of the repository, our plans and subscriptions, a rule that drops tests."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meters.yaml").write_text(meters.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "plans.yaml").write_text(_PLANS, encoding="utf-8")
    subscriptions = [
        {
            "id": f"sub-{customer.name}",
            "customer_id": customer.name,
            "plan": customer.plan,
            "from": "2024-01-01T00:00:00Z",
        }
        for customer in CUSTOMERS
        if customer.plan
    ]
    rule = {"name": "tests", "match": {"subject": "test-*"}, "reason": "not real usage"}
    for name, entries in (("subscriptions", subscriptions), ("suppressions", [rule])):
        text = json.dumps({name: entries})
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


class Usage:
    """Draws events; `now` (aware) is when history ends."""

    def __init__(self, seed: int, now: datetime) -> None:
        """Nothing is drawn yet."""
        self._random = Random(seed)
        self._now = now
        self._serial = 0

    def history(
        self, *, days: int, until: int = 0, hours_apart: int = 1, density: int = 1
    ) -> Iterator[Event]:
        """Sound events from `days` to `until` days ago, every `hours_apart`.

        `density` times as many events make up the same quantity.
        """
        hours = days * 24
        begin = self._now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)
        for at in range(0, hours - until * 24, hours_apart):
            hour = begin + timedelta(hours=at)
            for customer in CUSTOMERS:
                for _ in range(density):
                    yield from self._hour(customer, hour, part=hours_apart / density)

    def live(self, events: int, moment: datetime) -> Iterator[Event]:
        """Events that occur about `moment`, with everything that goes wrong."""
        past: list[Event] = []
        for _ in range(events):
            found = self._live_event(moment)
            chance = self._random.random()
            if chance < 0.07 and past:
                found = self._random.choice(past)
            elif chance < 0.085 and past:
                found = {**self._random.choice(past), "quantity": "7.5"}
            elif chance < 0.12:
                found |= self._random.choice(
                    (
                        {"quantity": "NaN"},
                        {"meter": "no_such_meter"},
                        {"customer_id": None, "subject": f"ghost-{self._random.randrange(4)}"},
                        {"occurred_at": (moment + timedelta(hours=3)).isoformat()},
                    )
                )
            elif chance < 0.13:
                found["subject"] = "test-7"
            elif chance < 0.19:
                late = timedelta(minutes=self._random.choice((12, 30, 55, 180)))
                found["occurred_at"] = (moment - late).isoformat()
            else:
                past.append(found)
            yield {name: value for name, value in found.items() if value is not None}

    def _hour(self, customer: Customer, hour: datetime, *, part: float) -> Iterator[Event]:
        left = self._now - hour
        if customer.name == SILENT and left < _SILENT_FOR:
            return
        spike = _SPIKE if customer.name == SPIKING and left < _SPIKE_FOR else 1
        by_day = 1 + 0.7 * math.sin((hour.hour - 9) / 24 * math.tau)
        by_week = 0.55 if hour.weekday() >= _WEEKEND else 1
        grown = 1 - left / timedelta(days=365)
        level = by_day * by_week * grown * spike * customer.size / 3
        for meter, mean in _METERS:
            if meter == "seats" and customer.plan != "scale":
                continue
            whole, rest = divmod(level * (2 if meter == "api_requests" else 1), 1)
            for _ in range(int(whole) + (self._random.random() < rest)):
                second = timedelta(seconds=self._random.randrange(3600))
                yield self._event(customer, meter, mean=mean * part, moment=hour + second)

    def _live_event(self, moment: datetime) -> Event:
        active = [each for each in CUSTOMERS if each.name != SILENT]
        customer = self._random.choices(active, [each.size for each in active])[0]
        meter, mean = self._random.choices(_METERS[:3], (8, 1, 3))[0]
        ago = timedelta(milliseconds=self._random.randrange(20_000))
        return self._event(customer, meter, mean=mean * _LIVE_PART, moment=moment - ago)

    def _event(self, customer: Customer, meter: str, *, mean: float, moment: datetime) -> Event:
        self._serial += 1
        quantity = mean * customer.size * (0.6 + 0.8 * self._random.random())
        return {
            "id": f"made-{self._serial}",
            "customer_id": customer.name,
            "meter": meter,
            "quantity": f"{quantity:.2f}",
            "occurred_at": moment.isoformat(),
            "dimensions": {"region": self._random.choice(_REGIONS)},
        }

"""Catalog folders for tests: meters, and whatever else a test writes beside them."""

from pathlib import Path

import pytest

from metering import rfc3339
from metering.errors import SettingsInvalid
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book

METERS = """meters:
- {key: requests, unit: request, aggregation: sum, group_by: [region]}
- {key: storage, unit: GB, aggregation: max}
- {key: seats, unit: seat, aggregation: latest}
- {key: credits, unit: credit, aggregation: sum, allow_negative: true}
"""
PLANS = """plans:
- key: growth
  currency: USD
  versions:
  - version: 1
    effective_from: 2026-01-01T00:00:00Z
    charges:
    - {meter: requests, allowance: "1000", price: {model: per_unit, unit_price: "0.001"}}
  - version: 2
    effective_from: 2026-04-16T00:00:00Z
    base_fee: "30"
    charges:
    - {meter: requests, allowance: "1000", price: {model: per_unit, unit_price: "0.002"}}
    - {meter: storage, price: {model: per_unit, unit_price: "1"}}
- key: euro
  currency: EUR
  period: {anchor_day: 15, time_zone: Europe/Berlin}
  versions:
  - {version: 1, effective_from: 2026-01-01T00:00:00Z, base_fee: "10"}
"""
SUBSCRIPTIONS = """subscriptions:
- {id: s1, customer_id: a, plan: growth, from: 2026-01-01T00:00:00Z}
"""


def write(folder: Path, **files: str) -> Path:
    """Write `meters.yaml`, `plans.yaml` and what a test names; `x_csv` is `x.csv`."""
    for name, text in {"meters": METERS, "plans": PLANS, **files}.items():
        stem, _, ending = name.partition("_")
        (folder / f"{stem}.{ending or 'yaml'}").write_text(text, encoding="utf-8")
    return folder


def book(folder: Path, **files: str) -> PriceBook:
    """Write and load."""
    return load_price_book(write(folder, **files))


def faults(folder: Path, **files: str) -> list[str]:
    """Every fault, with places relative to the folder."""
    with pytest.raises(SettingsInvalid) as raised:
        load_price_book(write(folder, **files))
    return [fault.replace(f"{folder}/", "") for fault in raised.value.faults]


def microseconds(text: str) -> int:
    """Unix microseconds of `2026-04-16` or of a whole RFC 3339 time."""
    found = rfc3339.microseconds(text if "T" in text else f"{text}T00:00:00Z")
    assert found is not None, text
    return found

"""Parts that share one allowance, event by event, beside the sum that anybody would do by hand."""

import json
from collections import defaultdict
from pathlib import Path
from random import Random

import numpy as np
import pytest
from catalogs import microseconds
from test_rated_stream import Store

from dataflows import pricing
from dataflows.catalog_watch import rating_of
from dataflows.ledger import Ledger
from dataflows.rating_columns import numbers_of
from metering.batch import RawBatch, Source
from metering.decode import Decoder
from metering.settings import load_settings
from rating_engine.price_book.load import load_price_book

ALLOWANCE = 20
BORDERS, PRICES = (1, 8, 15), (1, 2, 5)
Q = 10**12


def _catalog(folder: Path) -> None:
    (folder / "meters.yaml").write_text("meters:\n- {key: m, unit: u, aggregation: sum}\n")
    versions = "".join(
        f"""
  - version: {number}
    effective_from: 2026-03-{day:02d}T00:00:00Z
    charges:
    - {{meter: m, allowance: "{ALLOWANCE}", price: {{model: per_unit, unit_price: "{price}"}}}}"""
        for number, (day, price) in enumerate(zip(BORDERS, PRICES, strict=True), start=1)
    )
    (folder / "plans.yaml").write_text(
        f"plans:\n- key: a\n  currency: USD\n  prorate_allowance: false\n  versions:{versions}\n"
    )
    rows = [
        f"- {{id: s{n}, customer_id: c{n}, plan: a, from: 2026-03-01T00:00:00Z}}\n"
        for n in range(6)
    ]
    (folder / "subscriptions.yaml").write_text("subscriptions:\n" + "".join(rows))


def _figures(values: list[int]) -> tuple[int, int, int]:
    """Included and overage, in 10^-12 units, and charge, in 10^-24; what one part uses is gone."""
    included = overage = charge = 0
    for value, price in zip(values, PRICES, strict=True):
        free = min(value, ALLOWANCE - included)
        included += free
        overage += value - free
        charge += (value - free) * price
    return included * Q, overage * Q, charge * Q * Q


@pytest.mark.parametrize("seed", range(12))
def test_what_one_part_used_is_missing_in_the_later_ones_whatever_comes_when(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:  # what is remembered is soon forgotten
        monkeypatch.setattr(pricing, "KEPT_MAX", 3)
    _catalog(tmp_path)
    book, store, random = load_price_book(tmp_path), Store(), Random(seed)
    ledger = Ledger(book.catalog, store, units_max=10, rating=rating_of(book))
    decoder, record_ms = Decoder(book.catalog, load_settings()), microseconds("2026-04-01") // 1000
    values: dict[str, list[int]] = defaultdict(lambda: [0] * len(BORDERS))
    offset = early = 0
    while offset < 800:
        used = []
        for _ in range(random.randint(1, 12)):
            part = random.choices(range(3), [0.05, 0.05, 0.9])[0]
            early += part < 2
            used.append((f"c{random.randrange(6)}", part, random.randint(0, 2)))
        messages: list[bytes | None] = [
            json.dumps(
                {
                    "id": f"e{offset + at}", "customer_id": customer, "meter": "m",
                    "quantity": str(quantity),
                    "occurred_at": f"2026-03-{BORDERS[part]:02d}T09:00:00Z",
                }
            ).encode()
            for at, (customer, part, quantity) in enumerate(used)
        ]  # fmt: skip
        end = offset + len(used)
        raw = RawBatch(
            Source("s", 0, 1), list(range(offset, end)), [record_ms] * len(used), messages,
            offset, end,
        )  # fmt: skip
        yes = np.ones(len(used), np.bool_)
        plan = ledger.load(decoder.decode(raw))
        rated = ledger.apply(plan, np.arange(len(used)), late=~yes, counted=yes).rated
        assert rated is not None
        columns = map(numbers_of, (rated.included, rated.overage, rated.charge))
        for (customer, part, quantity), got in zip(used, zip(*columns, strict=True), strict=True):
            before = _figures(values[customer])
            values[customer][part] += quantity
            after = _figures(values[customer])
            assert got == tuple(new - old for new, old in zip(after, before, strict=True))
        if random.random() < 0.2:
            number, totals = ledger.cut()
            for found in totals.values():
                store.take(found, end - 1)
            ledger.settle(number)
        offset = end
    assert early > 40

"""Parts of a batch's events, found for all at once, beside the price book's answer for each."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from catalogs import microseconds

from dataflows import parts
from dataflows.parts import CustomerParts
from dataflows.pricing import SPLIT, Pricing
from metering.batch import EventBatch, RawBatch, Source
from metering.decode import Decoder
from metering.settings import load_settings
from rating_engine.price_book.load import load_price_book

CATALOG = {
    "meters.yaml": """
meters:
- {key: m, unit: u, aggregation: sum}
- {key: n, unit: u, aggregation: sum}
- {key: free, unit: u, aggregation: sum}
""",
    # m changes on the 10th and the 20th, n on the 20th; c1 has no subscription
    "plans.yaml": """
plans:
- key: a
  currency: USD
  versions:
  - version: 1
    effective_from: 2026-03-01T00:00:00Z
    charges:
    - {meter: m, price: {model: per_unit, unit_price: "1"}}
    - {meter: n, price: {model: per_unit, unit_price: "1"}}
  - version: 2
    effective_from: 2026-03-10T00:00:00Z
    charges:
    - {meter: m, price: {model: per_unit, unit_price: "2"}}
    - {meter: n, price: {model: per_unit, unit_price: "1"}}
  - version: 3
    effective_from: 2026-03-20T12:30:00Z
    charges:
    - {meter: m, price: {model: per_unit, unit_price: "3"}}
    - {meter: n, price: {model: per_unit, unit_price: "3"}}
""",
    "subscriptions.yaml": "subscriptions:\n"
    + "".join(
        f"- {{id: s{n}, customer_id: c{n}, plan: a, from: 2026-03-01T00:00:00Z}}\n"
        for n in range(12)
        if n != 1
    ),
}


def _batches(folder: Path, random: Random) -> tuple[Pricing, list[EventBatch]]:
    for name, text in CATALOG.items():
        (folder / name).write_text(text)
    book = load_price_book(folder)
    decoder, record_ms = Decoder(book.catalog, load_settings()), microseconds("2026-07-01") // 1000
    found = []
    for first in range(0, 1200, 40):
        # more and more customers
        customers = random.choices(range(1 + first // 100), k=40)
        messages: list[bytes | None] = [
            json.dumps(
                {
                    "id": f"e{first + number}", "customer_id": f"c{customer}", "quantity": 1,
                    "meter": random.choice(["m", "n", "free"]),
                    "occurred_at": f"2026-{random.randint(3, 4):02d}-{random.randint(1, 30):02d}"
                    f"T{random.randint(0, 23):02d}:{random.randint(0, 59):02d}:00Z",
                }
            ).encode()
            for number, customer in enumerate(customers)
        ]  # fmt: skip
        raw = RawBatch(
            Source("s", 0, 1), list(range(first, first + 40)), [record_ms] * 40, messages,
            first, first + 40,
        )  # fmt: skip
        found.append(decoder.decode(raw))
        assert len(found[-1]) == 40, found[-1].rejections
    return Pricing(book), found


@pytest.mark.parametrize("seed", [61, 62])
@pytest.mark.parametrize("split_max", [0, 7, parts._SPLIT_MAX])
def test_parts_found_at_once_are_those_of_each_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, split_max: int, seed: int
) -> None:
    monkeypatch.setattr(parts, "_SPLIT_MAX", split_max)
    pricing, batches = _batches(tmp_path, Random(seed))
    held, splits = CustomerParts(pricing), 0
    numbers: dict[str, int] = {}
    for batch in batches:
        texts = batch.texts("customer_id", np.arange(len(batch)))
        customers = [numbers.setdefault(text, len(numbers)) for text in texts]
        found = held.find(batch, np.array(customers, np.int32))
        rows = zip(found.starts, found.ends, found.periods, found.prices, strict=True)
        for row, text, code, second in zip(
            rows, texts, batch.codes.tolist(), (batch.occurred_us // 1_000_000).tolist(),
            strict=True,
        ):  # fmt: skip
            expected = pricing.part_at(text, second)
            if expected.price == SPLIT:
                splits += 1
                meter = batch.series[code][0]
                expected = pricing.meter_part(text, meter, second=second)
            assert tuple(map(int, row)) == expected
    assert splits > 300

"""What rating keeps beside the ledger: chains in flight, billing periods, rebuilt values."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pyarrow as pa
from catalogs import microseconds
from test_rated_stream import Store

from dataflows.catalog_watch import rating_of
from dataflows.ledger import Ledger, LedgerPlan
from dataflows.pricing import Pricing
from dataflows.rating_columns import numbers_of
from metering.batch import RawBatch, Source
from metering.decode import Decoder
from metering.identity import identity_seed
from metering.settings import load_settings
from metering.value_identity import value_identity
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from rating_engine.price_book.stored_rows import period_columns
from sinks.dedup_rebuild import _Restorer
from sinks.rating_tables import period_table

METERS = """
meters:
- {key: m, unit: u, aggregation: sum}
- {key: users, unit: u, aggregation: unique_count, counted_dimension: user}
"""
PLANS = """
plans:
- key: a
  currency: USD
  prorate_allowance: false
  versions:
  - version: 1
    effective_from: 2026-03-01T00:00:00Z
    charges:
    - {meter: m, allowance: "20", price: {model: per_unit, unit_price: "1"}}
  - version: 2
    effective_from: 2026-03-10T00:00:00Z
    charges:
    - {meter: m, allowance: "20", price: {model: per_unit, unit_price: "2"}}
"""
Q = 10**12


def _book(folder: Path, plans: str = PLANS) -> PriceBook:
    (folder / "meters.yaml").write_text(METERS)
    (folder / "plans.yaml").write_text(plans)
    rows = [
        f"- {{id: s{n}, customer_id: c{n}, plan: a, from: 2026-03-01T00:00:00Z}}\n"
        for n in range(10)
    ]
    (folder / "subscriptions.yaml").write_text("subscriptions:\n" + "".join(rows))
    return load_price_book(folder)


class _Flow:
    """A ledger with prices, and batches of one event for each customer."""

    def __init__(self, book: PriceBook, store: Store, units_max: int) -> None:
        self.ledger = Ledger(book.catalog, store, units_max=units_max, rating=rating_of(book))
        self._decoder = Decoder(book.catalog, load_settings())

    def load(self, first: int, used: Mapping[str, int], day: int) -> LedgerPlan:
        messages: list[bytes | None] = [
            json.dumps(
                {
                    "id": f"e{first}-{customer}", "customer_id": customer, "meter": "m",
                    "quantity": str(quantity), "occurred_at": f"2026-03-{day:02d}T00:00:00Z",
                }
            ).encode()
            for customer, quantity in used.items()
        ]  # fmt: skip
        end = first + len(messages)
        record_ms = [microseconds("2026-04-01") // 1000] * len(messages)
        raw = RawBatch(Source("s", 0, 1), list(range(first, end)), record_ms, messages, first, end)
        batch = self._decoder.decode(raw)
        assert len(batch) == len(messages), batch.rejections
        return self.ledger.load(batch)

    def charges(self, plan: LedgerPlan) -> list[int]:
        count = len(plan.batch)
        yes = np.ones(count, np.bool_)
        rated = self.ledger.apply(plan, np.arange(count), late=~yes, counted=yes).rated
        assert rated is not None
        return numbers_of(rated.charge)


def test_a_batch_in_flight_is_rated_by_its_chains_after_units_were_forgotten(
    tmp_path: Path,
) -> None:
    store = Store()
    flow = _Flow(_book(tmp_path), store, units_max=3)
    flow.charges(flow.load(0, {f"c{n}": 15 for n in range(8)}, day=5))
    number, totals = flow.ledger.cut()
    for found in totals.values():
        store.take(found, 7)
    in_flight = flow.load(8, {"c7": 8, "c9": 21}, day=12)
    flow.ledger.settle(number)
    assert flow.ledger.unit_count < 8
    # c7 has 5 units of its allowance left, c9 all 20
    assert flow.charges(in_flight) == [3 * 2 * Q**2, 1 * 2 * Q**2]


def test_what_an_early_part_uses_counts_though_the_last_one_was_held_before_it_did(
    tmp_path: Path,
) -> None:
    flow = _Flow(_book(tmp_path), Store(), units_max=99)
    early = flow.load(0, {"c0": 15, "c1": 25}, day=5)
    late = flow.load(2, {"c0": 8, "c1": 8, "c2": 8}, day=12)
    assert flow.charges(early) == [0, 5 * 1 * Q**2]
    # c0 has 5 units of its allowance left, c1 none, c2 all 20
    assert flow.charges(late) == [3 * 2 * Q**2, 8 * 2 * Q**2, 0]
    # and what comes late raises what the last part costs
    assert flow.charges(flow.load(5, {"c2": 13}, day=6)) == [1 * 2 * Q**2]


def test_customers_of_one_plan_share_what_rates_their_parts(tmp_path: Path) -> None:
    pricing = Pricing(_book(tmp_path))
    start = microseconds("2026-03-10") // 1_000_000
    one, other = (pricing.chain(customer, "m", start=start) for customer in ("c0", "c1"))
    assert one is other
    assert one.rater('{"region":"eu"}') is one.rater('{"region":"us"}')


def test_an_hour_that_was_written_before_a_part_began_in_it_is_not_counted_again(
    tmp_path: Path,
) -> None:
    store = Store()

    def load(version_2: str) -> LedgerPlan:
        (tmp_path / version_2[:10]).mkdir()
        plans = PLANS.replace("2026-03-10T00:00:00Z", version_2)
        book = _book(tmp_path / version_2[:10], plans)
        ledger = Ledger(book.catalog, store, units_max=99, rating=rating_of(book))
        messages: list[bytes | None] = [
            json.dumps(
                {
                    "id": f"e{minute}", "customer_id": "c0", "meter": "m", "quantity": "3",
                    "occurred_at": f"2026-03-10T10:{minute}:00Z",
                }
            ).encode()
            for minute in (20, 30, 40)
        ]  # fmt: skip
        record_ms = [microseconds("2026-04-01") // 1000] * 3
        raw = RawBatch(Source("s", 0, 1), [5, 6, 7], record_ms, messages, 5, 8)
        plan = ledger.load(Decoder(book.catalog, load_settings()).decode(raw))
        ledger.apply(plan, np.arange(3), late=np.zeros(3, np.bool_), counted=np.ones(3, np.bool_))
        for found in ledger.cut()[1].values():
            store.take(found, 6)  # the last event is of the next flush
        return plan

    assert load("2026-03-20T00:00:00Z").absorbed is None
    # the plan's price changes at half past, as is known now
    absorbed = load("2026-03-10T10:30:00Z").absorbed
    assert absorbed is not None
    assert absorbed.tolist() == [True, True, False]


def test_a_billing_period_names_its_own_customers_subscription(tmp_path: Path) -> None:
    pricing = Pricing(_book(tmp_path))
    for customer in ("c0", "c1", "c2"):
        pricing.part_at(customer, microseconds("2026-04-03") // 1_000_000)
    found = period_table(period_columns(pricing.take_billed()), updated_at=datetime.now(UTC))
    assert found is not None
    assert found.column("subscription").to_pylist() == ["s0", "s1", "s2"]


def test_a_rebuild_claims_a_distinct_value_for_the_part_it_was_counted_in(tmp_path: Path) -> None:
    book, settings = _book(tmp_path), load_settings()
    part = microseconds("2026-03-10") // 1_000_000
    rows = pa.table(
        {
            "customer_id": ["c1"], "meter": ["users"], "group": ["{}"],
            "dimensions": ['{"user":"u"}'], "part": pa.array([part], pa.int64()),
        }
    )  # fmt: skip
    restorer = _Restorer(MagicMock(), book.catalog, settings, generations=(0, 1))
    seed = identity_seed(settings.identity_key.get_secret_value())
    expected = value_identity(seed, ("c1", "users", "{}", part, "u"))
    assert restorer._value_identities(rows) == [expected]

"""A partition that goes from worker to worker: few queries, and every event counts once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from catalogs import microseconds
from test_totals_ahead import Counting

from dataflows.catalog_watch import rating_of
from dataflows.ledger import Ledger
from dataflows.totals_ahead import AheadLimits
from metering.batch import RawBatch, Source
from metering.decode import Decoder
from metering.settings import load_settings
from rating_engine.price_book.load import load_price_book

METERS = "meters:\n" + "".join(
    f"- {{key: m_{how}, unit: u, aggregation: {how}}}\n" for how in ("sum", "max", "latest")
)

PLANS = "plans:\n- key: a\n  currency: USD\n  prorate_allowance: false\n  versions:" + "".join(
    f"""
  - version: {day}
    effective_from: 2026-03-{day:02d}T00:00:00Z
    charges:
    - {{meter: m_sum, allowance: "2", price: {{model: per_unit, unit_price: "{day}"}}}}"""
    for day in (1, 3)
)
SUBSCRIPTIONS = "subscriptions:\n" + "".join(
    f"- {{id: s{n}, customer_id: c{n}, plan: a, from: 2026-03-01T00:00:00Z}}\n" for n in range(10)
)


class Live:
    """A partition that goes from worker to worker."""

    def __init__(self, folder: Path, **limits: int) -> None:
        for name, text in (
            ("meters", METERS), ("plans", PLANS), ("subscriptions", SUBSCRIPTIONS)
        ):  # fmt: skip
            (folder / f"{name}.yaml").write_text(text)
        self.book = load_price_book(folder)
        self.store = Counting()
        self._limits = AheadLimits(**limits)
        self._decoder = Decoder(self.book.catalog, load_settings())
        self._next = self._generation = 0
        self.hand_over()

    def hand_over(self, *, units_max: int = 10_000) -> None:
        """Another worker takes the partition over; nobody has written in vain."""
        self._generation += 1
        self.ledger = Ledger(
            self.book.catalog, self.store, units_max=units_max, rating=rating_of(self.book)
        )
        self.ledger.ahead_limits = self._limits

    def move(self) -> None:
        """The same worker gets it again."""
        self._generation += 1
        self.ledger.forget("s", 0)

    def take(self, customers: range, *, quantity: int = 1, minute: int = 5) -> None:
        """An event of each meter of each customer, counted and made durable."""
        messages: list[bytes | None] = [
            json.dumps(
                {
                    "id": f"e{self._next}-{customer}-{meter}", "customer_id": f"c{customer}",
                    "meter": meter, "quantity": quantity,
                    "occurred_at": f"2026-03-05T10:{minute:02d}:00Z",
                }
            ).encode()
            for customer in customers
            for meter in ("m_sum", "m_max", "m_latest")
        ]  # fmt: skip
        first, self._next = self._next, self._next + len(messages)
        record_ms = microseconds("2026-03-05T10:30:00Z") // 1000
        batch = self._decoder.decode(
            RawBatch(
                Source("s", 0, self._generation), list(range(first, self._next)),
                [record_ms] * len(messages), messages, first, self._next,
            )
        )  # fmt: skip
        plan, every = self.ledger.load(batch), np.arange(len(batch))
        yes = np.ones(len(batch), np.bool_)
        self.ledger.apply(plan, every, late=~yes, counted=yes)
        number, totals = self.ledger.cut()
        for found in totals.values():
            self.store.take(found, self._next - 1)
        self.ledger.settle(number)

    def sums(self) -> set[int]:
        """Different totals of `m_sum`."""
        return {row.units for key, (row, _) in self.store.rows.items() if key[1] == "m_sum"}


def test_a_partition_that_was_handed_over_is_read_in_a_few_queries(tmp_path: Path) -> None:
    live = Live(tmp_path)
    live.take(range(500))
    live.hand_over()
    for first in range(0, 500, 10):
        live.take(range(first, first + 10), quantity=2)
    assert live.sums() == {3 * 10**12}
    assert len(live.store.unit_queries) == 8, "until 256 units were asked for"
    assert len(live.store.fold_queries) == 1
    assert live.store.window_queries == 7, "the last of the unit queries was for a chain"
    assert live.ledger.rows_ahead == 1500
    live.move()
    assert live.ledger.rows_ahead == 0


def test_an_assignment_knows_nothing_of_what_an_earlier_one_read(tmp_path: Path) -> None:
    live = Live(tmp_path, keys_min=1)
    live.take(range(20))
    live.hand_over()
    live.take(range(1))
    mine = live.ledger
    live.hand_over()
    live.take(range(20))
    live.ledger = mine
    live.move()
    live.take(range(20))
    assert live.sums() == {3 * 10**12, 4 * 10**12}
    assert len(live.store.fold_queries) == 3


def test_what_a_worker_held_and_forgot_is_read_anew(tmp_path: Path) -> None:
    live = Live(tmp_path, keys_min=1)
    live.take(range(20))
    live.hand_over(units_max=12)
    for _ in range(3):
        for first in range(0, 20, 2):
            live.take(range(first, first + 2))
    assert live.sums() == {4 * 10**12}
    assert live.store.unit_queries == []
    assert len(live.store.fold_queries) > 3

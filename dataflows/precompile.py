"""Compiles everything that is compiled, so that no worker waits for it: part of an installation.

`python -m dataflows.precompile` runs the compiled steps once, on two events.
"""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from dataflows.ledger import Ledger
from dataflows.rating import Rating
from metering.batch import EventBatch, RawBatch, Source
from metering.claim_packing import pack_claims
from metering.claims import Claims
from metering.compiled import forget_older
from metering.decode import Decoder
from metering.settings import load_settings
from metering.totals import PlacedKey, StoredPartition, StoredUnit, StoredWindow, UnitKey
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book

_EVENT = (
    b'{"id":"%d","customer_id":"c","meter":"api_requests","quantity":1.5,'
    b'"occurred_at":"2026-01-01T00:00:00.5Z","dimensions":{"a":"b"}}'
)
_RECORD_MS = 1_767_225_600_500


_METERS = "meters: [{key: api_requests, unit: request, aggregation: sum}]"
_PLANS = """
plans:
- key: p
  currency: USD
  versions:
  - version: 1
    effective_from: 2020-01-01T00:00:00Z
    charges: [{meter: api_requests, price: {model: per_unit, unit_price: "1"}}]
"""
_SUBSCRIPTIONS = """
subscriptions: [{id: s, customer_id: c, plan: p, from: 2020-01-01T00:00:00Z}]
"""


class _Nothing:
    """A store of totals that holds none."""

    def partition(self, _stream: str, _partition: int) -> StoredPartition:
        return StoredPartition(-1, -1)

    def units(self, _stream: str, _partition: int, _keys: object) -> dict[UnitKey, StoredUnit]:
        return {}

    def folds(
        self, _stream: str, _partition: int, *, since: int, recent: int, rows_max: int
    ) -> None:
        del since, recent, rows_max

    def windows(self, _stream: str, _keys: object) -> dict[PlacedKey, StoredWindow]:
        return {}


def precompile() -> None:
    """Decode, fold, rate, cut and forget."""
    book = _book()
    catalog = book.catalog
    settings = load_settings(future_tolerance=timedelta(minutes=5))
    source = Source("precompile", 0, 1)
    batch = Decoder(catalog, settings).decode(
        RawBatch(source, [0, 1], [_RECORD_MS] * 2, [_EVENT % 0, _EVENT % 1], 0, 2)
    )
    assert len(batch) == len(batch.identities) == 2, "plain events are read"  # noqa: PLR2004
    for rating in (None, Rating(book)):
        _account(Ledger(catalog, _Nothing(), units_max=1, rating=rating), batch)


def _book() -> PriceBook:
    with TemporaryDirectory() as name:
        for file, text in (
            ("meters", _METERS), ("plans", _PLANS), ("subscriptions", _SUBSCRIPTIONS)
        ):  # fmt: skip
            (Path(name) / f"{file}.yaml").write_text(text, encoding="utf-8")
        return load_price_book(Path(name))


def _account(ledger: Ledger, batch: EventBatch) -> None:
    plan = ledger.load(batch)
    every, each = np.arange(len(batch)), np.ones(len(batch), np.bool_)
    ledger.apply(plan, every, late=~each, counted=each)
    ledger.close()
    number, totals = ledger.cut()
    assert len(totals[batch.source]) == 1, "both are in one window"
    plan.part.forget_windows(number, plan.part.pinned([]), most=1)
    plan.part.table.lacking(plan.units, plan.windows, until=0, created=0)
    plan.part.table.restore_window(0, 0, stored=None, flush=number)
    plan.part.keep(~plan.part.table.settled(number, plan.part.pinned([])))
    plan.part.table.customers(pa.array([str(number) for number in range(10_000)]))
    identities, offsets = batch.identities[every], batch.offsets[every]
    pack_claims(
        Claims(batch.source, identities, offsets, batch.indexes, batch.digests[every], _RECORD_MS),
        shards=1, buckets=1,
    )  # fmt: skip


if __name__ == "__main__":
    precompile()
    forget_older()

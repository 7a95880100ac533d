"""Compiles everything that is compiled, so that no worker waits for it: part of an installation.

`python -m dataflows.precompile` runs the compiled steps once, on two events.
"""

from datetime import timedelta

import numpy as np
import pyarrow as pa

from dataflows.ledger import Ledger
from metering.batch import RawBatch, Source
from metering.catalog import Aggregation, Catalog, Meter
from metering.claim_packing import pack_claims
from metering.claims import Claims
from metering.compiled import forget_older
from metering.decode import Decoder
from metering.settings import load_settings
from metering.totals import StoredPartition, StoredUnit, StoredWindow, UnitKey, WindowKey

_METER = Meter("api_requests", "request", Aggregation.SUM)
_EVENT = (
    b'{"id":"%d","customer_id":"c","meter":"api_requests","quantity":1.5,'
    b'"occurred_at":"2026-01-01T00:00:00.5Z","dimensions":{"a":"b"}}'
)
_RECORD_MS = 1_767_225_600_500


class _Nothing:
    """A store of totals that holds none."""

    def partition(self, _stream: str, _partition: int) -> StoredPartition:
        return StoredPartition(-1, -1)

    def units(self, _stream: str, _partition: int, _keys: object) -> dict[UnitKey, StoredUnit]:
        return {}

    def windows(
        self, _stream: str, _partition: int, _keys: object
    ) -> dict[WindowKey, StoredWindow]:
        return {}


def precompile() -> None:
    """Decode, fold, cut and forget."""
    catalog = Catalog({_METER.key: _METER})
    settings = load_settings(future_tolerance=timedelta(minutes=5))
    ledger = Ledger(catalog, _Nothing(), units_max=1)
    source = Source("precompile", 0, 1)
    batch = Decoder(catalog, settings).decode(
        RawBatch(source, [0, 1], [_RECORD_MS] * 2, [_EVENT % 0, _EVENT % 1], 0, 2)
    )
    assert len(batch) == len(batch.identities) == 2, "plain events are read"  # noqa: PLR2004
    plan = ledger.load(batch)
    every, each = np.arange(len(batch)), np.ones(len(batch), np.bool_)
    ledger.apply(plan, every, late=~each, counted=each)
    number, totals = ledger.cut()
    assert len(totals[source]) == 1, "both are in one window"
    plan.part.forget_windows(number, plan.part.pinned([]))
    plan.part.table.lacking(plan.units, plan.windows, until=0, created=0)
    plan.part.table.restore_window(0, 0, stored=None, flush=number)
    plan.part.keep(~plan.part.table.settled(number, plan.part.pinned([])))
    plan.part.table.customers(pa.array([str(number) for number in range(10_000)]))
    identities, offsets = batch.identities[every], batch.offsets[every]
    pack_claims(
        Claims(source, identities, offsets, batch.indexes, batch.digests[every], _RECORD_MS),
        shards=1, buckets=1,
    )  # fmt: skip


if __name__ == "__main__":
    precompile()
    forget_older()

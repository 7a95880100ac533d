"""Claims again, in Redis, what raw history holds; streams block by block, restartable."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import redis
from clickhouse_connect.driver.client import Client
from numpy.typing import NDArray

from metering.batch import Source
from metering.catalog import Catalog
from metering.claim_packing import pack_claims, shard_of
from metering.claims import Claims
from metering.errors import DependencyDown
from metering.identity import identity_seed
from metering.period import period_starts
from metering.settings import Settings
from metering.value_identity import value_identity
from sinks.clickhouse import clickhouse_errors
from sinks.dedup_connection import redis_errors
from sinks.dedup_memory import CLAIMS_PER_CALL, MemoryLayout, script_text

_SELECT = """
SELECT identity, stream, partition, offset, `index`, digest, record_time, customer_id, meter,
       `group`, dimensions, occurred_at, counted
FROM usage_events FINAL
WHERE {condition}
"""


def restore_from_raw(
    server: "redis.Redis[bytes]", client: Client, layout: MemoryLayout, settings: Settings,
    catalog: Catalog, token: str, *, whole: bool, keep_lock: Callable[[], None],
) -> int:  # fmt: skip
    """Claim what is in raw: the two newest generations, or only the recent tail.

    The generation of an event is that of its record timestamp. Returns how many identities were
    claimed. Raises `DependencyDown`.
    """
    newest = _newest_window(server, client, layout)
    restorer = _Restorer(server, layout, catalog, settings, token, newest)
    if whole:
        with redis_errors("laying the dedup memory out"):
            for shard in range(layout.shards):
                state = {"newest": newest, "since": max(newest - 1, 0)}
                server.hset(layout.state_key(shard), mapping=state)
        begin = datetime.fromtimestamp((newest - 1) * layout.window_ms / 1000, UTC)
        condition, since = "record_time >= %(since)s", begin
    else:
        condition, since = "ingested_at >= %(since)s", datetime.now(UTC) - settings.dedup_tail
    count = 0
    with clickhouse_errors("reading raw history to rebuild the dedup memory"):
        with client.query_arrow_stream(
            _SELECT.format(condition=condition), parameters={"since": since.replace(tzinfo=None)},
            use_strings=True,
        ) as stream:  # fmt: skip
            for block in stream:
                count += restorer.restore(block)
                keep_lock()
    return count


class _Restorer:
    def __init__(
        self, server: "redis.Redis[bytes]", layout: MemoryLayout, catalog: Catalog,
        settings: Settings, token: str, newest: int,
    ) -> None:  # fmt: skip
        self._server = server
        self._layout = layout
        self._token = token
        self._newest = newest
        self._seed = identity_seed(settings.identity_key.get_secret_value())
        self._dimensions = {
            meter.key: meter.counted_dimension
            for meter in catalog.meters.values()
            if meter.counted_dimension is not None
        }
        self._script: Any = server.register_script(script_text("dedup_restore.lua"))

    def restore(self, block: pa.RecordBatch | pa.Table) -> int:
        table = pa.Table.from_batches([block]) if isinstance(block, pa.RecordBatch) else block
        streams = table.column("stream").cast(pa.string())
        for stream in pc.unique(streams).to_pylist():
            of_stream = table.filter(pc.equal(streams, stream))
            partitions = of_stream.column("partition")
            for partition in pc.unique(partitions).to_pylist():
                rows = of_stream.filter(pc.equal(partitions, partition))
                self._restore_rows(Source(stream, partition, 0), rows)
        return table.num_rows

    def _restore_rows(self, source: Source, rows: pa.Table) -> None:
        raw = b"".join(rows.column("identity").to_pylist())
        self._send(source, rows, np.frombuffer(raw, np.uint64).reshape(-1, 2),
                   _numbers(rows, "digest").astype(np.uint32))  # fmt: skip
        if not self._dimensions:
            return
        mask = [
            meter in self._dimensions and counted
            for meter, counted in zip(
                rows.column("meter").to_pylist(), rows.column("counted").to_pylist(), strict=True
            )
        ]
        valued = rows.filter(pa.array(mask))
        if valued.num_rows:
            identities = b"".join(self._value_identities(valued))
            words = np.frombuffer(identities, np.uint64).reshape(-1, 2)
            self._send(source, valued, words, np.zeros(len(words), np.uint32))

    def _value_identities(self, rows: pa.Table) -> list[bytes]:
        occurred = rows.column("occurred_at").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        periods = period_starts(occurred.combine_chunks().to_numpy(zero_copy_only=False)).tolist()
        names = ("customer_id", "meter", "group", "dimensions")
        columns = [rows.column(name).to_pylist() for name in names]
        return [
            value_identity(
                self._seed, customer, meter, group, period,
                orjson.loads(dimensions)[self._dimensions[meter]],
            )
            for customer, meter, group, dimensions, period in zip(*columns, periods, strict=True)
        ]  # fmt: skip

    def _send(
        self, source: Source, rows: pa.Table, identities: NDArray[np.uint64],
        digests: NDArray[np.uint32],
    ) -> None:  # fmt: skip
        record_ms = rows.column("record_time").cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64())
        windows = record_ms.combine_chunks().to_numpy(zero_copy_only=False) // self._layout.window_ms
        windows = np.clip(windows, max(self._newest - 1, 0), self._newest)
        claims = Claims(
            source, identities, _numbers(rows, "offset"), _numbers(rows, "index"), digests, 0
        )
        packed = pack_claims(claims, shards=self._layout.shards, buckets=self._layout.buckets)
        shards = shard_of(identities, shards=self._layout.shards)
        with redis_errors("claiming identities from raw history"):
            pipe = self._server.pipeline(transaction=False)
            for shard in range(self._layout.shards):
                for window in np.unique(windows).tolist():
                    order = np.flatnonzero((shards == shard) & (windows == window))
                    for at in range(0, len(order), CLAIMS_PER_CALL):
                        self._script(
                            keys=[self._layout.state_key(shard)],
                            args=[self._token, window,
                                  packed[order[at : at + CLAIMS_PER_CALL]].tobytes()],
                            client=pipe,
                        )  # fmt: skip
            if any(reply != b"K" for reply in pipe.execute()):
                msg = "another worker started to rebuild the dedup memory; starting again"
                raise DependencyDown(msg)


def _newest_window(
    server: "redis.Redis[bytes]", client: Client, layout: MemoryLayout
) -> int:
    with redis_errors("reading the newest generation"):
        held: Any = server.hget(layout.state_key(0), "newest")
    with clickhouse_errors("reading the newest record timestamp"):
        rows = client.query("SELECT max(toUnixTimestamp64Milli(record_time)) FROM usage_events")
    return max(int(held or 0), int(rows.result_rows[0][0]) // layout.window_ms)


def _numbers(rows: pa.Table, name: str) -> NDArray[np.int64]:
    column = rows.column(name).cast(pa.int64()).combine_chunks()
    return column.to_numpy(zero_copy_only=False)

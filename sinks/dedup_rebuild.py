"""Claims again, in Redis, what raw history holds; streams block by block, restartable."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client
from numpy.typing import NDArray

from metering.batch import Source
from metering.catalog import Catalog
from metering.claims import Claims
from metering.identity import identity_seed
from metering.settings import Settings
from metering.value_identity import value_identity
from sinks.clickhouse import clickhouse_errors
from sinks.dedup_rebuild_shards import RebuildShards

_SELECT = """
SELECT identity, stream, partition, offset, `index`, digest, record_time, customer_id, meter,
       `group`, dimensions, toInt64(toUnixTimestamp(part_start)) AS part,
       e.counted AND (customer_id, meter, identity) NOT IN
           (SELECT customer_id, meter, identity FROM retracted_events FINAL WHERE is_retracted)
           AS counted
FROM usage_events AS e FINAL
WHERE {condition}
"""


def restore_from_raw(
    shards: RebuildShards, client: Client, settings: Settings, catalog: Catalog, *,
    whole: bool, keep_lock: Callable[[int], None],
) -> int:  # fmt: skip
    """Claim what is in raw: the two newest generations, or only the recent tail.

    The generation of an event is that of its record timestamp. Returns how many identities were
    claimed; `keep_lock` hears of it after every block. Raises `DependencyDown`.
    """
    window_ms = shards.layout.window_ms
    newest = max(*shards.newest_windows(), newest_record_ms(client) // window_ms)
    # A memory that was kept may not look into an older generation: add to the newest.
    oldest = max(newest - 1, 0) if whole else newest
    restorer = _Restorer(shards, catalog, settings, generations=(oldest, newest))
    parameters: dict[str, Any] = {}
    if whole:
        shards.lay_out(newest=newest, since=max(newest - 1, 0))
        condition = "record_time >= %(since)s"
        since = datetime.fromtimestamp(max(newest - 1, 0) * window_ms / 1000, UTC)
        parameters["since"] = since.replace(tzinfo=None)
    else:
        # Nothing is written while Redis is away, so its last claims are at the end of raw.
        condition = "ingested_at >= (SELECT max(ingested_at) FROM usage_events) - %(tail)s"
        parameters["tail"] = int(settings.dedup_tail.total_seconds())
    count = 0
    query = _SELECT.format(condition=condition)
    with (
        clickhouse_errors("reading raw history to rebuild the dedup memory"),
        client.query_arrow_stream(query, parameters=parameters, use_strings=True) as stream,
    ):
        for block in stream:
            count += restorer.restore(block)
            keep_lock(count)
    return count


class _Restorer:
    def __init__(
        self, shards: RebuildShards, catalog: Catalog, settings: Settings, *,
        generations: tuple[int, int],
    ) -> None:  # fmt: skip
        """`generations` are the oldest and the newest that are written, by record timestamp."""
        self._shards = shards
        self._layout = shards.layout
        self._generations = generations
        self._seed = identity_seed(settings.identity_key.get_secret_value())
        self._dimensions = {
            meter.key: meter.counted_dimension
            for meter in catalog.meters.values()
            if meter.counted_dimension is not None
        }

    def restore(self, block: pa.RecordBatch | pa.Table) -> int:
        table = pa.Table.from_batches([block]) if isinstance(block, pa.RecordBatch) else block
        streams = table.column("stream").cast(pa.string())
        for stream in pc.unique(streams).to_pylist():
            of_stream = table.filter(pc.equal(streams, stream))
            partitions = of_stream.column("partition")
            for partition in pc.unique(partitions).to_pylist():
                rows = of_stream.filter(pc.equal(partitions, partition))
                self._restore_rows(Source(stream, partition, 0), rows)
        return int(table.num_rows)

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
        names = ("customer_id", "meter", "group", "dimensions", "part")
        columns = [rows.column(name).to_pylist() for name in names]
        return [
            value_identity(
                self._seed,
                (customer, meter, group, part, orjson.loads(text)[self._dimensions[meter]]),
            )
            for customer, meter, group, text, part in zip(*columns, strict=True)
        ]

    def _send(
        self, source: Source, rows: pa.Table, identities: NDArray[np.uint64],
        digests: NDArray[np.uint32],
    ) -> None:  # fmt: skip
        record_ms = rows.column("record_time").cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64())
        windows = (
            record_ms.combine_chunks().to_numpy(zero_copy_only=False) // self._layout.window_ms
        )
        windows = np.clip(windows, *self._generations)
        claims = Claims(
            source, identities, _numbers(rows, "offset"), _numbers(rows, "index"), digests, 0
        )
        self._shards.restore(claims, windows)


def newest_record_ms(client: Client) -> int:
    """Newest record timestamp in raw history, Unix milliseconds; 0 if there is none."""
    with clickhouse_errors("reading the newest record timestamp"):
        rows = client.query("SELECT max(toUnixTimestamp64Milli(record_time)) FROM usage_events")
    newest: int = rows.result_rows[0][0]
    return newest


def _numbers(rows: pa.Table, name: str) -> NDArray[np.int64]:
    column = rows.column(name).cast(pa.int64()).combine_chunks()
    numbers: NDArray[np.int64] = column.to_numpy(zero_copy_only=False)
    return numbers

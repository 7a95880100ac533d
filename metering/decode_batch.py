"""Columns and customers as the `EventBatch` that the rest of the flow works on."""

import numpy as np
import pyarrow as pa

from metering.batch import EVENT_SCHEMA, EventBatch
from metering.catalog import Aggregation, Catalog
from metering.decimals import units_of
from metering.decode_columns import DECIMAL, Columns
from metering.decode_entries import Entries
from metering.identity import identities, payload_digests
from metering.rejection import Suppression


def event_batch(
    columns: Columns,
    entries: Entries,
    customers: list[str],
    *,
    suppressions: list[Suppression],
    catalog: Catalog,
    seed: int,
) -> EventBatch:
    """The batch of `columns`, whose customers are `customers`; `seed` is the identities' seed."""
    raw = entries.batch
    count = len(columns)
    digested = identities(
        columns.customer_id,
        columns.subject,
        meters=columns.meter,
        event_ids=columns.identity_id,
        seed=seed,
    )
    words = np.ascontiguousarray(columns.words)
    quantity = pa.Array.from_buffers(DECIMAL, count, [None, pa.py_buffer(words)])
    digests = payload_digests(words[:, 0], words[:, 1], columns.hashes)
    offsets = np.array(raw.offsets, np.int64)[entries.rows[columns.position]]
    indexes = entries.indexes[columns.position]
    billable = np.ones(count, np.bool_)
    if catalog.disregarded:
        ignored = map(catalog.is_disregarded, [subject or "" for subject in columns.subject])
        billable = ~np.fromiter(ignored, np.bool_, count)
    arrays = {
        "identity": pa.Array.from_buffers(pa.binary(16), count, [None, pa.py_buffer(digested)]),
        "customer_id": pa.array(customers, pa.string())
        if None in columns.customer_id
        else columns.customer_texts,
        "meter": pa.array(columns.meter, pa.string()),
        "group": pa.array(columns.group, pa.string()),
        "id": columns.id_texts,
        "subject": columns.subject_texts,
        "quantity": quantity,
        "occurred_at": pa.array(columns.occurred_us).view(pa.timestamp("us", tz="UTC")),
        "dimensions": columns.dimensions_texts,
        "source": columns.source_texts,
        "batch_id": columns.batch_id_texts,
        "schema_version": columns.schema_version_texts,
        "offset": pa.array(offsets.view(np.uint64)),
        "index": pa.array(indexes.astype(np.uint16)),
        "record_time": pa.array(columns.record_ms).view(pa.timestamp("ms", tz="UTC")),
        "digest": pa.array(digests),
        "disregarded": pa.array(~billable),
    }
    counting = {
        key for key, meter in catalog.meters.items() if meter.aggregation is Aggregation.UNIQUE_COUNT
    }
    counts_values = not counting.isdisjoint(columns.meter)
    return EventBatch(
        source=raw.source,
        first_offset=raw.first_offset,
        next_offset=raw.next_offset,
        columns=pa.RecordBatch.from_arrays(list(arrays.values()), schema=EVENT_SCHEMA),
        customers=customers,
        meters=columns.meter,
        groups=columns.group,
        units=units_of(quantity),
        counted_values=columns.counted if counts_values else None,
        identities=np.frombuffer(digested, np.uint64).reshape(-1, 2),
        digests=digests,
        offsets=offsets,
        indexes=indexes,
        occurred_us=columns.occurred_us,
        record_ms=columns.record_ms,
        billable=billable,
        rejections=sorted(entries.rejections, key=lambda each: (each.offset, each.index)),
        suppressions=suppressions,
    )

"""Columns and customers as the `EventBatch` that the rest of the flow works on."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.batch import EVENT_SCHEMA, EventBatch
from metering.catalog import Aggregation, Catalog
from metering.decimals import units_of
from metering.decode_columns import DECIMAL, Columns
from metering.decode_entries import Entries
from metering.identity import payload_digests
from metering.rejection import Suppression


def event_batch(
    columns: Columns,
    customers: list[str],
    *,
    entries: Entries,
    suppressions: list[Suppression],
    catalog: Catalog,
) -> EventBatch:
    """Make the batch of `columns`, whose customers are `customers`."""
    raw = entries.batch
    digests = payload_digests(columns.words[:, 0], columns.words[:, 1], columns.hashes)
    offsets = np.array(raw.offsets, np.int64)[entries.rows[columns.position]]
    indexes = entries.indexes[columns.position]
    billable = _billable(columns, catalog)
    derived = {
        "identity": _fixed(columns.identity, pa.binary(16)),
        "customer_id": columns.customer_texts
        if None not in columns.customer_id
        else pa.array(customers, pa.string()),
        "offset": pa.array(offsets.view(np.uint64)),
        "index": pa.array(indexes.astype(np.uint16)),
        "digest": pa.array(digests),
        "disregarded": pa.array(~billable),
    }
    return EventBatch(
        source=raw.source,
        first_offset=raw.first_offset,
        next_offset=raw.next_offset,
        columns=_record_batch(columns, derived),
        customers=customers,
        meters=columns.meter,
        groups=columns.group,
        units=units_of(_fixed(columns.words, DECIMAL)),
        counted_values=columns.counted if _counts_values(columns, catalog) else None,
        identities=columns.identity,
        digests=digests,
        offsets=offsets,
        indexes=indexes,
        occurred_us=columns.occurred_us,
        record_ms=columns.record_ms,
        billable=billable,
        rejections=sorted(entries.rejections, key=lambda each: (each.offset, each.index)),
        suppressions=suppressions,
    )


def _record_batch(columns: Columns, derived: dict[str, pa.Array]) -> pa.RecordBatch:
    """Columns as they are and those that were `derived`, in the order of `EVENT_SCHEMA`."""
    arrays = {
        "meter": pa.array(columns.meter, pa.string()),
        "group": pa.array(columns.group, pa.string()),
        "id": columns.id_texts,
        "subject": columns.subject_texts,
        "quantity": _fixed(columns.words, DECIMAL),
        "occurred_at": pa.array(columns.occurred_us).view(pa.timestamp("us", tz="UTC")),
        "dimensions": columns.dimensions_texts,
        "source": columns.source_texts,
        "batch_id": columns.batch_id_texts,
        "schema_version": columns.schema_version_texts,
        "record_time": pa.array(columns.record_ms).view(pa.timestamp("ms", tz="UTC")),
        **derived,
    }
    return pa.RecordBatch.from_arrays(
        [arrays[name] for name in EVENT_SCHEMA.names], schema=EVENT_SCHEMA
    )


def _fixed(words: NDArray[np.int64] | NDArray[np.uint64], kind: pa.DataType) -> pa.Array:
    """Two words a row as an array of 16-byte values, without a copy where they are contiguous."""
    data = pa.py_buffer(np.ascontiguousarray(words))
    return pa.Array.from_buffers(kind, len(words), [None, data])


def _billable(columns: Columns, catalog: Catalog) -> NDArray[np.bool_]:
    if not catalog.disregarded:
        return np.ones(len(columns), np.bool_)
    left_out = {subject for subject in set(columns.subject) if catalog.is_disregarded(subject or "")}
    if not left_out:
        return np.ones(len(columns), np.bool_)
    return np.array([subject not in left_out for subject in columns.subject], np.bool_)


def _counts_values(columns: Columns, catalog: Catalog) -> bool:
    counting = {
        key
        for key, meter in catalog.meters.items()
        if meter.aggregation is Aggregation.UNIQUE_COUNT
    }
    return not counting.isdisjoint(columns.meter)

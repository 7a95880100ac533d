"""Columns and customers as the `EventBatch` that the rest of the flow works on."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from metering.batch import EVENT_SCHEMA, EventBatch
from metering.catalog import Aggregation, Catalog
from metering.decode_columns import DECIMAL, Columns
from metering.decode_entries import Entries
from metering.identity import payload_digests
from metering.rejection import Suppression


def event_batch(
    columns: Columns,
    customers: pa.StringArray,
    *,
    entries: Entries,
    suppressions: list[Suppression],
    catalog: Catalog,
) -> EventBatch:
    """Make the batch of `columns`, whose customers are `customers`."""
    raw = entries.batch
    hashes = np.array([each.facts.hash for each in columns.known], np.uint64)[columns.codes]
    digests = payload_digests(columns.words[:, 0], columns.words[:, 1], hashes)
    offsets = raw.offset_column()[entries.rows[columns.position]]
    indexes = entries.indexes[columns.position]
    billable = _billable(columns, catalog)
    derived = {
        "identity": _fixed(columns.identity, pa.binary(16)),
        "customer_id": customers,
        "offset": pa.array(offsets.view(np.uint64)),
        "index": pa.array(indexes.astype(np.uint16)),
        "digest": pa.array(digests),
        "disregarded": pa.array(~billable),
    }
    series: dict[tuple[str, str], int] = {}
    numbers = np.zeros(len(columns.known), np.int64)
    for code in np.unique(columns.codes).tolist():  # what is known may be of rejected events
        each = columns.known[code]
        numbers[code] = series.setdefault((each.meter, each.facts.group), len(series))
    return EventBatch(
        source=raw.source,
        first_offset=raw.first_offset,
        next_offset=raw.next_offset,
        columns=_record_batch(columns, derived),
        series=list(series),
        codes=numbers[columns.codes],
        quantities=columns.words,
        counted_values=_counted_values(columns, catalog),
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
    codes = pa.array(columns.codes)
    facts = [each.facts for each in columns.known]
    known = {
        "meter": [each.meter for each in columns.known],
        "group": [each.group for each in facts],
        "dimensions": [each.canonical for each in facts],
    }
    arrays = {
        **{name: pa.array(texts, pa.string()).take(codes) for name, texts in known.items()},
        "id": columns.id_texts,
        "subject": columns.subject_texts,
        "quantity": _fixed(columns.words, DECIMAL),
        "occurred_at": pa.array(columns.occurred_us).view(pa.timestamp("us", tz="UTC")),
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
    billable = np.ones(len(columns), np.bool_)
    if not catalog.disregarded:
        return billable
    subjects = columns.subject_texts
    for subject in subjects.unique().to_pylist():
        if catalog.is_disregarded(subject):
            billable &= pc.not_equal(subjects, subject).to_numpy(zero_copy_only=False)
    return billable


def _counted_values(columns: Columns, catalog: Catalog) -> list[str] | None:
    """What unique_count meters count of each event; None where there is no such meter."""
    meters = {each.meter for each in columns.known}
    if not any(
        catalog.meters[meter].aggregation is Aggregation.UNIQUE_COUNT
        for meter in meters & catalog.meters.keys()
    ):
        return None
    values = [each.facts.counted for each in columns.known]
    return [values[code] for code in columns.codes.tolist()]

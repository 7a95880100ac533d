"""Domain objects to Arrow tables in the shape of the ClickHouse tables; pure."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metering.batch import CHARGE_SCALE
from metering.decimals import decimal256_of_words, widened
from metering.flush import Flush, PartitionFlush
from metering.totals import TotalColumns


def event_rows(flush: Flush) -> pa.Table | None:
    """Rows of `usage_events`, or None when there are none."""
    return _joined((part, batches) for part in flush.parts if (batches := part.events))


def duplicate_rows(flush: Flush) -> pa.Table | None:
    """Rows of `duplicate_events`, or None when there are none."""
    return _joined((part, batches) for part in flush.parts if (batches := part.duplicates))


def rejection_rows(flush: Flush) -> pa.Table | None:
    """Rows of `rejected_events`, or None when there are none."""
    rows = [
        {
            "stream": part.source.stream, "partition": part.source.partition,
            "offset": r.offset, "index": r.index, "code": str(r.code), "sentence": r.sentence,
            "event": r.event, "id": r.event_id, "customer_id": r.customer_id, "meter": r.meter,
            "record_time": r.record_time_ms,
        }
        for part in flush.parts
        for r in part.rejections
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_REJECTED) if rows else None


def suppression_rows(flush: Flush) -> pa.Table | None:
    """Rows of `suppressed_events`, or None when there are none."""
    rows = [
        {
            "stream": part.source.stream, "partition": part.source.partition,
            "offset": s.offset, "index": s.index, "rule": s.rule, "record_time": s.record_time_ms,
        }
        for part in flush.parts
        for s in part.suppressions
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_SUPPRESSED) if rows else None


def gap_rows(flush: Flush) -> pa.Table | None:
    """Rows of `offset_gaps`, or None when there are none."""
    rows = [
        {
            "stream": part.source.stream, "partition": part.source.partition,
            "first_offset": first, "next_offset": following,
        }
        for part in flush.parts
        for first, following in part.gaps
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_GAPS) if rows else None


def total_rows(flush: Flush) -> pa.Table | None:
    """Rows of `usage_totals`: absolute values, absorbed up to the end of each part."""
    found = [(part, part.totals) for part in flush.parts if part.totals is not None]
    tables = [_part_totals(part, totals) for part, totals in found if len(totals)]
    return pa.concat_tables(tables) if tables else None


def watermark_rows(flush: Flush) -> pa.Table | None:
    """Rows of `watermarks`, one per partition."""
    rows = [
        {
            "stream": part.source.stream, "partition": part.source.partition,
            "first_offset": part.first_offset, "next_offset": part.next_offset,
            "watermark": max(part.watermark_ms, 0),
        }
        for part in flush.parts
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_WATERMARKS) if rows else None


def without_blanks(rows: pa.Table) -> pa.Table:
    """`rows` without columns of nothing but what the table holds by itself: "", 0, false."""
    blank = []
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if pa.types.is_string(column.type):
            is_blank = all(
                chunk.buffers()[2] is None or not _letters(chunk) for chunk in column.chunks
            )
        elif pa.types.is_boolean(column.type):
            is_blank = not pc.any(column).as_py()
        else:
            is_blank = name == "index" and pc.max(column).as_py() == 0
        if is_blank:
            blank.append(name)
    return rows.drop_columns(blank) if blank else rows


def _letters(texts: pa.StringArray) -> int:
    ends = np.frombuffer(texts.buffers()[1], np.int32)
    return int(ends[texts.offset + len(texts)] - ends[texts.offset])


def _part_totals(part: PartitionFlush, rows: TotalColumns) -> pa.Table:
    n, moment = len(rows), pa.timestamp("us", tz="UTC")
    identities = pa.py_buffer(np.ascontiguousarray(rows.last_identities))
    charged = {}
    if rows.rated is not None:
        charged = {
            "included": decimal256_of_words(widened(rows.rated[:, 0:3])),
            "overage": decimal256_of_words(widened(rows.rated[:, 3:6])),
            "charge": decimal256_of_words(widened(rows.rated[:, 6:9]), scale=CHARGE_SCALE),
            "card": pa.array(rows.cards),
        }
    return pa.table(
        {
            **charged,
            "period_start": pa.array(rows.periods.astype(np.uint32)),
            "part_start": pa.array(rows.parts.astype(np.uint32)),
            "customer_id": rows.customers,
            "meter": rows.meters,
            "group": rows.groups,
            "window_start": pa.array(rows.window_starts.astype(np.uint32)),
            "stream": _same(part.source.stream, n),
            "partition": pa.array(np.full(n, part.source.partition, np.uint32)),
            "aggregation": rows.aggregations,
            "quantity": decimal256_of_words(rows.quantities),
            "events": pa.array(rows.events.view(np.uint64)),
            "late_events": pa.array(rows.late_events.view(np.uint64)),
            "first_occurred_at": pa.array(rows.first_us).view(moment),
            "last_occurred_at": pa.array(rows.last_us).view(moment),
            "last_identity": pa.Array.from_buffers(pa.binary(16), n, [None, identities]),
            "absorbed_offset": pa.array(np.full(n, part.next_offset - 1, np.uint64)),
        }
    )


def _same(text: str, count: int) -> pa.DictionaryArray:
    """`count` times the same text, which is sent once."""
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int8), pa.array([text], pa.string()))


def _joined(parts: Iterable[tuple[PartitionFlush, list[pa.RecordBatch]]]) -> pa.Table | None:
    tables = []
    for part, batches in parts:
        table = pa.Table.from_batches(batches)
        n = table.num_rows
        table = table.append_column("stream", _same(part.source.stream, n))
        partition = pa.array(np.full(n, part.source.partition, np.uint32))
        tables.append(table.append_column("partition", partition))
    return pa.concat_tables(tables) if tables else None


_COORDINATE = [
    ("stream", pa.string()), ("partition", pa.uint32()), ("offset", pa.uint64()),
    ("index", pa.uint16()),
]  # fmt: skip
_TIME = pa.timestamp("ms", tz="UTC")
_REJECTED = pa.schema(
    [*_COORDINATE, ("code", pa.string()), ("sentence", pa.string()), ("event", pa.binary()),
     ("id", pa.string()), ("customer_id", pa.string()), ("meter", pa.string()),
     ("record_time", _TIME)]
)  # fmt: skip
_SUPPRESSED = pa.schema([*_COORDINATE, ("rule", pa.string()), ("record_time", _TIME)])
_GAPS = pa.schema(
    [("stream", pa.string()), ("partition", pa.uint32()), ("first_offset", pa.uint64()),
     ("next_offset", pa.uint64())]
)  # fmt: skip
_WATERMARKS = pa.schema([*_GAPS, ("watermark", _TIME)])

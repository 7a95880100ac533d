"""Parquet: columns with field names; values become JSON text exactly."""

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataflows.backfill_csv import row_writer
from dataflows.backfill_rows import FileUnfit, RowChunk, check_columns

Texts = list[str | None]


class ParquetFile:
    """Rows are the rows of the file, in its order."""

    def __init__(self, path: Path) -> None:
        """Check every column's type. Raises `FileUnfit`."""
        self._path = path
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            msg = f"{path}: expected a Parquet file, got: {error}"
            raise FileUnfit(msg) from error
        schema = self._file.schema_arrow
        check_columns(path, schema.names)
        self._names: list[str] = schema.names
        self._texts = [_texts_of(path, field) for field in schema]

    def chunks(self, start: int, size: int) -> Iterator[RowChunk]:
        """Rows from number `start` on; row groups before it are not read."""
        write = row_writer(self._names)
        total = max(self._file.metadata.num_rows, 1)
        first, groups = self._groups_from(start)
        number = first
        try:
            for batch in self._file.iter_batches(size, row_groups=groups) if groups else ():
                skipped = min(max(start - number, 0), len(batch))
                rows = batch.slice(skipped)
                number += len(batch)
                if not len(rows):
                    continue
                columns = zip(self._texts, rows.columns, strict=True)
                cells = [texts(column) for texts, column in columns]
                values = [write(list(row)) for row in zip(*cells, strict=True)]
                yield RowChunk(list(range(number - len(rows), number)), values, number / total)
        except (pa.ArrowInvalid, OSError) as error:
            msg = f"{self._path}: row {number} and on: expected readable Parquet, got: {error}"
            raise FileUnfit(msg) from error

    def _groups_from(self, start: int) -> tuple[int, list[int]]:
        """First row of the row group that holds `start`, and that group and all after it."""
        metadata = self._file.metadata
        first = 0
        for group in range(metadata.num_row_groups):
            count = metadata.row_group(group).num_rows
            if first + count > start:
                return first, list(range(group, metadata.num_row_groups))
            first += count
        return first, []


def _texts_of(path: Path, field: pa.Field) -> Callable[[pa.Array], Texts]:
    """How a column becomes texts. Raises `FileUnfit` for a type that is not exact."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _plain
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return _numbers
    if field.name == "occurred_at" and pa.types.is_timestamp(kind) and kind.tz is not None:
        return _moments
    is_pairs = pa.types.is_map(kind) or pa.types.is_struct(kind)
    if field.name == "dimensions" and is_pairs:
        return _pairs
    expected = {
        "quantity": "decimal, integer or text (a float is not exact: cast it where it was made)",
        "occurred_at": "a timestamp with a time zone, or RFC 3339 text",
        "dimensions": "JSON text, a map or a struct of texts",
    }.get(field.name, "text or integer")
    msg = f"{path}: column {field.name}: expected {expected}, got {field.type}. Nothing was counted"
    raise FileUnfit(msg)


def _plain(column: pa.Array) -> Texts:
    texts: Texts = column.to_pylist()
    return texts


def _numbers(column: pa.Array) -> Texts:
    return [None if value is None else format(value, "f") if not isinstance(value, int) else
            str(value) for value in column.to_pylist()]  # fmt: skip


def _moments(column: pa.Array) -> Texts:
    """RFC 3339 in UTC; what is finer than a microsecond is cut off, as in any event."""
    utc = column.cast(pa.timestamp("us", tz="UTC"), safe=False)
    texts: Texts = pc.strftime(utc, format="%Y-%m-%dT%H:%M:%SZ").to_pylist()
    return texts


def _pairs(column: pa.Array) -> Texts:
    found: Texts = []
    for value in column.to_pylist():
        pairs = dict(value) if isinstance(value, list) else value
        if pairs is not None:
            pairs = {name: each for name, each in pairs.items() if each is not None}
        found.append(None if pairs is None else orjson.dumps(pairs, default=str).decode())
    return found

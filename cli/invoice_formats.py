"""Writers of exported invoice lines: CSV, JSON lines, Parquet, and Stripe's line items."""

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from billing.invoice_export import COLUMNS, guarded, row_of, stripe_line
from metering.errors import PermanentError
from sinks.invoice_rows import InvoiceLineRow, InvoiceRow

Lines = Sequence[tuple[InvoiceRow, InvoiceLineRow]]


class ExportFormat(StrEnum):
    """What an export is written as."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    STRIPE = "stripe"


class LineWriter(Protocol):
    """Writes lines, some at a time."""

    def write(self, lines: Lines) -> None:
        """Add these."""
        ...


@contextmanager
def line_writer(wanted: ExportFormat, output: Path | None) -> Iterator[LineWriter]:
    """A writer to `output`, or to standard output without one.

    The file is there, whole, when the context ends without an error. Raises `PermanentError` for
    Parquet without a file.
    """
    if output is None:
        if wanted is ExportFormat.PARQUET:
            msg = "--output: expected a file for --format parquet, got none"
            raise PermanentError(msg)
        yield _text_writer(wanted, sys.stdout)
        return
    part = output.with_name(f"{output.name}.part")
    try:
        if wanted is ExportFormat.PARQUET:
            with pq.ParquetWriter(part, _SCHEMA, compression="zstd") as parquet:
                yield _Parquet(parquet)
        else:
            with part.open("w", encoding="utf-8", newline="") as text:
                yield _text_writer(wanted, text)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _text_writer(wanted: ExportFormat, out: IO[str]) -> LineWriter:
    return _Csv(out) if wanted is ExportFormat.CSV else _Json(out, wanted)


class _Csv:
    def __init__(self, out: IO[str]) -> None:
        self._writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        self._writer.writeheader()

    def write(self, lines: Lines) -> None:
        self._writer.writerows(guarded(row_of(*each)) for each in lines)


class _Json:
    def __init__(self, out: IO[str], wanted: ExportFormat) -> None:
        self._out = out
        self._shape = stripe_line if wanted is ExportFormat.STRIPE else row_of

    def write(self, lines: Lines) -> None:
        self._out.writelines(orjson.dumps(self._shape(*each)).decode() + "\n" for each in lines)


#: Decimals of 38 digits, as widely read as any; what is longer does not fit, and is refused.
_KINDS: dict[str, pa.DataType] = {
    "quantity": pa.decimal128(38, 12), "included": pa.decimal128(38, 12),
    "overage": pa.decimal128(38, 12), "amount": pa.decimal128(38, 4),
    "exact_amount": pa.decimal128(38, 24), "price_version": pa.uint32(), "line": pa.uint32(),
    "card": pa.uint64(), "events": pa.uint64(), "calculation_version": pa.uint32(),
}  # fmt: skip
_SCHEMA = pa.schema([(name, _KINDS.get(name, pa.string())) for name in COLUMNS])


class _Parquet:
    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer

    def write(self, lines: Lines) -> None:
        rows = [row_of(*each) for each in lines]
        columns: list[pa.Array] = []
        for field in _SCHEMA:
            values: list[Any] = [row[field.name] for row in rows]
            column = pa.array(values)
            try:
                columns.append(column.cast(field.type) if rows else pa.array([], field.type))
            except pa.ArrowInvalid as error:
                msg = f"{field.name}: expected at most 38 digits, got more; use --format jsonl"
                raise PermanentError(msg) from error
        self._writer.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA))

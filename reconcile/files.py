"""Files of other systems as polars frames of text: every value exactly as the file has it.

A number is never read as a float: of JSON its own digits are kept, and Parquet columns of floats
are refused where an amount or a quantity is expected.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from metering.errors import SettingsInvalid
from reconcile.mapping import FileMapping

#: Number of a row in its file, from 1; of text files the line.
LINE = "#line"
_CHUNK = 1 << 20
_GUARDED = "^'[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20']"
_DECODER = msgspec.json.Decoder(float_hook=str)


def sha256_of(path: Path) -> str:
    """Of the file's bytes, as hex. Raises `SettingsInvalid` where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_CHUNK):
                digest.update(block)
    except OSError as error:
        msg = f"{path}: expected a readable file, got: {error.strerror}"
        raise SettingsInvalid([msg]) from error
    return digest.hexdigest()


def read_text_frame(path: Path, mapping: FileMapping, *, wanted: Iterable[str]) -> pl.DataFrame:
    """The file's columns of `wanted` that are there, as text, and `LINE`; null where empty.

    Raises `SettingsInvalid` for a file that is not of its format.
    """
    columns = list(dict.fromkeys(wanted))
    kind = mapping.format_of(path)
    reader = {"csv": _csv, "jsonl": _json, "parquet": _parquet}[kind]
    try:
        found = reader(path, columns)
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())[:300]
        raise SettingsInvalid([f"{path}: expected {kind}, got: {text}"]) from error
    names = [name for name in found.columns if name != LINE]
    return found.with_columns(
        pl.when(pl.col(name).str.strip_chars() == "").then(None)
        .otherwise(pl.col(name).str.strip_chars()).alias(name)
        for name in names
    )  # fmt: skip


def _csv(path: Path, columns: list[str]) -> pl.DataFrame:
    head = pl.read_csv(path, infer_schema=False, n_rows=0, encoding="utf8")
    kept = [name for name in head.columns if name in columns]
    found = pl.read_csv(
        path, infer_schema=False, columns=kept or head.columns[:1], encoding="utf8",
        truncate_ragged_lines=False, row_index_name=LINE, row_index_offset=2,
    )  # fmt: skip
    return found.select(pl.col(LINE).cast(pl.Int64), *(_unguarded(name) for name in kept))


def _unguarded(name: str) -> pl.Expr:
    """Text without the apostrophe that keeps a spreadsheet from taking it for a formula.

    Ours has one before every text that begins like a formula or with an apostrophe
    (`meterline invoices export`); others guard theirs likewise.
    """
    text = pl.col(name)
    return pl.when(text.str.contains(_GUARDED)).then(text.str.slice(1)).otherwise(text).alias(name)


def _json(path: Path, columns: list[str]) -> pl.DataFrame:
    """One object a line; or one array, or an object whose `data` is one, as APIs answer."""
    faults: list[str] = []
    rows: dict[str, list[str | None]] = {name: [] for name in columns}
    lines: list[int] = []
    for line, value in _json_rows(path, faults):
        if not isinstance(value, dict):
            faults.append(f"{path}:{line}: expected a JSON object, got {type(value).__name__}")
            continue
        lines.append(line)
        for name in columns:
            rows[name].append(_text_at(value, name))
    if faults:
        raise SettingsInvalid(faults)
    kept = [name for name in columns if any(each is not None for each in rows[name])]
    data = {LINE: pl.Series(lines, dtype=pl.Int64)}
    return pl.DataFrame(data | {name: pl.Series(rows[name], dtype=pl.String) for name in kept})


def _json_rows(path: Path, faults: list[str]) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        first = file.read(1)
        file.seek(0)
        if path.suffix == ".json" or first == b"[":
            try:
                document = _DECODER.decode(file.read())
            except msgspec.DecodeError as error:
                faults.append(f"{path}:1: expected JSON, got: {error}")
                return
            rows = document.get("data", [document]) if isinstance(document, dict) else document
            yield from enumerate(rows if isinstance(rows, list) else [rows], 1)
            return
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield number, _DECODER.decode(line)
            except msgspec.DecodeError as error:
                faults.append(f"{path}:{number}: expected JSON, got: {error}")


def _text_at(value: dict[str, Any], name: str) -> str | None:
    found: Any = value.get(name)
    if found is None and "." in name:
        found = value
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    if found is None or isinstance(found, list):
        return None
    if isinstance(found, dict):
        return msgspec.json.encode(found, order="sorted").decode()
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found)


def _parquet(path: Path, columns: list[str]) -> pl.DataFrame:
    table = pq.read_table(path)
    while any(pa.types.is_struct(each.type) for each in table.schema):
        table = table.flatten()
    kept = [name for name in table.column_names if name in columns]
    inexact = [name for name in kept if pa.types.is_floating(table.schema.field(name).type)]
    if inexact:
        raise SettingsInvalid(
            [
                f"{path}: {name}: expected decimals, whole numbers or text, got floats, which are "
                "not the numbers that were meant"
                for name in inexact
            ]
        )
    columns_ = {name: _texts(table.column(name)) for name in kept}
    lines = pl.Series(range(1, table.num_rows + 1), dtype=pl.Int64)
    return pl.DataFrame({LINE: lines} | columns_)


def _texts(column: pa.ChunkedArray) -> pl.Series:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("s", tz="UTC"), safe=False).cast(pa.int64())
    if pa.types.is_decimal(column.type):  # a cast to text writes small ones as 0E-12
        plain = [None if value is None else f"{value:f}" for value in column.to_pylist()]
        return pl.Series(plain, dtype=pl.String)
    return pl.Series(column.cast(pa.string()).to_pylist(), dtype=pl.String)

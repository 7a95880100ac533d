"""Subscriptions as rows, from YAML, CSV, NDJSON or Parquet; what is in them is checked elsewhere.

YAML is for people and some ten thousand rows; a million come from one of the others, row by row
and never all at once.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from metering.catalog_yaml import YamlFile
from metering.yaml_values import PlainValues
from rating_engine.price_book.plan_fields import shown
from rating_engine.price_book.shapes import SUBSCRIPTION

COLUMNS = SUBSCRIPTION.names
_REQUIRED = {field.name for field in SUBSCRIPTION.fields if field.required}
_MOMENTS = ("from", "until")
_ONE_OF = f"one of {', '.join(COLUMNS)}"
_BATCH_ROWS = 65_536


class Tell(Protocol):
    """Takes one fault of a field in a line."""

    def __call__(self, line: int, field: str, *, expected: str, got: str) -> None:
        """Keep it."""
        ...


class Row(NamedTuple):
    """One subscription as it stands in a file; `line` counts from 1 (rows, in Parquet).

    `values` are those of `COLUMNS`, in their order; None where there is none. Whole numbers of a
    CSV file are text. `place` comes before the name of a field in a fault; `lines` has the lines
    of fields where they may differ.
    """

    line: int
    values: tuple[object, ...]
    place: str = ""
    lines: Mapping[str, int] | None = None


Reader = Callable[[Path, Tell], Iterator[Row]]


def yaml_rows(path: Path, told: list[str]) -> Iterator[Row]:
    """Rows of `subscriptions.yaml`; faults of its form are appended to `told`."""
    for at, entry in enumerate(YamlFile.read(path, told).entries("subscriptions")):
        entry.allow_only(*COLUMNS)
        values = PlainValues(_tell_nothing)
        members = {name: values.of(node) for name, node in entry.members.items()}
        yield Row(
            entry.line,
            tuple(members.get(name) for name in COLUMNS),
            f"subscriptions[{at}].",
            {name: node.start_mark.line + 1 for name, node in entry.members.items()},
        )


def csv_rows(path: Path, tell: Tell) -> Iterator[Row]:
    """Rows of a CSV file with a header; an empty cell is a field that is not there."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            if not _header_fits(header, tell):
                return
            places = [header.index(name) if name in header else -1 for name in COLUMNS]
            pick = itemgetter(*places)
            width = len(header)
            for cells in reader:
                if len(cells) == width:
                    cells.append("")  # of the columns that are not there
                    values: list[object] = [cell or None for cell in pick(cells)]
                    yield Row(reader.line_num, tuple(values))
                elif cells:
                    expected = f"{len(header)} cells"
                    tell(reader.line_num, "row", expected=expected, got=str(len(cells)))
        except csv.Error as error:
            tell(reader.line_num or 1, "row", expected="CSV", got=str(error))


def ndjson_rows(path: Path, tell: Tell) -> Iterator[Row]:
    """Rows of a file with one JSON object a line; blank lines are skipped."""
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if text.isspace():
                continue
            try:
                values = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                tell(line, "row", expected="a JSON object", got=str(error))
                continue
            if not isinstance(values, dict):
                tell(line, "row", expected="a JSON object", got=type(values).__name__)
                continue
            for name in values.keys() - set(COLUMNS):
                tell(line, str(name), expected=_ONE_OF, got=repr(name))
            yield Row(line, tuple(values.get(name) for name in COLUMNS))


def parquet_rows(path: Path, tell: Tell) -> Iterator[Row]:
    """Rows of a Parquet file; times are text, or timestamps with a time zone."""
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        if not _header_fits(names, tell) or not _times_fit(file.schema_arrow, tell):
            return
        line = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            columns = [
                _plain(batch.column(name)) if name in names else [None] * batch.num_rows
                for name in COLUMNS
            ]
            for values in zip(*columns, strict=True):
                line += 1
                yield Row(line, values)
    except pa.ArrowException as error:
        tell(1, "file", expected="Parquet", got=str(error).splitlines()[0])


#: By the ending of `subscriptions.*`; YAML is read apart.
READERS: dict[str, Reader] = {
    "csv": csv_rows,
    "ndjson": ndjson_rows,
    "parquet": parquet_rows,
}


def _tell_nothing(*_: object, **__: object) -> None:
    """Inside a field there is nothing to tell: a field that is no scalar is a fault itself."""


def _header_fits(header: list[str], tell: Tell) -> bool:
    unknown = [name for name in header if name not in COLUMNS]
    for name in unknown:
        tell(1, name or "header", expected=_ONE_OF, got=repr(name))
    missing = sorted(_REQUIRED - set(header))
    if missing:
        tell(1, "header", expected=f"columns {', '.join(missing)}", got=shown(header or None))
    twice = len(set(header)) < len(header)
    if twice:
        tell(1, "header", expected="columns that differ", got=shown(header))
    return not unknown and not missing and not twice


def _times_fit(schema: pa.Schema, tell: Tell) -> bool:
    found = True
    for name in _MOMENTS:
        kind = schema.field(name).type if name in schema.names else pa.string()
        zoned = pa.types.is_timestamp(kind) and kind.tz is not None
        texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
        if not zoned and not any(is_one(kind) for is_one in texts):
            tell(1, name, expected="text, or a timestamp with a time zone", got=str(kind))
            found = False
    return found


def _plain(column: pa.Array) -> list[object]:
    if pa.types.is_timestamp(column.type):
        in_utc = column.cast(pa.timestamp(column.type.unit, tz="UTC"))
        column = pc.strftime(in_utc, format="%Y-%m-%dT%H:%M:%SZ")
    found: list[object] = column.to_pylist()
    return found

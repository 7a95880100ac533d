"""Files of usage events as numbered rows of JSON bytes; one reader for each format.

    .ndjson .jsonl .json   one event a line, any shape that Kafka messages may have
    .csv                   a header with Meterline's own field names
    .parquet               columns with Meterline's own field names, or a file of the archive

A row's number, from 0, is its offset in the backfill's stream. It depends on the file alone, so a
repeat finds every row where it was. A row that cannot be read is handed on as the bytes it has:
the decoder rejects it by name. Only a file that is wrong as a whole is an error.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import xxhash

from metering.errors import PermanentError

#: Columns of CSV and Parquet files; `dimensions.NAME` is the dimension NAME.
FIELDS = (
    "id", "customer_id", "subject", "meter", "quantity", "occurred_at", "dimensions", "source",
    "batch_id", "schema_version",
)  # fmt: skip
DIMENSION_PREFIX = "dimensions."
_DIGEST_CHUNK = 1 << 22


class FileUnfit(PermanentError):
    """The file as a whole cannot be read as usage events; nothing of it was counted."""


@dataclass(frozen=True, slots=True)
class RowChunk:
    """Rows in order: their numbers (they may skip some, as blank lines) and their bytes.

    `share` tells how much of the file lies behind after them, 0 to 1.
    """

    numbers: list[int]
    values: list[bytes]
    share: float


class RowFile(Protocol):
    """One open file."""

    def chunks(self, start: int, size: int) -> Iterator[RowChunk]:
        """Rows from number `start` on, at most `size` at once. Raises `FileUnfit`."""
        ...


def content_digest(path: Path) -> str:
    """Names the file's content: 32 hexadecimal digits. Raises `FileUnfit`."""
    digest = xxhash.xxh3_128()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_DIGEST_CHUNK):
                digest.update(chunk)
    except OSError as error:
        msg = f"{path}: expected a readable file, got: {error.strerror}"
        raise FileUnfit(msg) from error
    return digest.hexdigest()


def check_columns(path: Path, names: list[str]) -> None:
    """Raises `FileUnfit` unless the columns can be told apart and are all known."""
    unknown = [
        name for name in names
        if name not in FIELDS
        and not (name.startswith(DIMENSION_PREFIX) and name != DIMENSION_PREFIX)
    ]  # fmt: skip
    if unknown:
        msg = (
            f"{path}: expected the columns {', '.join(FIELDS)} or {DIMENSION_PREFIX}NAME, got "
            f"{', '.join(map(repr, unknown))}. Rename or remove them; nothing was counted"
        )
        raise FileUnfit(msg)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        msg = f"{path}: expected each column once, got {', '.join(map(repr, repeated))} repeatedly"
        raise FileUnfit(msg)
    if "dimensions" in names and any(name.startswith(DIMENSION_PREFIX) for name in names):
        msg = (
            f"{path}: expected either a column of JSON dimensions or columns "
            f"{DIMENSION_PREFIX}NAME, got both"
        )
        raise FileUnfit(msg)

"""A file of the archive: every message is a row, as its bytes are."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataflows.backfill_rows import FileUnfit, RowChunk
from sinks.archive_format import ARCHIVE_SCHEMA


class ArchivedFile:
    """Rows are the messages in order of their offsets; one without a value holds nothing.

    Pages are compared with their checksums. Whether it is the file that was archived, says
    `meterline archive verify`.
    """

    def __init__(self, path: Path) -> None:
        """None of its rows are read yet."""
        self._path = path
        self._file = pq.ParquetFile(path, page_checksum_verification=True)

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether a Parquet file is of the archive. False for what cannot be read."""
        try:
            return bool(pq.read_schema(path).equals(ARCHIVE_SCHEMA))
        except (pa.ArrowInvalid, OSError):
            return False

    def chunks(self, start: int, size: int) -> Iterator[RowChunk]:
        """Messages from number `start` on. Raises `FileUnfit` where a page was changed."""
        total = max(self._file.metadata.num_rows, 1)
        number = 0
        try:
            for batch in self._file.iter_batches(size, columns=["value"]):
                first, number = number, number + len(batch)
                values = batch.column(0).to_pylist()
                kept = [
                    (at, value)
                    for at, value in enumerate(values, first)
                    if at >= start and value is not None
                ]
                if kept:
                    yield RowChunk([at for at, _ in kept], [v for _, v in kept], number / total)
        except (pa.ArrowInvalid, OSError) as error:
            msg = f"{self._path}: row {number} and on: expected readable Parquet, got: {error}"
            raise FileUnfit(msg) from error

"""The records of one file of the archive, as Parquet; pure. The same records give the same bytes.

    offset int64 | record_time timestamp[ms, UTC] | key | value | headers list<struct<key, value>>

Key and value are the message's bytes, exactly; a value is null for a message without one.
"""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from sinks.archive_entry import ArchiveBroken

Headers = list[tuple[str, bytes | None]]

_HEADER = pa.struct([("key", pa.string()), ("value", pa.binary())])
ARCHIVE_SCHEMA = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("record_time", pa.timestamp("ms", tz="UTC"), nullable=False),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", pa.list_(_HEADER)),
    ]
)
#: Rows that are read at once: a few megabytes.
_ROW_GROUP = 16_384
_LEVEL = 3


@dataclass(slots=True)
class Records:
    """Messages of one partition in offset order, as columns of equal length.

    Record times are Unix milliseconds UTC. Headers are None for a message without any.
    """

    offsets: list[int] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[Headers | None] = field(default_factory=list)

    def __len__(self) -> int:
        """How many."""
        return len(self.offsets)

    def extend(self, other: "Records") -> None:
        """Append records that come after these."""
        self.offsets += other.offsets
        self.times_ms += other.times_ms
        self.keys += other.keys
        self.values += other.values
        self.headers += other.headers

    def cut(self, start: int, stop: int | None = None) -> "Records":
        """Records at positions `start` .. `stop` - 1."""
        at = slice(start, stop)
        return Records(
            self.offsets[at], self.times_ms[at], self.keys[at], self.values[at], self.headers[at]
        )


def encode_records(records: Records) -> pa.Buffer:
    """A Parquet file, whole."""
    headers = [
        None if each is None else [{"key": name, "value": value} for name, value in each]
        for each in records.headers
    ]
    columns = [records.offsets, records.times_ms, records.keys, records.values, headers]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, ARCHIVE_SCHEMA, strict=True)]
    out = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=ARCHIVE_SCHEMA), out, compression="zstd",
        compression_level=_LEVEL, row_group_size=_ROW_GROUP, use_dictionary=["key"],
        write_page_checksum=True,
    )  # fmt: skip
    return out.getvalue()


def open_records(name: str, data: pa.Buffer) -> pq.ParquetFile:
    """The file, to be read in pieces. Raises `ArchiveBroken` unless it has the columns."""
    try:
        found = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowInvalid, OSError) as error:
        msg = f"{name}: expected a Parquet file, got: {error}"
        raise ArchiveBroken(msg) from error
    if not found.schema_arrow.equals(ARCHIVE_SCHEMA):
        msg = (
            f"{name}: expected the columns {', '.join(ARCHIVE_SCHEMA.names)}, got "
            f"{', '.join(found.schema_arrow.names)}, or other types"
        )
        raise ArchiveBroken(msg)
    return found

"""The manifest of the archive: one entry for each file, chained per partition; pure.

    <stream>/<partition>/<first offset>-<next offset>.parquet   the records (see `archive_format`)
    <stream>/<partition>/<first offset>.json                    the entry of that file
    <stream>/<partition>/head.json                              a copy of the newest entry

An entry names its file's checksum, and the chain hash of the entry before it is part of its own. So
a file or an entry that was changed, removed or put in between is noticed. Offsets have 20 digits:
names sort as offsets do. Entries are keyed by where they begin: of two writers one wins.
"""

import hashlib
from typing import Literal
from urllib.parse import quote

import msgspec

from metering.errors import PermanentError

HEAD = "head.json"
#: What a log holds; files of a `backfill` hold the rows of one file of events.
Kind = Literal["events", "rejected", "backfill"]


class ArchiveBroken(PermanentError):
    """The archive does not hold what its manifest says; `meterline archive verify` tells all."""


class Gap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Offsets without a record: `control` (and compaction), or `lost` before they were read."""

    first_offset: int
    next_offset: int
    reason: Literal["control", "lost"] = "control"


class ArchivedLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One partition of a stream: a topic with its id, or a backfill with its content's digest."""

    stream: str
    partition: int
    kind: Kind
    topic: str
    topic_id: str

    @property
    def folder(self) -> str:
        """Where its files are, below the root of the archive."""
        return f"{quote(self.stream, safe=':._-')}/{self.partition}"


class ArchiveEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file: offsets `first_offset` .. `next_offset` - 1 of a log; rows + gaps fill them.

    Record times are Unix milliseconds UTC, the least and the greatest; `size_bytes` and `sha256`
    are of the file. `previous` is the chain hash of the entry before ("" for the first), `chain` is
    SHA-256 over everything else in canonical JSON.
    """

    format: Literal[1] = 1
    log: ArchivedLog
    first_offset: int
    next_offset: int
    rows: int
    first_record_ms: int
    last_record_ms: int
    size_bytes: int
    sha256: str
    gaps: tuple[Gap, ...]
    previous: str
    chain: str = ""

    @property
    def file(self) -> str:
        """Path of the file, below the root of the archive."""
        return f"{self.log.folder}/{file_name(self.first_offset, self.next_offset)}"

    @property
    def path(self) -> str:
        """Path of this entry, below the root of the archive."""
        return f"{self.log.folder}/{entry_name(self.first_offset)}"

    def sealed(self) -> "ArchiveEntry":
        """The same with its chain hash."""
        return msgspec.structs.replace(self, chain=self.expected_chain())

    def is_sealed(self) -> bool:
        """Whether the chain hash is that of the entry as it is."""
        return self.chain == self.expected_chain()

    def encoded(self) -> bytes:
        """Canonical JSON."""
        return msgspec.json.encode(self, order="sorted")

    def expected_chain(self) -> str:
        """The chain hash of the entry as it is."""
        bare = msgspec.structs.replace(self, chain="")
        return hashlib.sha256(bare.encoded()).hexdigest()


def file_name(first_offset: int, next_offset: int) -> str:
    """Name of the file that holds a range of offsets."""
    return f"{first_offset:020d}-{next_offset:020d}.parquet"


def entry_name(first_offset: int) -> str:
    """Name of the entry of the file that begins at an offset."""
    return f"{first_offset:020d}.json"


def range_of(name: str) -> tuple[int, int] | None:
    """First and next offset that a file's name says; None for the name of something else."""
    first, _, following = name.removesuffix(".parquet").partition("-")
    if not name.endswith(".parquet") or not (first.isdecimal() and following.isdecimal()):
        return None
    return int(first), int(following)


def decode_entry(path: str, data: bytes) -> ArchiveEntry:
    """The entry that `path` holds. Raises `ArchiveBroken` unless it is whole and unchanged."""
    try:
        entry = msgspec.json.decode(data, type=ArchiveEntry)
    except msgspec.DecodeError as error:
        msg = f"{path}: expected an entry of the archive's manifest, got: {error}"
        raise ArchiveBroken(msg) from error
    if not entry.is_sealed():
        expected = entry.expected_chain()
        msg = f"{path}: expected the chain hash {expected}, got {entry.chain}: it was changed"
        raise ArchiveBroken(msg)
    return entry

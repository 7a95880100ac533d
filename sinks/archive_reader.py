"""Reads the archive: which logs it holds, their entries in order, and the records of a file.

Every file is read whole and compared with its checksum before anything of it is used.
"""

import hashlib
from collections.abc import Iterator
from urllib.parse import unquote

import pyarrow as pa

from sinks.archive_entry import (
    HEAD,
    ArchiveBroken,
    ArchivedLog,
    ArchiveEntry,
    decode_entry,
    entry_name,
)
from sinks.archive_format import Headers, Records, open_records
from sinks.archive_store import ArchiveStore

_BATCH = 16_384


class ArchiveReader:
    """One archive. Raises `ArchiveBroken` where it is not whole, and `DependencyDown`."""

    def __init__(self, store: ArchiveStore) -> None:
        """Nothing is read yet."""
        self.store = store

    def folders(self) -> list[tuple[str, int]]:
        """Stream and partition of every folder, in order."""
        found = []
        for stream in self.store.names(""):
            numbers = [name for name in self.store.names(stream) if name.isdecimal()]
            found += [(unquote(stream), number) for number in sorted(map(int, numbers))]
        return found

    def logs(self) -> list[ArchivedLog]:
        """Every log that has at least one entry, in order."""
        return [entries[0].log for entries in self.manifests()]

    def manifests(self) -> list[list[ArchiveEntry]]:
        """The entries of every log that has some, contiguous and chained."""
        found = (self.entries(stream, partition) for stream, partition in self.folders())
        return [entries for entries in found if entries]

    def entries(self, stream: str, partition: int) -> list[ArchiveEntry]:
        """The entries of one log in order. Raises `ArchiveBroken` where the chain breaks."""
        folder = ArchivedLog(stream, partition, "events", "", "").folder
        names = [name for name in self.store.names(folder) if name.endswith(".json")]
        found: list[ArchiveEntry] = []
        for name in names:
            if name == HEAD:
                continue
            entry = self.entry(f"{folder}/{name}")
            assert entry is not None, "it was just listed"
            before = found[-1] if found else None
            if not _follows(entry, before):
                begins = 0 if before is None else before.next_offset
                msg = (
                    f"{folder}/{name}: expected the entry that follows offset {begins}, got another"
                    ": `meterline archive verify` tells what is missing or too much"
                )
                raise ArchiveBroken(msg)
            found.append(entry)
        return found

    def entry(self, path: str) -> ArchiveEntry | None:
        """One entry; None if there is none. Raises `ArchiveBroken` for one that was changed."""
        data = self.store.get(path)
        return None if data is None else decode_entry(path, data.to_pybytes())

    def newest(self, log: ArchivedLog) -> ArchiveEntry | None:
        """The last entry of a log: the head, or what was written right after it."""
        newest = self.entry(f"{log.folder}/{HEAD}")
        if newest is None:
            entries = self.entries(log.stream, log.partition)
            return entries[-1] if entries else None
        while following := self.entry(f"{log.folder}/{entry_name(newest.next_offset)}"):
            newest = following
        return newest

    def data(self, entry: ArchiveEntry) -> pa.Buffer:
        """The file's bytes. Raises `ArchiveBroken` unless they are those that were written."""
        data = self.store.get(entry.file)
        if data is None:
            msg = f"{entry.file}: expected a file of {entry.size_bytes} bytes, got none"
            raise ArchiveBroken(msg)
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry.sha256:
            msg = (
                f"{entry.file}: expected {entry.size_bytes} bytes with SHA-256 {entry.sha256}, got "
                f"{data.size} with {digest}: the file was changed"
            )
            raise ArchiveBroken(msg)
        return data

    def records(self, entry: ArchiveEntry, *, size: int = _BATCH) -> Iterator[Records]:
        """The records of a file in offset order, at most `size` at once."""
        file = open_records(entry.file, self.data(entry))
        for batch in file.iter_batches(batch_size=size):
            yield _records(batch)


def _follows(entry: ArchiveEntry, before: ArchiveEntry | None) -> bool:
    if before is None:
        return entry.previous == ""
    is_next = (entry.previous, entry.first_offset) == (before.chain, before.next_offset)
    return is_next and entry.log == before.log


def _records(batch: pa.RecordBatch) -> Records:
    offset, time, key, value, headers = batch.columns
    found: list[Headers | None] = (
        [None] * len(batch)
        if headers.null_count == len(batch)
        else [
            None if each is None else [(pair["key"], pair["value"]) for pair in each]
            for each in headers.to_pylist()
        ]
    )
    return Records(
        offset.to_pylist(), time.cast(pa.int64()).to_pylist(), key.to_pylist(), value.to_pylist(),
        found,
    )  # fmt: skip

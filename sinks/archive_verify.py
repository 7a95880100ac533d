"""Is the archive what was written? Every entry, every link of the chain, every file, every offset.

A file without an entry right at the end of a log is being written, or was when its writer was
killed; the next run writes it again. Anywhere else it is too much.
"""

import hashlib
from dataclasses import dataclass, field
from itertools import pairwise

from sinks.archive_entry import HEAD, ArchiveBroken, ArchivedLog, ArchiveEntry, range_of
from sinks.archive_format import open_records
from sinks.archive_reader import ArchiveReader
from sinks.archive_writer import gaps_between


@dataclass(frozen=True, slots=True)
class ArchiveFinding:
    """Something that is not as it must be; `place` is a path or a partition."""

    kind: str
    place: str
    sentence: str


@dataclass(slots=True)
class Verified:
    """What was looked at, and what is wrong. `notes` are facts without a fault."""

    findings: list[ArchiveFinding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    rows: int = 0
    #: First and next offset of every log.
    logs: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Nothing is wrong."""
        return not self.findings

    def find(self, kind: str, place: str, *, sentence: str) -> None:
        """Add a finding."""
        self.findings.append(ArchiveFinding(kind, place, sentence))


def verify_archive(reader: ArchiveReader) -> Verified:
    """Look at everything. Raises `DependencyDown`."""
    found = Verified()
    for stream, partition in reader.folders():
        _LogCheck(reader, found, folder=ArchivedLog(stream, partition, "events", "", "").folder)(
            stream, partition
        )
    return found


class _LogCheck:
    def __init__(self, reader: ArchiveReader, found: Verified, *, folder: str) -> None:
        self._reader = reader
        self._found = found
        self._folder = folder

    def __call__(self, stream: str, partition: int) -> None:
        # Files are listed before entries, so that one being written meanwhile is not too much.
        head = self._entry(f"{self._folder}/{HEAD}")
        names = self._reader.store.names(self._folder)
        entries = self._entries([n for n in names if n.endswith(".json") and n != HEAD])
        self._chain(entries)
        for entry in entries:
            self._file(entry)
        self._unlisted(names, entries)
        self._head(head, entries)
        lost = [gap for entry in entries for gap in entry.gaps if gap.reason == "lost"]
        self._found.notes += [
            f"{self._folder}: offsets {gap.first_offset} to {gap.next_offset - 1} were lost before "
            "they were archived, which was accepted"
            for gap in lost
        ]
        if entries:
            ends = (entries[0].first_offset, entries[-1].next_offset)
            self._found.logs[stream, partition] = ends

    def _entry(self, path: str) -> ArchiveEntry | None:
        try:
            return self._reader.entry(path)
        except ArchiveBroken as error:
            self._found.find("entry_changed", path, sentence=str(error))
            return None

    def _entries(self, names: list[str]) -> list[ArchiveEntry]:
        found = []
        for name in names:
            path = f"{self._folder}/{name}"
            entry = self._entry(path)
            if entry is not None and entry.path != path:
                sentence = f"expected the entry of this place, got that of {entry.path}"
                self._found.find("entry_misplaced", path, sentence=sentence)
            elif entry is not None:
                found.append(entry)
        return sorted(found, key=lambda entry: entry.first_offset)

    def _chain(self, entries: list[ArchiveEntry]) -> None:
        if entries and entries[0].previous:
            sentence = f"expected the first entry, got one that follows {entries[0].previous[:16]}"
            self._found.find("entry_missing", entries[0].path, sentence=sentence)
        for before, entry in pairwise(entries):
            expected, got = before.next_offset, entry.first_offset
            if got > expected:
                sentence = f"expected offset {expected}, got {got}: {got - expected} are missing"
                self._found.find("entry_missing", entry.path, sentence=sentence)
            elif got < expected:
                sentence = (
                    f"expected offset {expected}, got {got}: {expected - got} are there twice"
                )
                self._found.find("overlap", entry.path, sentence=sentence)
            elif entry.previous != before.chain:
                sentence = f"expected to follow {before.chain[:16]}, got {entry.previous[:16]}"
                self._found.find("chain_broken", entry.path, sentence=sentence)

    def _file(self, entry: ArchiveEntry) -> None:
        data = self._reader.store.get(entry.file)
        if data is None:
            sentence = f"expected {entry.size_bytes} bytes with {entry.rows} messages, got no file"
            self._found.find("file_missing", entry.file, sentence=sentence)
            return
        self._found.files += 1
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry.sha256:
            sentence = (
                f"expected SHA-256 {entry.sha256} of {entry.size_bytes} bytes, got {digest} of "
                f"{data.size}"
            )
            self._found.find("file_changed", entry.file, sentence=sentence)
            return
        try:
            table = open_records(entry.file, data).read(columns=["offset"])
        except ArchiveBroken as error:
            self._found.find("file_changed", entry.file, sentence=str(error))
            return
        self._offsets(entry, table.column("offset").to_pylist())

    def _offsets(self, entry: ArchiveEntry, offsets: list[int]) -> None:
        self._found.rows += len(offsets)
        lost = next((gap for gap in entry.gaps if gap.reason == "lost"), None)
        gaps = gaps_between(
            offsets, (entry.first_offset, entry.next_offset),
            lost=None if lost is None else (lost.first_offset, lost.next_offset),
        )  # fmt: skip
        is_ascending = all(before < after for before, after in pairwise(offsets))
        if len(offsets) != entry.rows or gaps != entry.gaps or not is_ascending:
            sentence = (
                f"expected {entry.rows} ascending offsets from {entry.first_offset} to "
                f"{entry.next_offset - 1} with {len(entry.gaps)} gaps, got {len(offsets)} with "
                f"{len(gaps)}"
            )
            self._found.find("contents_differ", entry.file, sentence=sentence)

    def _unlisted(self, names: list[str], entries: list[ArchiveEntry]) -> None:
        listed = {entry.file for entry in entries}
        end = entries[-1].next_offset if entries else None
        for name in names:
            covered = range_of(name)
            if covered is None or f"{self._folder}/{name}" in listed:
                continue
            if end is None or covered[0] == end:
                self._found.notes.append(f"{self._folder}/{name}: not in the manifest yet")
            else:
                sentence = "expected an entry that names this file, got none; nobody reads it"
                self._found.find("file_unlisted", f"{self._folder}/{name}", sentence=sentence)

    def _head(self, head: ArchiveEntry | None, entries: list[ArchiveEntry]) -> None:
        path = f"{self._folder}/{HEAD}"
        end = entries[-1].next_offset if entries else 0
        if head is None:
            if len(entries) > 1:
                sentence = "expected a copy of the newest entry, got nothing of use"
                self._found.find("head_missing", path, sentence=sentence)
        elif head.next_offset > end:
            sentence = f"expected entries up to offset {head.next_offset}, got them up to {end}"
            self._found.find("entry_missing", path, sentence=sentence)
        elif head.chain not in {entry.chain for entry in entries}:
            sentence = f"expected a copy of an entry, got one of another chain ({head.chain[:16]})"
            self._found.find("chain_broken", path, sentence=sentence)

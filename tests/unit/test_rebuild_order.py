"""The order of a rebuild: of copies on several partitions the first one to arrive counts first."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from decoding import CATALOG, RECORD_MS, SETTINGS, event, written

from dataflows.rebuild_cursor import Key, LogCursor
from dataflows.rebuild_order import in_order
from metering.batch import EventBatch, RawBatch, Source
from metering.decode import Decoder
from sinks.archive_entry import ArchivedLog
from sinks.archive_format import Records
from sinks.archive_reader import ArchiveReader
from sinks.archive_store import FolderStore
from sinks.archive_writer import LogWriter

_STREAM = "usage.events:abc"
_LONG_MS = 32 * 86_400_000


def _decode(raw: RawBatch) -> EventBatch:
    batch = Decoder(CATALOG, SETTINGS).decode(raw)
    batch.raw = raw
    return batch


def _archive(store: FolderStore, random: Random, *, logs: int) -> dict[int, Records]:
    """Logs with gaps, arrays and copies of each other's events, in files of random sizes."""
    found = {}
    for partition in range(logs):
        records, offset, time_ms = Records(), random.randrange(5), RECORD_MS
        for _ in range(random.randrange(1, 120)):
            ids = [f"req:{random.randrange(60)}" for _ in range(random.choice((1, 1, 1, 3)))]
            events = [event(id=each) for each in ids]
            value = written(events if len(events) > 1 else events[0])
            records.extend(Records([offset], [time_ms], [None], [value], [None]))
            offset += random.choice((1, 1, 1, 2))
            time_ms += random.choice((0, 0, 1, 7, -2))
        log = ArchivedLog(_STREAM, partition, "events", "usage.events", "abc")
        writer, at = LogWriter(store, log), 0
        while at < len(records):
            piece = records.cut(at, at + random.randrange(1, 40))
            first = piece.offsets[0] if writer.next_offset is None else writer.next_offset
            writer.write(piece, first_offset=first, next_offset=piece.offsets[-1] + 1)
            at += len(piece)
        found[partition] = records
    return found


def _cursors(store: FolderStore, until_ms: int | None = None) -> list[LogCursor]:
    reader = ArchiveReader(store)
    return [
        LogCursor(
            reader,
            entries,
            source=Source(_STREAM, entries[0].log.partition, 1),
            start=0,
            until_ms=until_ms,
        )
        for entries in reader.manifests()
    ]


def _batches(cursors: list[LogCursor], *, size: int) -> list[EventBatch]:
    pieces = in_order(cursors, _decode, size=size, window_ms=_LONG_MS)
    return [batch for piece in pieces for batch in piece.batches]


def _keys(logs: dict[int, Records]) -> dict[tuple[int, int], Key]:
    found = {}
    for partition, records in logs.items():
        reached = 0
        for offset, time_ms in zip(records.offsets, records.times_ms, strict=True):
            reached = max(reached, time_ms)
            found[partition, offset] = Key(reached, partition, _STREAM, offset)
    return found


@pytest.mark.parametrize("seed", range(16, 36))
def test_the_first_copy_to_arrive_is_counted_first(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    store = FolderStore(tmp_path)
    logs = _archive(store, random, logs=random.randrange(1, 5))
    keys = _keys(logs)
    first: dict[bytes, Key] = {}
    least: dict[bytes, Key] = {}
    reached: dict[int, int] = {}
    seen: dict[int, list[int]] = {partition: [] for partition in logs}
    size, window_ms = random.choice((1, 8, 1000)), random.choice((1, 5, 40, _LONG_MS))
    for piece in in_order(_cursors(store), _decode, size=size, window_ms=window_ms):
        for chosen, at in piece.firsts:
            for words, offset in zip(
                chosen.identities[at], chosen.offsets[at].tolist(), strict=True
            ):
                first.setdefault(words.tobytes(), keys[chosen.source.partition, offset])
        for batch in piece.batches:
            assert batch.raw is not None
            partition = batch.source.partition
            assert batch.first_offset == reached.get(partition, batch.first_offset)
            reached[partition] = batch.next_offset
            times = [keys[partition, offset].time_ms for offset in batch.raw.offsets]
            assert {time_ms // window_ms * window_ms for time_ms in times} == {piece.began_ms}
            seen[partition] += batch.raw.offsets
            for words, offset in zip(batch.identities, batch.offsets.tolist(), strict=True):
                key = keys[partition, offset]
                first.setdefault(words.tobytes(), key)
                least[words.tobytes()] = min(key, least.get(words.tobytes(), key))
    assert seen == {partition: records.offsets for partition, records in logs.items()}
    assert first == least


def test_what_arrived_after_the_named_moment_is_left_out(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    logs = _archive(store, Random(7), logs=3)
    until = RECORD_MS + 30
    expected = {
        (partition, key.offset)
        for (partition, _), key in _keys(logs).items()
        if key.time_ms < until
    }
    batches = _batches(_cursors(store, until), size=10)
    got = {(b.source.partition, offset) for b in batches if b.raw for offset in b.raw.offsets}
    assert expected
    assert got == expected


def test_a_rebuild_that_goes_on_begins_behind_what_is_durable(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    log = ArchivedLog(_STREAM, 0, "events", "usage.events", "abc")
    writer = LogWriter(store, log)
    for first in (0, 10, 20):
        offsets = list(range(first, first + 10))
        values: list[bytes | None] = [written(event(id=f"req:{n}")) for n in offsets]
        records = Records(offsets, [RECORD_MS] * 10, [None] * 10, values, [None] * 10)
        writer.write(records, first_offset=first, next_offset=first + 10)
    reader = ArchiveReader(store)
    cursor = LogCursor(
        reader,
        reader.entries(_STREAM, 0),
        source=Source(_STREAM, 0, 1),
        start=13,
        until_ms=None,
    )
    batches = _batches([cursor], size=100)
    assert [(b.first_offset, b.next_offset) for b in batches] == [(13, 30)]

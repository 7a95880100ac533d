"""Files of the archive, in a folder and in an object store (a real S3 interface on loopback)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from metering.errors import AssignmentLost, DependencyDown, SettingsInvalid
from sinks.archive_entry import ArchivedLog, ArchiveEntry
from sinks.archive_format import Records
from sinks.archive_reader import ArchiveReader
from sinks.archive_store import ArchiveStore, FolderStore, open_store
from sinks.archive_verify import Verified, verify_archive
from sinks.archive_whole import KafkaRange, check_whole
from sinks.archive_writer import LogWriter
from sinks.conservation.findings import Cut

_LOG = ArchivedLog("usage.events:abc", 3, "events", "usage.events", "abcdef")
_PLACE = ("usage.events:abc", 3)


class _DeathError(Exception):
    """Stands for `kill -9`: nothing after it happens."""


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """A server that speaks S3; credentials stand in the environment, as for any."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "testing")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    yield f"127.0.0.1:{port}"
    server.stop()
    patch.undo()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArchiveStore:
    if request.param == "folder":
        return open_store(str(tmp_path / "archive"))
    address: str = request.getfixturevalue("s3_address")
    bucket = f"b{uuid.uuid4().hex}"
    s3 = fs.S3FileSystem(
        endpoint_override=address, scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    s3.create_dir(bucket)
    query = f"endpoint_override={address}&scheme=http&region=us-east-1"
    return open_store(f"s3://{bucket}/some/place?{query}")


def _records(first: int, following: int, *, skip: tuple[int, ...] = ()) -> Records:
    offsets = [offset for offset in range(first, following) if offset not in skip]
    return Records(
        offsets,
        [1_000_000 + offset for offset in offsets],
        [b"\x00key" if offset % 2 else None for offset in offsets],
        [None if offset % 5 == 4 else b"\xff{%d" % offset for offset in offsets],
        [[("trace", b"\x01"), ("none", None)] if offset % 3 == 0 else None for offset in offsets],
    )


def _fill(store: ArchiveStore, log: ArchivedLog = _LOG) -> list[ArchiveEntry]:
    writer = LogWriter(store, log)
    return [
        writer.write(_records(5, 25), first_offset=5, next_offset=25),
        writer.write(_records(25, 40, skip=(25, 30)), first_offset=25, next_offset=40),
        writer.write(_records(44, 60), first_offset=40, next_offset=60, lost=(40, 44)),
    ]


def _write(writer: LogWriter, ranges: list[tuple[int, int]]) -> None:
    for first, following in ranges:
        writer.write(_records(first, following), first_offset=first, next_offset=following)


def _objects(store: ArchiveStore) -> dict[str, bytes]:
    found = {}
    for name in store.names(_LOG.folder):
        data = store.get(f"{_LOG.folder}/{name}")
        assert data is not None
        found[name] = data.to_pybytes()
    return found


def _kinds(found: Verified) -> list[str]:
    return sorted(each.kind for each in found.findings)


def test_what_was_written_is_read_byte_for_byte(store: ArchiveStore) -> None:
    entries = _fill(store)
    reader = ArchiveReader(store)
    assert reader.entries(*_PLACE) == entries
    assert reader.logs() == [_LOG]
    got = Records()
    for entry in entries:
        for piece in reader.records(entry, size=7):
            got.extend(piece)
    expected = _records(5, 60, skip=(25, 30, 40, 41, 42, 43))
    assert got == expected
    assert [(g.first_offset, g.next_offset, g.reason) for e in entries for g in e.gaps] == [
        (25, 26, "control"),
        (30, 31, "control"),
        (40, 44, "lost"),
    ]
    found = verify_archive(reader)
    assert (found.holds, found.files, found.rows) == (True, 3, 49)
    assert found.logs == {_PLACE: (5, 60)}


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("nth", [1, 2])
def test_killed_before_any_step_the_next_run_leaves_what_an_unhurt_one_leaves(
    store: ArchiveStore, tmp_path: Path, step: int, nth: int
) -> None:
    left = {"files": nth}

    def before(number: int) -> None:
        if number == step:
            left["files"] -= 1
            if not left["files"]:
                raise _DeathError

    ranges = [(5, 25), (25, 40), (40, 60)]
    with pytest.raises(_DeathError):
        _write(LogWriter(store, _LOG, before_step=before), ranges)
    assert verify_archive(ArchiveReader(store)).holds, "at no moment is anything wrong"

    again = LogWriter(store, _LOG)
    goes_on = again.next_offset or 5
    assert again.limit == (ranges[nth - 1][1] if step == 2 else None)
    _write(again, [each for each in ranges if each[0] >= goes_on])
    unhurt = FolderStore(tmp_path / "unhurt")
    _write(LogWriter(unhurt, _LOG), ranges)
    assert _objects(store) == _objects(unhurt)


def test_a_writer_that_was_replaced_changes_nothing(store: ArchiveStore) -> None:
    slow = LogWriter(store, _LOG)
    LogWriter(store, _LOG).write(_records(5, 25), first_offset=5, next_offset=25)
    before = _objects(store)
    with pytest.raises(AssignmentLost):
        slow.write(_records(5, 20), first_offset=5, next_offset=20)
    kept = {name: data for name, data in _objects(store).items() if "0020.parquet" not in name}
    assert kept == before
    assert ArchiveReader(store).entries(*_PLACE)[0].next_offset == 25


def _without(store: ArchiveStore, *names: str) -> FolderStore:
    """The same archive in a folder, without some objects."""
    assert isinstance(store, FolderStore)
    for name in names:
        (Path(store.uri) / _LOG.folder / name).unlink()
    return store


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    found = FolderStore(tmp_path / "archive")
    _fill(found)
    return found


def _name(number: int, kind: str) -> str:
    first, following = [(5, 25), (25, 40), (40, 60)][number]
    return f"{first:020d}-{following:020d}.parquet" if kind == "file" else f"{first:020d}.json"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_flipped_byte_of_a_file_is_found_wherever_it_is(
    folder: FolderStore, number: int
) -> None:
    path = Path(folder.uri) / _LOG.folder / _name(number, "file")
    data = path.read_bytes()
    for at in range(0, len(data), max(len(data) // 50, 1)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert _kinds(verify_archive(ArchiveReader(folder))) == ["file_changed"], at
    path.write_bytes(data)
    assert verify_archive(ArchiveReader(folder)).holds


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_removed_file_is_found_with_and_without_its_entry(
    folder: FolderStore, number: int
) -> None:
    _without(folder, _name(number, "file"))
    assert _kinds(verify_archive(ArchiveReader(folder))) == ["file_missing"]
    _without(folder, _name(number, "entry"))
    assert _kinds(verify_archive(ArchiveReader(folder))) == ["entry_missing"]


def test_an_entry_that_was_changed_is_found_even_when_it_was_sealed_anew(
    folder: FolderStore,
) -> None:
    path = Path(folder.uri) / _LOG.folder / _name(1, "entry")
    kept = path.read_bytes()
    fields = json.loads(kept)
    path.write_bytes(json.dumps({**fields, "rows": 14}).encode())
    assert "entry_changed" in _kinds(verify_archive(ArchiveReader(folder)))
    entry = ArchiveReader(folder).entries  # reading by itself refuses it as well
    with pytest.raises(Exception, match="it was changed"):
        entry(*_PLACE)
    path.write_bytes(kept)
    forged = _forged(first=25, following=40, previous=fields["previous"])
    folder.put(forged.path, forged.encoded())
    found = _kinds(verify_archive(ArchiveReader(folder)))
    assert found == ["chain_broken", "file_changed"]


def _forged(*, first: int, following: int, previous: str) -> ArchiveEntry:
    return ArchiveEntry(
        log=_LOG, first_offset=first, next_offset=following, rows=1, first_record_ms=0,
        last_record_ms=0, size_bytes=1, sha256="00", gaps=(), previous=previous,
    ).sealed()  # fmt: skip


def test_a_file_too_many_is_found_with_and_without_an_entry(folder: FolderStore) -> None:
    copy = folder.get(f"{_LOG.folder}/{_name(1, 'file')}")
    assert copy is not None
    extra = f"{_LOG.folder}/{30:020d}-{40:020d}.parquet"
    folder.put(extra, copy)
    assert _kinds(verify_archive(ArchiveReader(folder))) == ["file_unlisted"]
    forged = _forged(first=30, following=40, previous="")
    folder.put(forged.path, forged.encoded())
    found = _kinds(verify_archive(ArchiveReader(folder)))
    assert found == ["chain_broken", "file_changed", "overlap"]


def test_what_is_missing_for_good_is_told_from_what_is_only_not_there_yet(
    folder: FolderStore,
) -> None:
    def kinds(log: KafkaRange | None, cut: Cut | None = None) -> list[str]:
        found = verify_archive(ArchiveReader(folder))
        check_whole(found, {} if log is None else {_PLACE: log}, cuts=[] if cut is None else [cut])
        return _kinds(found)

    assert kinds(KafkaRange(0, 80)) == kinds(KafkaRange(60, 80)) == kinds(KafkaRange(5, 60)) == []
    assert kinds(KafkaRange(61, 80)) == ["lost_before_archived"]
    assert kinds(KafkaRange(0, 59)) == ["log_truncated"]
    assert kinds(KafkaRange(0, 80), Cut(*_PLACE, 5, 70)) == []
    assert kinds(None, Cut(*_PLACE, 5, 70)) == ["not_archived"]
    assert kinds(KafkaRange(0, 80), Cut(*_PLACE, 4, 60)) == ["begins_later"]
    assert kinds(KafkaRange(0, 80), Cut("backfill:x", 0, 0, 7)) == ["not_archived"]


def test_credentials_in_a_uri_are_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        open_store("s3://someone:secret@bucket/prefix")
    assert "secret" not in str(caught.value)
    with pytest.raises(SettingsInvalid):
        open_store("nowhere://bucket")
    with pytest.raises(SettingsInvalid):
        open_store("")


def test_a_store_that_does_not_serve_is_a_dependency_that_is_down(
    tmp_path: Path, s3_address: str
) -> None:
    (tmp_path / "file").write_text("")
    query = f"endpoint_override={s3_address}&scheme=http&region=us-east-1"
    for uri in (str(tmp_path / "file"), f"s3://no-such-bucket/x?{query}"):
        with pytest.raises(DependencyDown, match="Archive"):
            open_store(uri).put("a/b", pa.py_buffer(b"x"))

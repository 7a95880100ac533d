"""Where the archive is kept: a folder, or an object store; whole objects under relative paths.

A URI with a scheme that pyarrow knows (`s3://bucket/prefix?endpoint_override=host:port`, `gs://`,
`abfss://`) is an object store, anything else a folder. Credentials come from the environment, as
the provider's own tools take them; a URI that holds some is refused. An object is written whole or
not at all. `create` never replaces; on an object store two writers at the same instant may both
think that they created it, which the chain of entries shows afterwards.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from metering.errors import DependencyDown, SettingsInvalid

_UNFINISHED = ".unfinished"


class ArchiveStore(Protocol):
    """Objects by path; every method raises `DependencyDown` when the store does not answer."""

    uri: str

    def put(self, path: str, data: bytes | pa.Buffer) -> None:
        """Write an object, over what is there; durable when this returns."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write an object unless there is one; False when another one is there."""
        ...

    def get(self, path: str) -> pa.Buffer | None:
        """The whole object; None if there is none."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of objects and folders right below a folder ("" for the root), sorted."""
        ...

    def sweep(self, folder: str) -> None:
        """Remove what a writer that was killed left unfinished; only its one writer may."""
        ...


def open_store(uri: str) -> ArchiveStore:
    """The store at a URI. Raises `SettingsInvalid`, `DependencyDown`."""
    if not uri:
        msg = "expected where the archive is, in METERLINE_ARCHIVE or as a URI; got nothing"
        raise SettingsInvalid([msg])
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return FolderStore(Path(unquote(parts.path)))
    if "://" not in uri:
        return FolderStore(Path(uri))
    if "@" in parts.netloc:
        msg = (
            f"archive {parts.scheme}://...@{parts.hostname}: expected no credentials in the URI; "
            "set them in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for S3)"
        )
        raise SettingsInvalid([msg])
    try:
        filesystem, root = fs.FileSystem.from_uri(uri)
    except pa.ArrowInvalid as error:
        msg = f"archive {uri}: expected a folder or a URI like s3://bucket/prefix, got: {error}"
        raise SettingsInvalid([msg]) from error
    except OSError as error:
        raise _away(uri, error) from error
    return ObjectStore(uri, filesystem, root)


class FolderStore:
    """A folder of this machine, or one that is mounted."""

    def __init__(self, root: Path) -> None:
        """It is made when something is written."""
        self.uri = str(root)
        self._root = root

    def put(self, path: str, data: bytes | pa.Buffer) -> None:
        """Written beside, made durable, then renamed over what is there."""
        with self._written(path, data) as unfinished:
            unfinished.replace(self._root / path)

    def create(self, path: str, data: bytes) -> bool:
        """Written beside, made durable, then linked, which fails where there is one."""
        with self._written(path, data) as unfinished:
            try:
                (self._root / path).hardlink_to(unfinished)
            except FileExistsError:
                return (self._root / path).read_bytes() == data
        return True

    def get(self, path: str) -> pa.Buffer | None:
        """Mapped into memory."""
        with _answering(self.uri):
            try:
                return pa.memory_map(str(self._root / path)).read_buffer()
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        """Without what is unfinished."""
        with _answering(self.uri):
            try:
                found = [path.name for path in (self._root / folder).iterdir()]
            except FileNotFoundError:
                return []
        return sorted(name for name in found if not name.endswith(_UNFINISHED))

    def sweep(self, folder: str) -> None:
        """Files that were not renamed."""
        with _answering(self.uri):
            for path in (self._root / folder).glob(f"*{_UNFINISHED}"):
                path.unlink(missing_ok=True)

    @contextmanager
    def _written(self, path: str, data: bytes | pa.Buffer) -> Iterator[Path]:
        target = self._root / path
        unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}{_UNFINISHED}")
        with _answering(self.uri):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with unfinished.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                yield unfinished
                self._sync_folders(target.parent)
            finally:
                unfinished.unlink(missing_ok=True)

    def _sync_folders(self, folder: Path) -> None:
        """A name is durable when its folder is, and so are the names of new folders."""
        for each in (folder, *folder.relative_to(self._root).parents):
            handle = os.open(self._root / each, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


class ObjectStore:
    """A bucket, through pyarrow; an object appears whole when its upload is completed."""

    def __init__(self, uri: str, filesystem: fs.FileSystem, root: str) -> None:
        """`root` is bucket and prefix."""
        self.uri = uri.partition("?")[0]
        self._fs = filesystem
        self._root = root.rstrip("/")

    def put(self, path: str, data: bytes | pa.Buffer) -> None:
        """One upload."""
        with _answering(self.uri), self._fs.open_output_stream(self._at(path)) as stream:
            stream.write(data)

    def create(self, path: str, data: bytes) -> bool:
        """Asked first, then one upload."""
        there = self.get(path)
        if there is not None:
            return bool(there.to_pybytes() == data)
        self.put(path, data)
        return True

    def get(self, path: str) -> pa.Buffer | None:
        """One download."""
        with _answering(self.uri):
            try:
                with self._fs.open_input_file(self._at(path)) as file:
                    return file.read_buffer()
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        """One listing."""
        where = fs.FileSelector(self._at(folder), allow_not_found=True)
        with _answering(self.uri):
            return sorted(each.base_name for each in self._fs.get_file_info(where))

    def sweep(self, folder: str) -> None:
        """Nothing is ever there unfinished; uploads that were cut off are the store's to expire."""
        del folder

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _away(uri, error) from error


def _away(uri: str, error: OSError) -> DependencyDown:
    reason = error.strerror or (str(error).splitlines() or [type(error).__name__])[0]
    return DependencyDown(f"Archive {uri} does not serve: {reason}")

"""ClickHouse's engine inside this process: opened once, one short session per request."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from chdb.state.sqlitelike import Connection

from deploy.localstack.clickhouse.faults import NOT_ENOUGH_SPACE, fault, from_engine

# An insert is acknowledged only when its part and the directory entry are on disk.
_CONFIG = """\
<clickhouse>
  <merge_tree>
    <fsync_after_insert>1</fsync_after_insert>
    <fsync_part_directory>1</fsync_part_directory>
  </merge_tree>
  <max_server_memory_usage>{memory_bytes}</max_server_memory_usage>
  <background_pool_size>2</background_pool_size>
  <background_schedule_pool_size>4</background_schedule_pool_size>
  <mark_cache_size>268435456</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
</clickhouse>
"""
#: What a server reserves for each part beyond its data.
_RESERVED_BYTES = 1 << 20
_OPEN_PATIENCE = timedelta(seconds=10)


class Written(Protocol):
    """What a finished INSERT wrote."""

    rows_written: int
    bytes_written: int


class OpenInsert(Protocol):
    """An INSERT that takes its data piece by piece."""

    def append(self, data: bytes) -> None:
        """Take one piece, of any length; returns when the engine can take another."""

    def finish(self) -> Written:
        """Write everything; when this returns, it is on disk."""
        ...


class _CheckedInsert:
    """An INSERT that refuses to finish where its data may not fit on the disk.

    The embedded engine takes the data of such an INSERT, finishes, and keeps nothing of it.
    """

    def __init__(self, inserter: Any, data_dir: Path) -> None:
        self._inserter = inserter
        self._data_dir = data_dir
        self._size_bytes = 0

    def append(self, data: bytes) -> None:
        """As the engine does."""
        self._size_bytes += len(data)
        self._inserter.append(data)

    def finish(self) -> Written:
        """As the engine does. Raises `ClickHouseError` where there is too little space."""
        free, needed = shutil.disk_usage(self._data_dir).free, self._size_bytes + _RESERVED_BYTES
        if free < needed:
            sentence = f"Cannot reserve {needed} bytes, not enough space: {free} bytes are free"
            raise fault(NOT_ENOUGH_SPACE, sentence)
        written: Written = self._inserter.finish()
        return written


class Session:
    """One session: its own database, settings and parameters. Not for two threads at once."""

    def __init__(self, connection: Any, data_dir: Path) -> None:
        self._connection = connection
        self._data_dir = data_dir

    def use_database(self, name: str) -> None:
        """Make `name` the database of unqualified tables."""
        escaped = name.replace("\\", "\\\\").replace("`", "\\`")
        self.run(f"USE `{escaped}`")

    def change_settings(self, settings: Mapping[str, str]) -> None:
        """Set each; names are checked by the caller, values by the engine."""
        if settings:
            self.run("SET " + ", ".join(f"{k} = {_quote(v)}" for k, v in settings.items()))

    def set_parameters(self, parameters: Mapping[str, str]) -> None:
        """Give the values of {name:Type} in later statements, in ClickHouse's escaped form."""
        self.change_settings({f"param_{name}": value for name, value in parameters.items()})

    def run(self, sql: str, format_name: str = "TabSeparated") -> Any:
        """Run a statement to its end; the result has bytes(), rows_read(), rows_written()."""
        try:
            return self._connection.query(sql, format_name)
        except Exception as error:
            raise from_engine(error) from error

    def stream(self, sql: str, format_name: str) -> Generator[bytes]:
        """Run a read, one encoded block after the other; closing the iterator cancels it."""
        try:
            with self._connection.send_query(sql, format_name) as blocks:
                for block in blocks:
                    yield block.bytes()
        except Exception as error:
            raise from_engine(error) from error

    @contextlib.contextmanager
    def insert(self, sql: str, format_name: str) -> Iterator[OpenInsert]:
        """Begin an INSERT; leaving without finish() cancels it."""
        try:
            with self._connection.send_insert(sql, format_name) as inserter:
                yield _CheckedInsert(inserter, self._data_dir)
        except RuntimeError as error:
            raise from_engine(error) from error


class Engine:
    """The engine of one data folder. Only one process may open a folder at a time."""

    def __init__(self, data_dir: Path, *, memory_bytes: int) -> None:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = data_dir.with_name(f"{data_dir.name}.config.xml")
        config.write_text(_CONFIG.format(memory_bytes=memory_bytes))
        self._data_dir = data_dir
        self._where = f"{data_dir}?config-file={config}"
        self._keeper = _open(self._where)
        text = self._keeper.query("SELECT version(), timezone()", "TabSeparated").bytes().decode()
        self.version, self.timezone = text.strip().split("\t")

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Open a fresh session (0.2 ms): no request sees the settings of another."""
        connection = Connection(self._where)
        try:
            yield Session(connection, self._data_dir)
        finally:
            connection.close()

    def close(self) -> None:
        """Close the engine; no session may be open."""
        self._keeper.close()


def _open(where: str) -> Any:
    """Open, waiting for a predecessor that was killed a moment ago to let go of the folder."""
    deadline = time.monotonic() + _OPEN_PATIENCE.total_seconds()
    while True:
        try:
            return Connection(where)
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"

"""The one writer of the audit log, which any number of processes may be at once.

Redis holds the log's head and decides who comes next, by comparing and setting in one script; no
lock is held, so a writer that is killed, or stands still for an hour, keeps nobody waiting and
forks nothing.

    1  Redis       the row becomes the head, unless another one did meanwhile: then again, after it.
                   Crash after: the row is kept whole beside the head, and whoever comes next writes
                   it into ClickHouse before anything else.
    2  ClickHouse  the row. Crash after: nothing is left to do. Written twice it is the same row.

What is audited takes effect after 2. Redis that lost all it knew takes the head from ClickHouse,
and the log says so; where both know rows and disagree nothing is written until a person looked.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from metering.audit_chain import (
    NO_HEAD,
    AuditEntry,
    AuditRow,
    Head,
    canonical_json,
    read,
    sealed,
    written,
)
from metering.errors import DependencyDown, PermanentError
from metering.settings import Settings
from sinks.clickhouse import clickhouse_errors, insert_arrow
from sinks.dedup_connection import connect_redis, redis_errors
from sinks.dedup_form import script_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ATTEMPTS_MAX = 50
_COLUMNS = (
    "seq, toUnixTimestamp64Micro(recorded_at), action, object, actor, reason_code, note, before, "
    "after, previous_hash, hash"
)
_SCHEMA = pa.schema(
    [("seq", pa.uint64()), ("recorded_at", pa.timestamp("us", tz="UTC"))]
    + [(name, pa.string()) for name in (*AuditEntry._fields, "previous_hash", "hash")]
)


class AuditBroken(PermanentError):
    """The log does not end where Redis knows it to end: rows were removed, or put in."""


class AuditLog:
    """The audit log of one deployment. Every call may raise `DependencyDown`."""

    def __init__(self, client: Client, settings: Settings, *, now: Callable[[], datetime]) -> None:
        """`now` is asked once for each row."""
        self._client = client
        self._key = f"{settings.redis_prefix}:audit"
        self._redis = connect_redis(settings.redis_url.get_secret_value())
        self._append: Any = self._redis.register_script(script_text("audit_append.lua"))
        self._now = now

    def close(self) -> None:
        """Let go of the connection to Redis; the client stays open."""
        self._redis.close()

    def append(self, entry: AuditEntry) -> AuditRow:
        """Write `entry` as the newest row, durable when this returns. Raises `AuditBroken`."""
        for _ in range(_ATTEMPTS_MAX):
            row = self.append_after(self.settle(), entry)
            if row is not None:
                return row
        msg = "Redis is asked by too many writers of the audit log at once; repeat the command"
        raise DependencyDown(msg)

    def append_after(self, head: Head, entry: AuditEntry) -> AuditRow | None:
        """Write `entry` if the log still ends with `head`, as `settle` told; None if not."""
        row = sealed(entry, after=head, recorded_us=self._now_us())
        if not self._put(row, held=head.hash if head.seq else ""):
            return None
        self._insert(row)
        return row

    def settle(self) -> Head:
        """The head, after writing what another writer left behind. Raises `AuditBroken`."""
        kept = self.kept_head()
        if kept is None:
            last = self._last()
            return self._adopted(last) if last.seq else NO_HEAD
        if self.complete(*kept):
            return kept[1]
        # another writer may have been between our looks at Redis and at ClickHouse
        last = self._last()
        if self.kept_head() != kept:
            return self.settle()
        msg = (
            f"audit log: expected it to end with {kept[1]}, as Redis knows, got {last}. Rows were "
            "removed, or put in, by somebody else: see `meterline audit verify`; "
            "`meterline audit accept` goes on from what is there, and says so in the log"
        )
        raise AuditBroken(msg)

    def complete(self, row: AuditRow, head: Head) -> bool:
        """Whether ClickHouse ends with the head; its row is written where only that is missing."""
        last = self._last()
        if last.seq == head.seq - 1 and row.previous_hash == last.hash:
            self._insert(row)
            return True
        return last == head

    def accept(self, *, actor: str, note: str) -> AuditRow | None:
        """Go on from the last row in ClickHouse although Redis knows another; None: it does not.

        The log tells what was expected.
        """
        kept, last = self.kept_head(), self._last()
        if kept is None or kept[1] == last:
            return None
        head = kept[1]
        expected = canonical_json(head._asdict())
        entry = AuditEntry(
            "audit_head_accepted", "audit_log", actor, "other", note, expected,
            canonical_json(last._asdict()),
        )  # fmt: skip
        row = sealed(entry, after=last, recorded_us=self._now_us())
        if self._put(row, held=head.hash):
            self._insert(row)
            return row
        return None

    def kept_head(self) -> tuple[AuditRow, Head] | None:
        """The newest row and head that Redis knows; None where it knows none."""
        with redis_errors("reading the head of the audit log"):
            found: Any = self._redis.hmget(self._key, ["seq", "hash", "row"])
        if found[0] is None:
            return None
        return read(found[2]), Head(int(found[0]), found[1].decode())

    def rows(self, condition: str = "1", **parameters: Any) -> Iterator[AuditRow]:
        """Rows in the order of the chain, as they are stored, a block at a time."""
        sql = f"SELECT {_COLUMNS} FROM audit_log WHERE {condition} ORDER BY seq, hash"
        with (
            clickhouse_errors("reading the audit log"),
            self._client.query_row_block_stream(sql, parameters=parameters) as blocks,
        ):
            for block in blocks:
                for seq, recorded_us, *texts in block:
                    entry = AuditEntry(*texts[:-2])
                    yield AuditRow(int(seq), int(recorded_us), entry, *texts[-2:])

    def _last(self) -> Head:
        sql = "SELECT seq, hash FROM audit_log ORDER BY seq DESC, hash LIMIT 1"
        with clickhouse_errors("reading the end of the audit log"):
            rows = self._client.query(sql).result_rows
        return Head(int(rows[0][0]), str(rows[0][1])) if rows else NO_HEAD

    def _adopted(self, last: Head) -> Head:
        entry = AuditEntry(
            "audit_head_adopted", "audit_log", "meterline", "other",
            "Redis knew no head of the log; it goes on from the last row",
            after=canonical_json(last._asdict()),
        )  # fmt: skip
        row = sealed(entry, after=last, recorded_us=self._now_us())
        if not self._put(row, held=""):
            return self.settle()
        self._insert(row)
        return row.head

    def _put(self, row: AuditRow, *, held: str) -> bool:
        with redis_errors("writing the head of the audit log"):
            return bool(
                self._append(keys=[self._key], args=[held, row.seq, row.hash, written(row)])
            )

    def _insert(self, row: AuditRow) -> None:
        moment = _EPOCH + timedelta(microseconds=row.recorded_us)
        values = [row.seq, moment, *row.entry, row.previous_hash, row.hash]
        columns = [
            pa.array([value], kind) for value, kind in zip(values, _SCHEMA.types, strict=True)
        ]
        insert_arrow(self._client, "audit_log", pa.table(columns, schema=_SCHEMA))

    def _now_us(self) -> int:
        return (self._now() - _EPOCH) // timedelta(microseconds=1)

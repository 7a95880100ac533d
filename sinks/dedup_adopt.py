"""Adopts the dedup memory: the one in force, or a new one rebuilt from raw history.

A memory has a marker, in every shard of Redis and in ClickHouse (`dedup_memories`), and is tied
to the run of the Redis server that held it. Where the two disagree, or the server restarted,
claims may be missing, so the memory is rebuilt before anything is counted:

    1  take the rebuild lock, and the marker out of every shard: all claims are refused from here
    2  claim what raw history holds (all of the window, or the recent tail if Redis kept its data)
    3  record the new marker in ClickHouse
    4  put it into every shard: claims are taken again
    A crash after 1, 2 or 3 leaves a memory without the recorded marker: it is rebuilt again.

What was claimed under the old marker and is not in raw is refused at its write; it replays.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clickhouse_connect.driver.client import Client

from metering.catalog import Catalog
from metering.errors import DependencyDown
from metering.settings import Settings
from sinks.clickhouse import clickhouse_errors
from sinks.dedup_connection import connect_redis, redis_errors, run_id
from sinks.dedup_form import ClaimForm, form_of
from sinks.dedup_memory import MemoryLayout, RedisDedupMemory
from sinks.dedup_rebuild import newest_record_ms, restore_from_raw
from sinks.dedup_rebuild_shards import RebuildShards

_LOCK_MS = 60_000
#: The settings spread it otherwise now, or Redis got or lost the module.
_LAID_OUT_ANEW = "laid out anew"


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """A memory as ClickHouse knows it; `layout` is what the shards were laid out for."""

    marker: str
    run: str
    reason: str


def layout_of(settings: Settings) -> MemoryLayout:
    """How the settings spread the memory."""
    return MemoryLayout.planned(
        settings.redis_prefix, shards=settings.dedup_shards,
        events_max=settings.dedup_events_max, window=settings.dedup_window,
    )  # fmt: skip


def adopt_memory(
    settings: Settings, client: Client, catalog: Catalog, *,
    say: Callable[[str], None] = lambda _text: None,
) -> RedisDedupMemory:  # fmt: skip
    """The memory in force; rebuilds it first where that is needed.

    Waits while another worker rebuilds. Raises `DependencyDown` when a server does not answer.
    """
    adopter = _Adopter(settings, client, catalog, say)
    return adopter.adopt()


def rebuild_memory(
    settings: Settings, client: Client, catalog: Catalog, *, reason: str,
    on_claimed: Callable[[int], None] = lambda _count: None,
) -> int:  # fmt: skip
    """Rebuild the whole window from raw history; the number of identities claimed again.

    `on_claimed` hears now and then how many they are so far.
    """
    adopter = _Adopter(settings, client, catalog, lambda _text: None, on_claimed)
    return adopter.rebuild(reason=reason, whole=True)


def recorded_memory(client: Client) -> MemoryRecord | None:
    """The newest memory that was adopted; None before the first."""
    with clickhouse_errors("reading which dedup memory is in force"):
        rows = client.query(
            "SELECT marker, servers, reason FROM dedup_memories ORDER BY adopted_at DESC LIMIT 1"
        ).result_rows
    return MemoryRecord(*rows[0]) if rows else None


class _Adopter:
    def __init__(
        self, settings: Settings, client: Client, catalog: Catalog, say: Callable[[str], None],
        on_claimed: Callable[[int], None] = lambda _count: None,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._client = client
        self._catalog = catalog
        self._say = say
        self._on_claimed = on_claimed
        self._layout = layout_of(settings)
        self._url = settings.redis_url.get_secret_value()
        self._redis = connect_redis(self._url)
        self._lock_key = f"{self._layout.prefix}:rebuilding"

    def adopt(self) -> RedisDedupMemory:
        while True:
            record = recorded_memory(self._client)
            run, form = run_id(self._redis), form_of(self._redis)
            lacks = "first use" if record is None else self._lacks(record.marker, form)
            if record is None or lacks:
                self._try_rebuild(reason=lacks, whole=True)
            elif record.run == run:
                return self._attach(record.marker, run, form)
            else:
                self._try_rebuild(reason="redis restarted", whole=False)

    def rebuild(self, *, reason: str, whole: bool) -> int:
        token = uuid.uuid4().hex
        if not self._lock(token):
            msg = "another worker is rebuilding the dedup memory; wait until it is done"
            raise DependencyDown(msg)
        try:
            return self._rebuild(token, reason=reason, whole=whole)
        finally:
            with redis_errors("giving the rebuild lock back"):
                self._redis.delete(self._lock_key)

    def _try_rebuild(self, *, reason: str, whole: bool) -> None:
        try:
            count = self.rebuild(reason=reason, whole=whole)
        except DependencyDown as error:
            if "another worker" not in str(error):
                raise
            self._say("waiting for another worker that rebuilds the dedup memory")
            time.sleep(0.5)
        else:
            self._say(f"dedup memory adopted ({reason}): {count} identities claimed from history")

    def _rebuild(self, token: str, *, reason: str, whole: bool) -> int:
        run = run_id(self._redis)
        shards = RebuildShards(self._redis, self._layout, token, form=form_of(self._redis))
        shards.require_allowed()
        shards.start()
        raw_ms = newest_record_ms(self._client)
        # Claims precede raw: a shard that is behind raw's newest generation has lost its own state.
        whole = whole or min(shards.newest_windows()) < raw_ms // self._layout.window_ms
        if whole:
            shards.clear()
        count = restore_from_raw(
            shards, self._client, self._settings, self._catalog,
            whole=whole, keep_lock=lambda claimed: self._keep_lock(token, claimed),
        )  # fmt: skip
        marker = uuid.uuid4().hex
        with clickhouse_errors("recording the dedup memory"):
            self._client.insert(
                "dedup_memories", [[marker, run, reason, datetime.now(UTC)]],
                column_names=["marker", "servers", "reason", "adopted_at"],
                settings={"async_insert": 0},
            )  # fmt: skip
        born = {"born": "empty" if raw_ms == 0 else "rebuilt"} if whole else {}
        shards.finish(marker, born)
        return count

    def _lacks(self, marker: str, form: ClaimForm) -> str:
        """Why the memory cannot be used as it is, as the reason of a rebuild; "" if it can."""
        layout = self._layout
        expected = [marker, str(layout.buckets), str(layout.window_ms), form.value]
        lacks = ""
        with redis_errors("reading the dedup memory's marker"):
            for shard in range(self._layout.shards):
                found: Any = self._redis.hmget(
                    self._layout.state_key(shard), ["marker", "buckets", "window_ms", "format"]
                )
                texts = [value.decode() if value else "" for value in found]
                if texts[0] != marker:
                    return "memory lost"
                if texts != expected:
                    lacks = _LAID_OUT_ANEW
            if self._redis.exists(self._layout.state_key(self._layout.shards)):
                lacks = _LAID_OUT_ANEW
        return lacks

    def _attach(self, marker: str, run: str, form: ClaimForm) -> RedisDedupMemory:
        with redis_errors("reading the dedup memory's state"):
            born: Any = self._redis.hget(self._layout.state_key(0), "born")
        return RedisDedupMemory(
            self._url, self._layout, form=form, marker=marker, run=run, complete=born == b"empty"
        )

    def _lock(self, token: str) -> bool:
        with redis_errors("taking the rebuild lock"):
            return bool(self._redis.set(self._lock_key, token, nx=True, px=_LOCK_MS))

    def _keep_lock(self, token: str, claimed: int) -> None:
        self._on_claimed(claimed)
        with redis_errors("keeping the rebuild lock"):
            if self._redis.get(self._lock_key) != token.encode():
                msg = "the rebuild lock was lost to another worker; starting again"
                raise DependencyDown(msg)
            self._redis.pexpire(self._lock_key, _LOCK_MS)
        self._say(f"the dedup memory to be rebuilt: {claimed} identities claimed from history")

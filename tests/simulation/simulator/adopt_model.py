"""Adopting the dedup memory, step by step as `sinks/dedup_adopt.py` and `dedup_rebuild.py` do."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from metering.errors import DependencyDown
from metering.value_identity import value_identity
from simulator.clickhouse_model import RawRow
from simulator.clickhouse_reads import SimReads, month_of, value_of
from simulator.redis_model import LOSABLE_MS, SHARDS, RedisServer, SimDedupStore
from simulator.turns import Turns

T = TypeVar("T")
SEED = 7
LOCK_MS = 4_000  # a minute in truth; here a dozen steps
TAIL_MS = 3 * LOSABLE_MS


class Adopter:
    """One attempt after the other until a memory is in force."""

    def __init__(
        self, turns: Turns, redis: RedisServer, reads: SimReads, *, window_ms: int,
        store: type[SimDedupStore] = SimDedupStore,
    ) -> None:  # fmt: skip
        self._turns = turns
        self._redis = redis
        self._reads = reads
        self._window_ms = window_ms
        self._store = store
        self._run = redis.run

    def adopt(self) -> SimDedupStore:
        """The memory in force; raises `DependencyDown` when another worker rebuilds."""
        for _ in range(20):
            record = self._reads.recorded_memory()
            run = self._ask(lambda: self._redis.run)
            if record is not None and self._is_whole(record[0]):
                if record[1] == run:
                    return self._attach(record[0], run)
                self._rebuild_locked(whole=False)
            else:
                self._rebuild_locked(whole=True)
        msg = "never in force"
        raise DependencyDown(msg)

    def _attach(self, marker: str, run: int) -> SimDedupStore:
        born = self._ask(lambda: self._redis.shards[0].state.get("born"))
        return self._store(
            self._turns, self._redis, window_ms=self._window_ms, marker=marker, run=run,
            complete=born == "empty",
        )  # fmt: skip

    def _is_whole(self, marker: str) -> bool:
        return all(
            self._ask(partial(self._field, shard, "marker")) == marker for shard in range(SHARDS)
        )

    def _rebuild_locked(self, *, whole: bool) -> None:
        token = f"{self._turns.rng.getrandbits(64):x}"
        if not self._ask(lambda: self._lock(token)):
            msg = "another worker is rebuilding"
            raise DependencyDown(msg)
        try:
            self._rebuild(token, whole=whole)
        finally:
            self._ask(self._unlock)

    def _rebuild(self, token: str, *, whole: bool) -> None:
        run = self._ask(lambda: self._redis.run)
        for shard in range(SHARDS):
            self._ask(partial(self._start, shard, token))
        raw_ms = self._reads.newest_record_ms()
        whole = whole or min(self._newest()) < raw_ms // self._window_ms
        if whole:
            self._each(token, self._redis.clear)
        self._restore(token, whole=whole)
        marker = f"{self._turns.rng.getrandbits(64):x}"
        self._reads.record_memory(marker, run)
        self._each(token, lambda shard: self._finish(shard, marker, whole=whole, raw_ms=raw_ms))

    def _field(self, shard: int, name: str) -> Any:
        return self._redis.shards[shard].state.get(name)

    def _newest(self) -> list[int]:
        return [
            int(self._ask(partial(self._field, shard, "newest")) or 0) for shard in range(SHARDS)
        ]

    def _start(self, shard: int, token: str) -> None:
        self._redis.put(shard, "rebuild", token)
        self._redis.put(shard, "marker", None)

    def _finish(self, shard: int, marker: str, *, whole: bool, raw_ms: int) -> None:
        self._redis.put(shard, "marker", marker)
        if whole:
            self._redis.put(shard, "born", "rebuilt" if raw_ms else "empty")
        self._redis.put(shard, "rebuild", None)

    def _restore(self, token: str, *, whole: bool) -> None:
        newest = max(*self._newest(), self._reads.newest_record_ms() // self._window_ms)
        if whole:
            self._each(token, lambda shard: self._lay_out(shard, newest))
            since_ms = (newest - 1) * self._window_ms
            rows = self._reads.raw(lambda row, _at_ms: row.record_ms >= since_ms)
        else:
            rows = self._reads.raw_tail(TAIL_MS)
        oldest = max(newest - 1, 0) if whole else newest
        self._each(token, lambda shard: self._restore_shard(shard, oldest, newest, rows))
        if self._ask(lambda: self._redis.lock is None or self._redis.lock[0] != token):
            msg = "the rebuild lock was lost"
            raise DependencyDown(msg)

    def _lay_out(self, shard: int, newest: int) -> None:
        self._redis.put(shard, "newest", newest)
        self._redis.put(shard, "since", max(newest - 1, 0))

    def _each(self, token: str, step: Callable[[int], None]) -> None:
        """A step on every shard, refused where another rebuilder has started."""

        def on(shard: int) -> None:
            if self._redis.shards[shard].state.get("rebuild") != token:
                msg = "another worker started to rebuild"
                raise DependencyDown(msg)
            step(shard)

        for shard in range(SHARDS):
            self._ask(partial(on, shard))

    def _restore_shard(self, shard: int, oldest: int, newest: int, rows: list[RawRow]) -> None:
        for row in rows:
            window = min(max(row.record_ms // self._window_ms, oldest), newest)
            owner = (row.partition, row.offset, row.place)
            claims = [(row.identity, row.digest & 0xFFFFFF)]
            if row.meter == "m_unique" and row.counted:
                month = month_of(row.occurred_us)
                key = (row.customer, row.meter, row.group, month, value_of(row))
                claims.append((value_identity(SEED, key), 0))
            for identity, digest in claims:
                if identity[0] % SHARDS == shard:
                    self._redis.claim_one(shard, window, identity, (*owner, digest))

    def _lock(self, token: str) -> bool:
        held = self._redis.lock
        if held is not None and held[1] > self._turns.now_ms:
            return False
        self._redis.lock = (token, self._turns.now_ms + LOCK_MS)
        return True

    def _unlock(self) -> None:
        self._redis.lock = None

    def _ask(self, do: Callable[[], T]) -> T:
        def round_trip() -> T:
            if self._redis.run != self._run:
                msg = "the connection is broken"
                raise DependencyDown(msg)
            if self._turns.strikes("redis_refused"):
                raise DependencyDown("redis")
            answer = do()
            if self._turns.strikes("redis_reply_lost"):
                raise DependencyDown("redis")
            return answer

        return self._turns.call(round_trip)

"""Redis as the dedup memory uses it: the Lua scripts as methods, and what may go wrong with it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from metering.batch import Source
from metering.claims import Claim, ClaimAnswers, Claims, CoverageMoved
from metering.errors import AssignmentLost, ClaimsForgotten, DedupMemoryLost, DependencyDown
from simulator.turns import Turns

T = TypeVar("T")
#: Owner coordinate (partition, offset, index) and 24 bits of digest.
Owner = tuple[int, int, int, int]
SHARDS = 2


@dataclass(slots=True)
class Shard:
    """One hash tag: its state hash, and its claims by generation and identity."""

    state: dict[str, Any] = field(default_factory=dict)
    windows: dict[int, dict[bytes, Owner]] = field(default_factory=dict)


class RedisServer:
    """One server that keeps an undo log, so that its last writes can be lost."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.run = 1
        self.shards = [Shard() for _ in range(SHARDS)]
        self.lock: tuple[str, int] | None = None  # token, when it expires
        self.losses = 0  # times that claims were lost or forgotten
        self._undo: list[tuple[int, Callable[[], object]]] = []

    def marker(self) -> str | None:
        """The marker in the home shard."""
        found: str | None = self.shards[0].state.get("marker")
        return found

    def put(self, shard: int, name: str, value: Any) -> None:
        """HSET of the state (None: HDEL)."""
        state = self.shards[shard].state
        before = state.get(name)
        self._log(lambda: _put(state, name, before))
        _put(state, name, value)

    def claim_one(self, shard: int, window: int, identity: bytes, owner: Owner) -> None:
        """HSET of one claim."""
        bucket = self.shards[shard].windows.setdefault(window, {})
        before = bucket.get(identity)
        self._log(lambda: _put(bucket, identity, before))
        bucket[identity] = owner

    def clear(self, shard: int) -> None:
        """UNLINK of all buckets of a shard."""
        held = self.shards[shard]
        before = held.windows

        def bring_back() -> None:
            held.windows = before

        self._log(bring_back)
        held.windows = {}
        self.losses += any(before.values())

    def restart(self, *, lost: int) -> None:
        """A new run without the last `lost` writes (at most those of the last 5 minutes)."""
        self.run += 1
        self.lock = None
        oldest_ms = self._turns.now_ms - LOSABLE_MS
        count = 0
        while self._undo and count < lost and self._undo[-1][0] >= oldest_ms:
            self._undo.pop()[1]()
            count += 1
        self._undo = []
        self.losses += bool(count)

    def wipe(self, *, is_restart: bool) -> None:
        """Everything is gone; without a restart somebody ran FLUSHALL."""
        self.shards = [Shard() for _ in range(SHARDS)]
        self.lock = None
        self._undo = []
        self.run += is_restart
        self.losses += 1

    def begin(self, shard: int, marker: str, name: str, wanted: int) -> int | str:
        """`dedup_begin.lua`."""
        state = self.shards[shard].state
        if state.get("marker") != marker:
            return "M"
        held = int(state.get(name, 0))
        wanted = wanted or held + 1
        if wanted > held:
            self.put(shard, name, wanted)
        return max(wanted, held)

    def advance(self, shard: int, marker: str | None, window: int) -> int | str:
        """`dedup_advance.lua`: begin a generation; the newest one then."""
        state = self.shards[shard].state
        if state.get("marker") != marker:
            return "M"
        newest = int(state.get("newest", 0))
        if window > newest:
            held = self.shards[shard].windows
            self.losses += any(old < window - 1 and claims for old, claims in held.items())
            self.put(shard, "newest", window)
            if newest == 0:
                self.put(shard, "since", window)
        return max(window, newest)

    def claim(
        self, shard: int, marker: str | None, name: str, generation: int, window: int,
        claims: list[tuple[bytes, Owner]],
    ) -> list[tuple[int, Owner]] | str:  # fmt: skip
        """`dedup_claim.lua`: a status and an owner for each; no marker, no fence."""
        state = self.shards[shard].state
        if marker is None:
            marker = state.get("marker")
        elif state.get("marker") != marker:
            return "M"
        elif state.get(name) != generation:
            return "G"
        if int(state.get("newest", 0)) > window:
            return f"W{state['newest']}"
        self.advance(shard, marker, window)
        newest = window
        windows = self.shards[shard].windows
        previous = windows.get(newest - 1, {}) if state.get("since", newest) < newest else {}
        answers: list[tuple[int, Owner]] = []
        for identity, mine in claims:
            owner = previous.get(identity) or windows.get(newest, {}).get(identity)
            if owner is None:
                self.claim_one(shard, newest, identity, mine)
                answers.append((Claim.FIRST, mine))
            elif owner[:3] == mine[:3]:
                if identity in previous:
                    self.claim_one(shard, newest, identity, mine)
                answers.append((Claim.OWN, mine))
            else:
                is_same = owner[3] == mine[3]
                answers.append((Claim.DUPLICATE if is_same else Claim.CONFLICT, owner))
        return answers

    def owned(self, shard: int, marker: str, claims: list[tuple[bytes, Owner]]) -> list[bool] | str:
        """`dedup_owned.lua`: whether each is held by its own coordinate."""
        state, windows = self.shards[shard].state, self.shards[shard].windows
        if state.get("marker") != marker:
            return "M"
        newest = int(state.get("newest", 0))
        previous = windows.get(newest - 1, {}) if state.get("since", newest) < newest else {}
        held = {**windows.get(newest, {}), **previous}
        return [identity in held and held[identity][:3] == mine[:3] for identity, mine in claims]

    def _log(self, undo: Callable[[], object]) -> None:
        self._undo.append((self._turns.now_ms, undo))


#: How much Redis may lose when it restarts; the rebuilt tail has to cover it.
LOSABLE_MS = 300_000


def _put(held: dict[Any, Any], name: Any, value: Any) -> None:
    if value is None:
        held.pop(name, None)
    else:
        held[name] = value


class SimDedupStore:
    """A `DedupStore` as `RedisDedupMemory` is one: the same calls, in the same order."""

    def __init__(
        self, turns: Turns, server: RedisServer, *, window_ms: int, marker: str, run: int,
        complete: bool,
    ) -> None:  # fmt: skip
        self.turns = turns
        self.server = server
        self.window_ms = window_ms
        self.marker = marker
        self.run = run
        self.complete = complete
        self.first_window: int | None = None  # generation of its first claim
        state = self._ask(lambda: dict(server.shards[0].state))
        self.newest = int(state.get("newest", 0))
        self.since = int(state.get("since", 0))

    def begin(self, stream: str, partition: int) -> Source:
        generation = 0
        name = f"gen:{stream}:{partition}"
        for shard in range(SHARDS):
            reply = self._ask(partial(self.server.begin, shard, self.marker, name, generation))
            if reply == "M":
                raise DedupMemoryLost(self.marker)
            generation = generation or int(reply)
        return Source(stream, partition, generation)

    def claim(self, claims: Claims) -> ClaimAnswers:
        window = self._see(claims.record_ms)
        if self.first_window is None:
            self.first_window = window
        self._remember(window)
        name = f"gen:{claims.source.stream}:{claims.source.partition}"
        asked = _by_shard(claims)
        replies = [
            self._ask(partial(self._claim, shard, name, claims.source.generation, window, some))
            for shard, (_, some) in asked
        ]
        statuses = np.zeros(len(claims), np.uint8)
        owners = np.zeros((len(claims), 3), np.int64)
        for (_, (positions, _)), reply in zip(asked, replies, strict=True):
            if reply == "M":
                raise DedupMemoryLost(self.marker)
            if reply == "G":
                raise AssignmentLost(str(claims.source))
            if isinstance(reply, str):
                self.newest = max(self.newest, int(reply[1:]))
                raise CoverageMoved
            for at, (status, owner) in zip(positions, reply, strict=True):
                statuses[at] = status
                owners[at] = owner[:3]
        return ClaimAnswers(statuses, owners[:, 0], owners[:, 1], owners[:, 2])

    def owned(self, claims: Claims) -> NDArray[np.bool_]:
        is_own = np.zeros(len(claims), np.bool_)
        for shard, (positions, some) in _by_shard(claims):
            reply = self._ask(partial(self.server.owned, shard, self.marker, some))
            if isinstance(reply, str):
                raise DedupMemoryLost(self.marker)
            is_own[positions] = reply
        return is_own

    def stale(self, sources: list[Source]) -> list[Source]:
        held = self._ask(lambda: dict(self.server.shards[0].state))
        if held.get("marker") != self.marker:
            raise DedupMemoryLost(self.marker)
        self._remember(int(held.get("newest", 0)))
        return [
            source for source in sources
            if held.get(f"gen:{source.stream}:{source.partition}") != source.generation
        ]  # fmt: skip

    def oldest_covered_ms(self, record_ms: int) -> int:
        window = record_ms // self.window_ms
        if self.turns.local(lambda: window > self.newest):
            for shard in range(SHARDS):
                reply = self._ask(partial(self.server.advance, shard, self.marker, window))
                if isinstance(reply, str):
                    raise DedupMemoryLost(self.marker)
                self.newest = max(self.newest, reply)
        return self.turns.local(lambda: self._oldest_covered_ms(record_ms))

    def _oldest_covered_ms(self, record_ms: int) -> int:
        newest = self._see(record_ms)
        if self.complete and self.since and newest - self.since < 2:
            return 0
        return (newest - 1) * self.window_ms

    def _see(self, record_ms: int) -> int:
        self.newest = max(self.newest, record_ms // self.window_ms)
        return self.newest

    def _remember(self, newest: int) -> None:
        """Raises when claims made under this handle may be forgotten."""
        newest = max(newest, self.newest)
        if self.first_window is not None and newest >= self.first_window + 2:
            raise ClaimsForgotten(self.marker)

    def _claim(
        self, shard: int, name: str, generation: int, window: int,
        claims: list[tuple[bytes, Owner]],
    ) -> Any:  # fmt: skip
        return self.server.claim(shard, self.marker, name, generation, window, claims)

    def _is_same_run(self) -> bool:
        return self.server.run == self.run

    def _ask(self, do: Callable[[], T]) -> T:
        """One round trip: refused on another run of the server, and replies may be lost."""

        def round_trip() -> T:
            if not self._is_same_run():
                raise DedupMemoryLost("redis restarted")
            if self.turns.strikes("redis_refused"):
                raise DependencyDown("redis")
            answer = do()
            if self.turns.strikes("redis_reply_lost"):
                raise DependencyDown("redis")
            return answer

        return self.turns.call(round_trip)


def _by_shard(claims: Claims) -> list[tuple[int, tuple[list[int], list[tuple[bytes, Owner]]]]]:
    found: dict[int, tuple[list[int], list[tuple[bytes, Owner]]]] = {}
    for at in range(len(claims)):
        identity = claims.identities[at].tobytes()
        owner = (
            claims.source.partition, int(claims.offsets[at]), int(claims.indexes[at]),
            int(claims.digests[at]) & 0xFFFFFF,
        )  # fmt: skip
        positions, some = found.setdefault(identity[0] % SHARDS, ([], []))
        positions.append(at)
        some.append((identity, owner))
    return sorted(found.items())

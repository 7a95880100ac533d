"""The dedup memory in Redis: who came first, in many small buckets (see `claim_packing`).

Keys of one namespace, per shard `s`:

    <prefix>:{d<s>}                     hash: marker, newest and first window, generations
    <prefix>:{d<s>}:entries             hash: window -> claims in it; not those of a lost answer
    <prefix>:{d<s>}:<window>:<bucket>   hash: field -> owner and digest, kept as a listpack
    <prefix>:{d<s>}:<window>            the same of all buckets, where Redis has tables for it

Guarantee: a claim is atomic on its shard and refused when the marker or the generation is not the
one in force. After an error nothing is known about the claims sent; asking again is harmless.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray

from metering.batch import Source
from metering.claim_packing import BUCKET_BYTES, VALUE_BYTES, pack_claims, shard_of, unpack_owners
from metering.claims import Claim, ClaimAnswers, Claims, CoverageMoved
from metering.errors import AssignmentLost, ClaimsForgotten, DedupMemoryLost
from sinks.dedup_connection import connect_redis, redis_errors
from sinks.dedup_form import ClaimForm, claim_commands, script_text
from sinks.dedup_load import DedupLoad, dedup_load, entries_key
from sinks.dedup_servers import Call, call_each, servers_of
from sinks.dedup_transactions import Asked, ClaimTransactions

#: Entries that a bucket is laid out for; Redis keeps a hash as a listpack up to 512 entries.
BUCKET_ENTRIES = 24
#: Claims in one script call or transaction: the server is blocked for a few milliseconds at most.
CLAIMS_PER_CALL = 4096
#: Where more claims than this share find somebody there, the script alone is cheaper.
_CONTESTED_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class MemoryLayout:
    """How the memory is spread; part of what a rebuild fixes."""

    prefix: str
    shards: int
    buckets: int  # per shard and generation
    window: timedelta

    @property
    def window_ms(self) -> int:
        """Length of one generation in milliseconds."""
        return int(self.window / timedelta(milliseconds=1))

    def state_key(self, shard: int) -> str:
        """Key of a shard's state, whose hash tag all its buckets share."""
        return f"{self.prefix}:{{d{shard}}}"

    @classmethod
    def planned(
        cls, prefix: str, *, shards: int, events_max: int, window: timedelta
    ) -> "MemoryLayout":
        """Enough buckets for `events_max` events in one generation."""
        return cls(prefix, shards, max(1, events_max // BUCKET_ENTRIES // shards), window)


def assignment_field(stream: str, partition: int) -> str:
    """Field of a shard's state that holds the generation of one partition."""
    return f"gen:{stream}:{partition}"


class RedisDedupMemory:
    """A `DedupStore` over one adopted memory.

    One thread claims; others may call `begin` and `stale` meanwhile.
    """

    def __init__(
        self, url: str, layout: MemoryLayout, *, form: ClaimForm, marker: str, run: str,
        complete: bool,
    ) -> None:  # fmt: skip
        """Attach to an adopted memory; `complete` says that nothing was ever expired from it."""
        self._layout = layout
        self._marker = marker
        self._complete = complete
        self._client = connect_redis(url, run=run)
        self._form = form
        self._commands = claim_commands(self._client, form)
        self._advancing: Any = self._client.register_script(script_text("dedup_advance.lua"))
        states = [layout.state_key(shard) for shard in range(layout.shards)]
        self._transactions = ClaimTransactions(connect_redis(url, run=run, protocol=2), states)
        self._is_contested = False
        self._first_claim_window: int | None = None
        self._begin: Any = self._client.register_script(script_text("dedup_begin.lua"))
        with redis_errors("reading the newest generation"):
            found: Any = self._client.hmget(layout.state_key(0), ["newest", "since"])
        self._newest_window: int = int(found[0] or 0)
        self._since_window: int = int(found[1] or 0)
        self._load_scripts()

    def begin(self, stream: str, partition: int) -> Source:
        """Start a new assignment; the home shard (0) decides, the others follow."""
        generation = 0
        field = assignment_field(stream, partition)
        with redis_errors(f"starting an assignment of {stream} partition {partition}"):
            for shard in range(self._layout.shards):
                reply = self._begin(
                    keys=[self._layout.state_key(shard)], args=[self._marker, field, generation]
                )
                if reply == b"M":
                    raise DedupMemoryLost(self._lost())
                generation = generation or int(reply)
        return Source(stream, partition, generation)

    def claim(self, claims: Claims) -> ClaimAnswers:
        """Claim by one command for each shard and up to `CLAIMS_PER_CALL` claims.

        Of hashes, by one transaction for each shard; what that leaves open the script decides.
        """
        self._see(claims.record_ms // self._layout.window_ms)
        self._require_remembered()
        window = self._newest_window
        if self._first_claim_window is None:
            self._first_claim_window = window
        field = assignment_field(claims.source.stream, claims.source.partition)
        asked = Asked(self._marker, field, claims.source.generation, window)
        answers = _first(claims)
        if self._is_contested or self._form is ClaimForm.TABLES:
            left = np.arange(len(claims), dtype=np.int64)
        else:
            left = np.flatnonzero(~self._put(asked, claims))
        if len(left):
            told = self._answers(
                self._commands.claim, claims.at(left), args=[field, asked.generation, window]
            )
            answers.statuses[left] = told.statuses
            answers.owner_partitions[left] = told.owner_partitions
            answers.owner_offsets[left] = told.owner_offsets
            answers.owner_indexes[left] = told.owner_indexes
        contested = int(np.count_nonzero(answers.statuses))
        self._is_contested = contested > _CONTESTED_SHARE * len(claims)
        return answers

    def owned(self, claims: Claims) -> NDArray[np.bool_]:
        """Ask in one round trip, as `claim` does."""
        found: NDArray[np.bool_] = (
            self._answers(self._commands.owned, claims, args=[]).statuses == Claim.OWN
        )
        return found

    def reassign(self, claims: Claims, *, are_held: bool) -> None:
        """Say whose identities are, whoever held them; or, unless `are_held`, that nobody does.

        For distinct values after a correction, while their partitions are fenced.
        """
        self._answers(self._commands.reassign, claims, args=[int(are_held)])

    def stale(self, sources: list[Source]) -> list[Source]:
        """Ask the home shard, which every assignment reaches first."""
        fields = [assignment_field(source.stream, source.partition) for source in sources]
        with redis_errors("checking assignments before a write"):
            held: Any = self._client.hmget(self._layout.state_key(0), ["marker", "newest", *fields])
        if held[0] != self._marker.encode():
            raise DedupMemoryLost(self._lost())
        self._require_remembered(int(held[1] or 0))
        return [
            source
            for source, generation in zip(sources, held[2:], strict=True)
            if generation != str(source.generation).encode()
        ]

    def all_written(self) -> None:
        """Everything that was claimed is in raw history: none of it may be forgotten unseen."""
        self._first_claim_window = None

    def oldest_covered_ms(self, record_ms: int) -> int:
        """Start of the older generation, or 0 while nothing was ever forgotten.

        Where `record_ms` begins a new generation all shards are moved on first (the home shard
        before the others): what a look-up in history finds after that cannot be outrun by a
        worker that still held a claim in the generation that is forgotten now.
        """
        window = record_ms // self._layout.window_ms
        if window > self._newest_window:
            self._move_on(window)
        newest = self._newest_window
        since = self._since_window  # 0 if the memory was empty when this worker attached
        if self._complete and since and newest - since < 2:  # noqa: PLR2004 - generations
            return 0
        return (newest - 1) * self._layout.window_ms

    def forget_expired(self) -> int:
        """Free the generations that nobody looks at any more; the number of keys freed.

        Any worker may do it at any time, and two at once do no harm.
        """
        freed = 0
        with redis_errors("freeing old generations"):
            for shard in range(self._layout.shards):
                state = self._layout.state_key(shard)
                windows: Any = self._client.hkeys(entries_key(state))
                newest: Any = self._client.hget(state, "newest")
                for window in [w for w in map(int, windows) if w < int(newest or 0) - 1]:
                    freed += self._free(state, window)
                    self._client.hdel(entries_key(state), str(window))
        return freed

    def load(self) -> DedupLoad:
        """How full it is now. Raises `DependencyDown`."""
        layout = self._layout
        keys = [layout.state_key(shard) for shard in range(layout.shards)]
        planned = layout.shards * layout.buckets * BUCKET_ENTRIES
        return dedup_load(self._client, keys, planned_entries=planned)

    def close(self) -> None:
        """Give the connections back."""
        self._transactions.close()
        self._client.close()

    def _move_on(self, window: int) -> None:
        with redis_errors("moving on to a new generation"):
            for shard in range(self._layout.shards):
                reply = self._advancing(
                    keys=[self._layout.state_key(shard)], args=[self._marker, window]
                )
                if reply == b"M":
                    raise DedupMemoryLost(self._lost())
                self._see(int(reply))

    def _see(self, window: int) -> None:
        self._newest_window = max(self._newest_window, window)

    def _require_remembered(self, newest: int = 0) -> None:
        """What this worker claimed first, and may not have written yet, is still remembered."""
        first, newest = self._first_claim_window, max(newest, self._newest_window)
        if first is not None and newest >= first + 2:
            msg = (
                f"the dedup memory moved from generation {first} to {newest} since this worker "
                "first claimed; it starts anew from what is durable"
            )
            raise ClaimsForgotten(msg)

    def _free(self, state: str, window: int) -> int:
        # Of either form: a worker that has none of the partitions may know an earlier one.
        unlinked: Any = self._client.unlink(f"{state}:{window}")
        if self._form is ClaimForm.TABLES:
            return int(unlinked)
        prefix, freed = f"{state}:{window}:".encode(), int(unlinked)
        for first in range(0, self._layout.buckets, CLAIMS_PER_CALL):
            last = min(first + CLAIMS_PER_CALL, self._layout.buckets)
            numbers = range(first, last)
            names = [prefix + bucket.to_bytes(BUCKET_BYTES, "big") for bucket in numbers]
            unlinked = self._client.unlink(*names)
            freed += int(unlinked)
        return freed

    def _put(self, asked: Asked, claims: Claims) -> NDArray[np.bool_]:
        """Claim what nobody holds yet; True where that is decided."""
        packed = pack_claims(claims, shards=self._layout.shards, buckets=self._layout.buckets)
        orders = [order[:CLAIMS_PER_CALL] for order in self._by_shard(claims)]
        with redis_errors("claiming identities"):
            first = self._transactions.claim(asked, [packed[order] for order in orders])
        is_first = np.zeros(len(claims), np.bool_)
        for order, some in zip(orders, first, strict=True):
            is_first[order] = some
        return is_first

    def _answers(self, script: Any, claims: Claims, *, args: list[str | int]) -> ClaimAnswers:
        packed = pack_claims(claims, shards=self._layout.shards, buckets=self._layout.buckets)
        orders = self._orders(claims)
        with redis_errors("claiming identities"):
            calls = [
                Call(self._layout.state_key(shard), [self._marker, *args, packed[order].tobytes()])
                for shard, order in orders
            ]
            replies = call_each(self._client, script, calls=calls)
        self._raise_refusals(replies, claims.source)
        return _answers(claims, orders=[order for _, order in orders], replies=replies)

    def _orders(self, claims: Claims) -> list[tuple[int, NDArray[np.int64]]]:
        return [
            (shard, order[at : at + CLAIMS_PER_CALL])
            for shard, order in enumerate(self._by_shard(claims))
            for at in range(0, len(order), CLAIMS_PER_CALL)
        ]

    def _by_shard(self, claims: Claims) -> list[NDArray[np.int64]]:
        """Positions of the claims of each shard, ascending."""
        shards = shard_of(claims.identities, shards=self._layout.shards)
        by_shard = np.argsort(shards, kind="stable")
        borders = np.searchsorted(shards[by_shard], np.arange(1, self._layout.shards))
        return np.split(by_shard, borders)

    def _raise_refusals(self, replies: list[Any], source: Source) -> None:
        for reply in replies:
            if isinstance(reply, Exception):
                with redis_errors("claiming identities"):
                    if isinstance(reply, redis.exceptions.NoScriptError) or _is_unknown(reply):
                        raise DedupMemoryLost(self._lost())
                    raise reply
            if reply == b"M":
                raise DedupMemoryLost(self._lost())
            if reply[:1] == b"W":
                self._see(int(reply[1:]))
                raise CoverageMoved
            if reply == b"G":
                msg = (
                    f"{source.stream} partition {source.partition}: generation "
                    f"{source.generation} is no longer in force; another worker reads it"
                )
                raise AssignmentLost(msg)

    def _load_scripts(self) -> None:
        with redis_errors("loading scripts"):
            for script in (*self._commands.scripts, self._begin, self._advancing):
                for server in servers_of(self._client):
                    server.script_load(script.script)

    def _lost(self) -> str:
        return f"the dedup memory {self._marker[:8]} is gone from Redis; it has to be rebuilt"


def _first(claims: Claims) -> ClaimAnswers:
    n = len(claims)
    partitions = np.full(n, claims.source.partition, np.int64)
    return ClaimAnswers(
        np.full(n, Claim.FIRST, np.uint8), partitions, claims.offsets.copy(), claims.indexes.copy()
    )


def _answers(claims: Claims, *, orders: list[Any], replies: list[bytes]) -> ClaimAnswers:
    answers = _first(claims)
    for order, reply in zip(orders, replies, strict=True):
        count = len(order)
        status = np.frombuffer(reply, np.uint8, count, 1)
        answers.statuses[order] = status
        others = order[status >= Claim.DUPLICATE]
        if len(others):
            owners = np.frombuffer(reply, np.uint8, -1, 1 + count).reshape(-1, VALUE_BYTES)
            found = unpack_owners(owners, stream=claims.source.stream)
            answers.owner_partitions[others] = found[0]
            answers.owner_offsets[others], answers.owner_indexes[others] = found[1:]
    return answers


def _is_unknown(reply: Exception) -> bool:
    """The server has not the module that the memory needs."""
    return isinstance(reply, redis.ResponseError) and str(reply).startswith("unknown command")

"""The shards of the dedup memory while they are rebuilt: every change carries a token."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray

from metering.claim_packing import pack_claims, shard_of
from metering.claims import Claims
from metering.errors import DependencyDown
from sinks.dedup_connection import redis_errors
from sinks.dedup_form import ClaimForm, claim_commands, script_text
from sinks.dedup_memory import CLAIMS_PER_CALL, MemoryLayout
from sinks.dedup_servers import Call, call_each

_KEYS_PER_CALL = 1000


class RebuildShards:
    """Raises `DependencyDown` from any call once another rebuilder has started."""

    def __init__(
        self, server: redis.Redis, layout: MemoryLayout, token: str, *, form: ClaimForm
    ) -> None:
        """`token` names this rebuild; claims are kept in this form from now on."""
        self.layout = layout
        self._server = server
        self._token = token
        self._step: Any = server.register_script(script_text("dedup_rebuild.lua"))
        self._form = form
        self._restore: Any = claim_commands(server, form).restore

    def require_allowed(self) -> None:
        """Raise `DependencyDown` if claims could not be restored; nothing is changed."""
        calls = [Call(self.layout.state_key(s), ["", 0, b""]) for s in range(self.layout.shards)]
        with redis_errors("asking whether claims may be restored"):
            for reply in call_each(self._server, self._restore, calls=calls):
                if isinstance(reply, redis.exceptions.NoPermissionError):
                    msg = f"Redis: {reply}. Allow the workers' user scripts, and METERLINE.*"
                    raise DependencyDown(msg)
                if isinstance(reply, Exception):
                    raise reply

    def start(self) -> None:
        """Take the marker out of every shard; all claims are refused from here on."""
        for shard in range(self.layout.shards):
            self._change("start", shard)

    def clear(self) -> None:
        """Forget all claims, and the shards that an earlier layout had beyond this one's."""
        known = {self.layout.state_key(shard): shard for shard in range(self.layout.shards)}
        for shard, keys in self._buckets(known):
            self._change("clear", shard, keys=keys)

    def lay_out(self, *, newest: int, since: int) -> None:
        """Begin with these window numbers."""
        for shard in range(self.layout.shards):
            self._change("lay out", shard, newest, since)

    def newest_windows(self) -> list[int]:
        """Newest window number of each shard, 0 if it had none, or its claims are of no use.

        They are not where they were kept in another form, or counted in other windows.
        """
        with redis_errors("reading the newest generation"):
            held: list[Any] = [
                self._server.hmget(self.layout.state_key(shard), ["newest", "window_ms", "format"])
                for shard in range(self.layout.shards)
            ]
        wanted = [str(self.layout.window_ms).encode(), self._form.encode()]
        return [int(newest or 0) if had == wanted else 0 for newest, *had in held]

    def restore(self, claims: Claims, windows: NDArray[np.int64]) -> None:
        """Claim for the owners that raw history names; `windows` has the generation of each."""
        packed = pack_claims(claims, shards=self.layout.shards, buckets=self.layout.buckets)
        shards = shard_of(claims.identities, shards=self.layout.shards)
        with redis_errors("claiming identities from raw history"):
            calls = []
            for shard in range(self.layout.shards):
                for window in np.unique(windows).tolist():
                    order = np.flatnonzero((shards == shard) & (windows == window))
                    for at in range(0, len(order), CLAIMS_PER_CALL):
                        some = packed[order[at : at + CLAIMS_PER_CALL]].tobytes()
                        key = self.layout.state_key(shard)
                        calls.append(Call(key, [self._token, window, some]))
            replies = call_each(self._server, self._restore, calls=calls)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        if any(reply != b"K" for reply in replies):
            raise DependencyDown(_OVERTAKEN)

    def finish(self, marker: str, fields: dict[str, str]) -> None:
        """Put the memory in force."""
        state = {
            "marker": marker, "buckets": str(self.layout.buckets),
            "window_ms": str(self.layout.window_ms), "format": self._form.value, **fields,
        }  # fmt: skip
        for shard in range(self.layout.shards):
            self._change("finish", shard, *(text for pair in state.items() for text in pair))

    def _change(
        self, step: str, shard: int, *arguments: str | int, keys: list[bytes] | None = None
    ) -> None:
        with redis_errors("rebuilding the dedup memory"):
            reply = self._step(
                keys=[self.layout.state_key(shard), *(keys or [])],
                args=[step, self._token, *arguments],
            )
        if reply != b"K":
            raise DependencyDown(_OVERTAKEN)

    def _buckets(self, known: dict[str, int]) -> Iterator[tuple[int, list[bytes]]]:
        """Bucket keys by shard, some at a time; drops what belongs to no shard of the layout."""
        found: dict[int, list[bytes]] = {}
        strays: list[bytes] = []
        with redis_errors("listing the dedup memory"):
            for key in self._server.scan_iter(f"{self.layout.prefix}:{{d*", count=5000):
                state = key[: key.index(b"}") + 1].decode()
                if state not in known:
                    strays.append(key)
                elif len(key) > len(state):
                    some = found.setdefault(known[state], [])
                    some.append(key)
                    if len(some) >= _KEYS_PER_CALL:
                        yield known[state], found.pop(known[state])
            for at in range(0, len(strays), _KEYS_PER_CALL):
                self._server.unlink(*strays[at : at + _KEYS_PER_CALL])
        yield from found.items()


_OVERTAKEN = "another worker started to rebuild the dedup memory; starting again"

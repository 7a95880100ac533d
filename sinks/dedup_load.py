"""How full the dedup memory is, cheap enough to be asked every few seconds."""

from dataclasses import dataclass
from typing import Any

import redis

from sinks.dedup_connection import redis_errors
from sinks.dedup_servers import infos


@dataclass(frozen=True, slots=True)
class DedupLoad:
    """Bytes of the Redis server or cluster, 0 for no limit; identities of the newest generation.

    Of a cluster they are added up.
    """

    used_bytes: int
    limit_bytes: int
    entries: int
    planned_entries: int


def entries_key(state: str) -> str:
    """Key of the number of claims in each generation of one shard, beside its `state`.

    It is not a part of the state: that changes only with what claims depend on.
    """
    return f"{state}:entries"


def dedup_load(client: redis.Redis, state_keys: list[str], *, planned_entries: int) -> DedupLoad:
    """Ask the server and every shard's state. Raises `DependencyDown`."""
    with redis_errors("asking how full the dedup memory is"):
        memory = infos(client, "memory")
        newest: Any = [client.hget(key, "newest") or b"0" for key in state_keys]
        counts: Any = [
            client.hget(entries_key(key), window.decode())
            for key, window in zip(state_keys, newest, strict=True)
        ]
    return DedupLoad(
        used_bytes=sum(int(each["used_memory"]) for each in memory),
        limit_bytes=sum(int(each["maxmemory"]) for each in memory),
        entries=sum(int(count or 0) for count in counts),
        planned_entries=planned_entries,
    )

"""What the dedup memory holds and costs, read from the servers without changing anything."""

import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from clickhouse_connect.driver.client import Client

from metering.settings import Settings
from sinks.clickhouse import clickhouse_errors
from sinks.dedup_adopt import layout_of
from sinks.dedup_connection import connect_redis, redis_errors, run_id
from sinks.dedup_form import ClaimForm, form_of
from sinks.dedup_load import entries_key
from sinks.dedup_memory import MemoryLayout
from sinks.dedup_servers import infos, server_of, servers_of

#: Buckets that are looked at, over all shards and generations.
_SAMPLE = 400


@dataclass(frozen=True, slots=True)
class Adoption:
    """One line of `dedup_memories`; `run` is the run of the Redis server it is tied to."""

    marker: str
    run: str
    reason: str
    adopted_at: datetime


@dataclass(slots=True)
class Generation:
    """Claims of one window of record time, over all shards; it starts at `starts_ms`."""

    window: int
    starts_ms: int
    entries: int = 0


@dataclass(slots=True)
class Sample:
    """Some buckets, or all where that is known: how full, how they are kept, and what they cost.

    `listpacks` is of hashes: those that Redis keeps packed.
    """

    buckets: int = 0
    entries: int = 0
    entries_max: int = 0
    bytes_used: int = 0
    listpacks: int = 0

    @property
    def bytes_per_entry(self) -> float:
        """Mean cost of an entry; 0 while there is none."""
        return self.bytes_used / self.entries if self.entries else 0.0


@dataclass(slots=True)
class DedupStatus:
    """The memory in force. `shards_ready` of `shards` carry its marker and layout.

    `form` is how claims are kept, `wanted_form` how the servers could keep them now.
    """

    adoptions: list[Adoption]
    run: str
    wanted_form: ClaimForm
    form: ClaimForm
    shards: int
    shards_ready: int = 0
    buckets: int = 0
    generations: list[Generation] = field(default_factory=list)
    assignments: dict[str, int] = field(default_factory=dict)
    sample: Sample = field(default_factory=Sample)
    listpack_limit: int = 0
    used_memory: int = 0
    maxmemory: int = 0
    is_rebuilding: bool = False

    @property
    def is_in_force(self) -> bool:
        """Claims are taken: every shard carries the recorded marker, on the same server run."""
        newest = self.adoptions[0] if self.adoptions else None
        return newest is not None and newest.run == self.run and self.shards_ready == self.shards


def dedup_status(settings: Settings, client: Client) -> DedupStatus:
    """Read it all. Raises `DependencyDown`."""
    with clickhouse_errors("reading which dedup memories were adopted"):
        rows = client.query(
            "SELECT marker, servers, reason, adopted_at FROM dedup_memories "
            "ORDER BY adopted_at DESC LIMIT 10"
        ).result_rows
    layout = layout_of(settings)
    server: Any = connect_redis(settings.redis_url.get_secret_value())
    with redis_errors("reading the dedup memory"):
        memory = infos(server, "memory")
        limits = [
            each.config_get("hash-max-listpack-entries").get("hash-max-listpack-entries", 0)
            for each in servers_of(server)
        ]
        form = form_of(server)
        status = DedupStatus(
            [Adoption(*row) for row in rows], run_id(server), form, form, layout.shards,
            buckets=layout.buckets, used_memory=sum(int(each["used_memory"]) for each in memory),
            maxmemory=sum(int(each["maxmemory"]) for each in memory),
            listpack_limit=min(map(int, limits)),
            is_rebuilding=bool(server.exists(f"{layout.prefix}:rebuilding")),
        )  # fmt: skip
        kept: Any = server.hget(layout.state_key(0), "format")
        if kept is not None and kept.decode() in set(ClaimForm):
            status.form = ClaimForm(kept.decode())
        for shard in range(layout.shards):
            key = layout.state_key(shard)
            _read_shard(status, layout, server.hgetall(key), server.hgetall(entries_key(key)))
        status.generations.sort(key=lambda each: each.window)
        look = _all if status.form is ClaimForm.TABLES else _sample
        status.sample = look(server, layout, windows=[each.window for each in status.generations])
        server.close()
    return status


def _read_shard(
    status: DedupStatus, layout: MemoryLayout, state: dict[bytes, bytes],
    entries: dict[bytes, bytes],
) -> None:  # fmt: skip
    fields = {name.decode(): value.decode() for name, value in state.items()}
    marker = status.adoptions[0].marker if status.adoptions else ""
    wanted = (marker, str(layout.buckets), str(layout.window_ms), status.wanted_form.value)
    names = ("marker", "buckets", "window_ms", "format")
    if marker and tuple(fields.get(name) for name in names) == wanted:
        status.shards_ready += 1
    newest = int(fields.get("newest", 0))
    generations = {each.window: each for each in status.generations}
    for number, count in entries.items():
        window = int(number)
        if window < newest - 1:
            continue  # expired; only its count is left
        if window not in generations:
            generations[window] = Generation(window, window * layout.window_ms)
        generations[window].entries += int(count)
    for name, value in fields.items():
        if name.startswith("gen:"):
            place = name.removeprefix("gen:").rpartition(":")
            key = f"{place[0]}/{place[2]}"
            status.assignments[key] = max(status.assignments.get(key, 0), int(value))
    status.generations = list(generations.values())


def _all(server: Any, layout: MemoryLayout, *, windows: list[int]) -> Sample:
    found = Sample()
    for shard in range(layout.shards):
        for window in windows:
            key = f"{layout.state_key(shard)}:{window}"
            told = server_of(server, key).execute_command("METERLINE.TABLE", key)
            entries, buckets, fullest, size = told
            found.buckets += buckets
            found.entries += entries
            found.entries_max = max(found.entries_max, fullest)
            found.bytes_used += size
    return found


def _sample(server: Any, layout: MemoryLayout, *, windows: list[int]) -> Sample:
    found = Sample()
    chance = random.Random()  # noqa: S311 - a sample, no secret
    for window in windows * (_SAMPLE // max(len(windows), 1)):
        state = layout.state_key(chance.randrange(layout.shards)).encode()
        bucket = chance.randrange(layout.buckets).to_bytes(4, "big")
        key = b"%s:%d:%s" % (state, window, bucket)
        pipe = server_of(server, state.decode()).pipeline(transaction=False)
        pipe.hlen(key)
        pipe.memory_usage(key)
        pipe.object("ENCODING", key)
        length, size, encoding = pipe.execute(raise_on_error=False)
        if not isinstance(length, int) or not length:
            continue
        found.buckets += 1
        found.entries += length
        found.entries_max = max(found.entries_max, length)
        found.bytes_used += int(size or 0)
        found.listpacks += encoding == b"listpack"
    return found

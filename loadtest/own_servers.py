"""Servers of a measurement's own: a stack that begins empty and is removed with all it holds."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.dedup_room import make_room
from loadtest.faults.hurt_servers import HurtServers
from loadtest.load.tables import expect_clickhouse
from loadtest.redis_server import expect_redis
from loadtest.servers import ADDRESSES, given_addresses

SERVERS = ("kafka", "redis", "clickhouse")


@dataclass(frozen=True)
class Servers:
    """Addresses by variable, and process ids by name of those that are ours."""

    addresses: Mapping[str, str]
    pids: Mapping[str, int]


@contextmanager
def own_servers(folder: Path, *, events: int) -> Iterator[Servers]:
    """The servers that the environment names, where it names all three; else a stack in `folder`.

    That one has room for so many events, and is stopped and deleted at the end. Raises
    `CommandFailed`; `RedisError` or `ClickHouseError` at once when one of those that are named does
    not answer. (Kafka is asked right after, when a topic is made.)
    """
    given = given_addresses()
    if len(given) == len(ADDRESSES):
        expect_redis(given["REDIS_URL"])
        expect_clickhouse(given["CLICKHOUSE_URL"])
        yield Servers(given, {})
        return
    stack = HurtServers(folder)
    try:
        stack.up()
        make_room(stack.addresses()["REDIS_URL"], events)
        yield Servers(stack.addresses(), {name: stack.pid(name) for name in SERVERS})
    finally:
        stack.down()
        shutil.rmtree(folder, ignore_errors=True)

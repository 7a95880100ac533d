"""The servers behind a Redis connection: one, or the primaries of a Redis Cluster.

Keys of a shard share a hash tag, so that each shard is on one server. The client of a cluster
finds the server of a key by itself; what it does not do are pipelines of scripts, and connections
of our own. Those go to the server of their key.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import redis


class Call(NamedTuple):
    """One call of a script: the key that says which server, and arguments."""

    key: str
    args: Sequence[str | int | bytes]


def server_of(client: Any, key: str) -> Any:
    """A client of the one server that holds `key`."""
    if not isinstance(client, redis.RedisCluster):
        return client
    cluster: Any = client
    return cluster.get_redis_connection(cluster.get_node_from_key(key))


def servers_of(client: Any) -> list[Any]:
    """A client for each server that holds keys."""
    if not isinstance(client, redis.RedisCluster):
        return [client]
    cluster: Any = client
    nodes = sorted(cluster.get_primaries(), key=lambda node: str(node.name))
    return [cluster.get_redis_connection(node) for node in nodes]


def infos(client: Any, section: str = "all") -> list[dict[str, Any]]:
    """What each server says of itself."""
    return [server.info(section) for server in servers_of(client)]


def call_each(client: Any, script: Any, *, calls: Sequence[Call]) -> list[Any]:
    """Replies, in the order of `calls`; those of one server go in one round trip.

    An error of one call stands in the place of its reply.
    """
    by_server: dict[int, tuple[Any, list[int]]] = {}
    for at, call in enumerate(calls):
        server = server_of(client, call.key)
        by_server.setdefault(id(server), (server, []))[1].append(at)
    replies: list[Any] = [None] * len(calls)
    for server, places in by_server.values():
        pipe = server.pipeline(transaction=False)
        for at in places:
            script(keys=[calls[at].key], args=calls[at].args, client=pipe)
        for at, reply in zip(places, pipe.execute(raise_on_error=False), strict=True):
            replies[at] = reply
    return replies

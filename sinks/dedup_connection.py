"""One connection to the Redis server, or Cluster, that holds the dedup memory.

Nothing reconnects behind the caller's back: a server that restarted may have lost claims, so a
broken connection always surfaces as `DependencyDown`, and every new connection checks that the
server is still the run that was adopted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from metering.errors import DedupMemoryLost, DependencyDown
from sinks.dedup_servers import infos

#: Between the runs of a cluster's servers.
_AND = ","
#: Replies that mean "not now": loading after a restart, a script running, no memory left.
_NOT_NOW = (
    "LOADING",
    "BUSY",
    "OOM",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "READONLY",
    "MISCONF",
    "TRYAGAIN",
    "MOVED",
    "ASK ",
)
#: The same, where the client has a class for it and takes the word away. A cluster moves keys, or
#: has no server for some.
_NOT_NOW_CLASSES = (
    redis.exceptions.AskError,
    redis.exceptions.ClusterError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
)


def connect_redis(
    url: str, *, run: str | None = None, timeout_s: float = 5.0, protocol: int = 3
) -> redis.Redis:
    """A client that raises on the first broken connection instead of sending again.

    With `run`, every new connection first checks that the server is still that run of it, or one
    of those runs, and raises `DedupMemoryLost` otherwise (a pool may open a connection at any time
    by itself). Where the server says that it is part of a cluster, the client is of all of it.
    Raises `DependencyDown`.
    """
    plain = partial(
        redis.Redis.from_url, url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0), retry_on_error=[], health_check_interval=0,
        decode_responses=False, protocol=protocol,
    )  # fmt: skip
    greet = None if run is None else partial(_require_run, run)
    with plain() as asked, redis_errors("asking whether it is part of a cluster"):
        found: Any = asked.info("cluster")
    if not found.get("cluster_enabled"):
        return plain(redis_connect_func=greet)
    with redis_errors("asking which servers the cluster has"):
        cluster: Any = redis.RedisCluster.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0), health_check_interval=0, decode_responses=False,
            protocol=protocol, redis_connect_func=greet,
        )  # fmt: skip
    client: redis.Redis = cluster
    return client


def _require_run(run: str, connection: Any) -> None:
    connection.on_connect()
    connection.send_command("INFO", "server")
    found = _field(connection.read_response(), "run_id")
    if found not in run.split(_AND):
        msg = f"Redis restarted: expected run {run[:12]}, found {found[:12]}"
        raise DedupMemoryLost(msg)


@contextmanager
def redis_errors(doing: str) -> Iterator[None]:
    """Turn what the client raises into `DependencyDown` with what was being done."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        msg = f"Redis does not answer while {doing}: {error}. Counting waits until it is back."
        raise DependencyDown(msg) from error
    except redis.exceptions.RedisClusterException as error:
        msg = f"Redis Cluster does not answer while {doing}: {error}. Counting waits until it does."
        raise DependencyDown(msg) from error
    except redis.ResponseError as error:
        if isinstance(error, _NOT_NOW_CLASSES) or str(error).startswith(_NOT_NOW):
            msg = f"Redis cannot serve now, while {doing}: {error}"
            raise DependencyDown(msg) from error
        raise


def run_id(client: redis.Redis) -> str:
    """Identifies one run of the server, or of all servers of a cluster.

    Another one after every restart, failover, or change of the cluster's servers.
    """
    with redis_errors("asking which run of the server this is"):
        return _AND.join(sorted(str(found["run_id"]) for found in infos(client, "server")))


def _field(info: bytes | str, name: str) -> str:
    text = info.decode() if isinstance(info, bytes) else info
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return line.split(":", 1)[1].strip()
    return ""

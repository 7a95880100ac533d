"""A Redis of somebody's: whether it answers, and which version it is."""

from functools import partial
from typing import Any
from urllib.parse import urlsplit

import typer
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

_PORT = 6379
_PATIENCE_S = 10.0

#: A client that asks once, and waits for no longer than that.
_client = partial(
    Redis.from_url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S,
    retry=Retry(NoBackoff(), 0),
)  # fmt: skip


def expect_redis(url: str) -> None:
    """Ask it for anything. Raises `RedisError` with its address when it does not answer.

    Raises `BadParameter` when `url` is none of a Redis. Neither says the password.
    """
    try:
        client = _client(url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="REDIS_URL") from None
    try:
        with client as store:
            store.ping()
    except (RedisError, OSError) as error:
        msg = f"{address_of(url)}: {error}"
        raise RedisError(msg) from error


def redis_version(url: str) -> str:
    """As it says. Raises `RedisError` when it does not answer."""
    with _client(url) as store:
        found: dict[str, Any] = store.info("server")
    return str(found["redis_version"])


def address_of(url: str) -> str:
    """Host and port, or the path of a socket: what may be shown."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname or 'localhost'}:{parts.port or _PORT}"

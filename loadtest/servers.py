"""Where Kafka, Redis and ClickHouse are: given by the environment, or a local stack of our own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtest.meterline import CommandFailed, Meterline

ADDRESSES = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "CLICKHOUSE_URL")
_UP_S = 900.0


@contextmanager
def servers(folder: Path, *, keep: bool) -> Iterator[dict[str, str]]:
    """Addresses of the three servers, by variable.

    What the environment does not name is started with `meterline stack up`, and stopped at the end
    unless `keep`; a stack that was up already stays up. Raises `CommandFailed`.
    """
    given = {name: os.environ[name] for name in ADDRESSES if os.environ.get(name)}
    if len(given) == len(ADDRESSES):
        yield given
        return
    stack = Meterline(folder, given)
    was_up = _is_up(stack)
    try:
        if not was_up:
            stack.run("stack", "up", timeout_s=_UP_S)
        yield given | _parsed(stack.run("stack", "env"))
    finally:
        if not was_up and not keep:
            stack.run("stack", "down")


def _is_up(stack: Meterline) -> bool:
    try:
        stack.run("stack", "status")
    except CommandFailed:
        return False
    return True


def _parsed(text: str) -> dict[str, str]:
    """`NAME=value` lines, with or without `export`."""
    pairs = (line.strip().removeprefix("export ").partition("=") for line in text.splitlines())
    return {name: value.strip("'\"") for name, _, value in pairs if name in ADDRESSES}

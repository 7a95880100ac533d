"""Where Kafka, Redis and ClickHouse are: given by the environment, or a local stack of our own."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from loadtest.meterline import CommandFailed, CommandTimedOut, Meterline

ADDRESSES = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "CLICKHOUSE_URL")
_UP_S, _STATUS_S = 900.0, 180.0
#: Exit code of `stack status` when a server is not running.
_NOT_RUNNING = 3


@contextmanager
def servers(
    folder: Path, *, keep: bool, given: Mapping[str, str] | None = None
) -> Iterator[dict[str, str]]:
    """Addresses of the three servers, by variable; `given` are those of the environment if None.

    What is not given is started with `meterline stack up`, and stopped at the end
    unless `keep`; a stack that was up already stays up. Raises `CommandFailed`.
    """
    given = dict(given_addresses() if given is None else given)
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


def given_addresses() -> dict[str, str]:
    """Addresses that the environment names, by variable."""
    return {name: os.environ[name] for name in ADDRESSES if os.environ.get(name)}


def server_pids(folder: Path) -> dict[str, int]:
    """Process ids of the local stack's servers by name; none of those that are not ours."""
    found = Meterline(folder, {}).run("stack", "status", "--json", expected=(0, _NOT_RUNNING))
    rows = json.loads(found[found.index("[") :])
    return {str(row["name"]): int(row["pid"]) for row in rows if row["pid"] is not None}


def _is_up(stack: Meterline) -> bool:
    """Raises `CommandTimedOut` where that is not known: a stack of somebody's is not stopped."""
    try:
        stack.run("stack", "status", timeout_s=_STATUS_S)
    except CommandTimedOut:
        raise
    except CommandFailed:
        return False
    return True


def _parsed(text: str) -> dict[str, str]:
    """`NAME=value` lines, with or without `export`."""
    pairs = (line.strip().removeprefix("export ").partition("=") for line in text.splitlines())
    return {name: value.strip("'\"") for name, _, value in pairs if name in ADDRESSES}

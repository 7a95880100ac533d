"""Room for a load's identities in the dedup memory, as who expects so many events would plan it."""

import os

import psutil
import redis

from loadtest.meterline import CommandFailed

_VARIABLE = "METERLINE_DEDUP_EVENTS_MAX"
#: What workers plan for by themselves.
_PLANNED = 8_000_000
#: Some 23 are used in tables, 31 in hashes, once it is as full as planned; the rest is to spare.
_ENTRY_BYTES = 48


def planned_for(events: int) -> dict[str, str]:
    """Variables of workers that are to see so many events in a window; the environment's win."""
    if events <= _PLANNED or _VARIABLE in os.environ:
        return {}
    return {_VARIABLE: str(events)}


def make_room(redis_url: str, events: int) -> None:
    """Let a Redis of our own hold so many identities, if it may not yet; until it ends.

    Raises `CommandFailed` where this machine has not the memory.
    """
    needed = events * _ENTRY_BYTES
    try:
        with redis.Redis.from_url(redis_url) as store:
            limit = int(store.config_get("maxmemory")["maxmemory"])
            if not limit or limit >= needed:
                return
            free = psutil.virtual_memory().available
            if needed > free:
                msg = (
                    f"{events:,} identities may take {needed / 2**30:.1f} GiB of Redis; expected so"
                    f" much memory, got {free / 2**30:.1f} GiB: ask for fewer events"
                )
                raise CommandFailed(msg)
            store.config_set("maxmemory", needed)
    except redis.RedisError as error:
        msg = f"Redis does not take another maxmemory: {error}"
        raise CommandFailed(msg) from error

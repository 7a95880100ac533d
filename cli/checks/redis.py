"""Redis: it never forgets by itself, survives a restart, and has room."""

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cli.checks.clock import check_clock
from cli.checks.result import Check, judged
from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse
from sinks.dedup_connection import connect_redis, redis_errors
from sinks.dedup_form import ClaimForm, form_of
from sinks.dedup_memory import BUCKET_ENTRIES
from sinks.dedup_servers import servers_of
from sinks.dedup_status import DedupStatus, dedup_status

AREA = "redis"
_VERSION_MIN = (7, 0)
#: What an entry costs in well filled buckets, with Redis' own overhead.
_ENTRY_BYTES = {ClaimForm.HASHES: 30, ClaimForm.TABLES: 24}
_USED_WARN, _USED_FAIL = 0.8, 0.95
_SECOND = timedelta(seconds=1)


def check_redis(settings: Settings) -> list[Check]:
    """All of it. Raises `DependencyDown` when Redis does not answer.

    Of a cluster each server is checked; their checks carry the address.
    """
    client: Any = connect_redis(settings.redis_url.get_secret_value())
    with redis_errors("looking at the server"):
        servers, form = servers_of(client), form_of(client)
        needed = 2 * settings.dedup_events_max * _ENTRY_BYTES[form] // len(servers)
        if len(servers) == 1:
            found = _check_server(servers[0], needed, form=form)
        else:
            found = [
                replace(check, name=f"{check.name} ({_address(server)})")
                for server in sorted(servers, key=_address)
                for check in _check_server(server, needed, form=form)
            ]
        client.close()
    return found


def _check_server(server: Any, needed: int, *, form: ClaimForm) -> list[Check]:
    """One server, which needs so many bytes for the memory, or for its part of it."""
    info: dict[str, Any] = server.info()
    before = time.time()
    seconds, microseconds = server.time()
    after = time.time()
    version = str(info["redis_version"])
    return [
        judged(
            AREA, "version", version,
            fail="" if _as_numbers(version) >= _VERSION_MIN else "expected 7.0 or newer",
        ),
        *_check_keeping(info),
        *_check_room(info, needed),
        *_check_form(server, form),
        check_clock(AREA, seconds + microseconds / 1_000_000, before, after),
    ]  # fmt: skip


def _check_form(server: Any, form: ClaimForm) -> list[Check]:
    if form is ClaimForm.TABLES:
        return [judged(AREA, "claims are kept in", "tables of Meterline's module")]
    packed = int(server.config_get("hash-max-listpack-entries").get("hash-max-listpack-entries", 0))
    return [
        judged(AREA, "claims are kept in", "hashes"),
        judged(
            AREA, "hash-max-listpack-entries", str(packed),
            warn="" if packed >= 2 * BUCKET_ENTRIES
            else f"entries cost four times as much: CONFIG SET hash-max-listpack-entries "
            f"{4 * BUCKET_ENTRIES}",
        ),
    ]  # fmt: skip


def _address(server: Any) -> str:
    known = server.connection_pool.connection_kwargs
    return f"{known['host']}:{known['port']}"


def check_dedup(settings: Settings) -> list[Check]:
    """The dedup memory itself. Raises `DependencyDown`; needs the tables to be there."""
    client = connect_clickhouse(settings)
    status: DedupStatus = dedup_status(settings, client)
    client.close()
    if not status.adoptions:
        return [judged(AREA, "dedup memory", "none yet; the first worker adopts one")]
    fullest = max((each.entries for each in status.generations), default=0)
    return [
        judged(
            AREA, "dedup memory", "in force" if status.is_in_force else "not in force",
            warn="" if status.is_in_force
            else "workers rebuild it before they count on; or run `meterline dedup rebuild`",
        ),
        judged(
            AREA, "dedup fill", f"{fullest} of {settings.dedup_events_max} events in a generation",
            warn="" if fullest <= 2 * settings.dedup_events_max
            else "buckets are fuller than laid out, and claims slower: raise "
            "METERLINE_DEDUP_EVENTS_MAX and "
            "run `meterline dedup rebuild`",
        ),
    ]  # fmt: skip


def _check_keeping(info: dict[str, Any]) -> list[Check]:
    policy, evicted = str(info["maxmemory_policy"]), int(info["evicted_keys"])
    is_appending = bool(int(info["aof_enabled"]))
    return [
        judged(
            AREA, "maxmemory-policy", policy,
            fail="" if policy == "noeviction"
            else "it forgets who came first: CONFIG SET maxmemory-policy noeviction",
        ),
        judged(
            AREA, "evicted keys", str(evicted),
            fail="" if not evicted
            else "claims were forgotten: mend the policy, then `meterline dedup rebuild`",
        ),
        judged(
            AREA, "append-only file", "on" if is_appending else "off",
            warn="" if is_appending
            else "a restart loses the memory and it is rebuilt: CONFIG SET appendonly yes",
        ),
    ]  # fmt: skip


def _check_room(info: dict[str, Any], needed: int) -> list[Check]:
    used, limit = int(info["used_memory"]), int(info["maxmemory"])
    if not limit:
        return [
            judged(
                AREA, "memory", f"{_mb(used)} used, no maxmemory",
                warn=f"set maxmemory to {_mb(2 * needed)} or more, so that Redis refuses before "
                "the machine runs out",
            )
        ]  # fmt: skip
    filled = used / limit
    remedy = "raise maxmemory: a Redis that is full stops all counting"
    return [
        judged(
            AREA, "memory", f"{_mb(used)} of {_mb(limit)} used",
            fail=remedy if filled >= _USED_FAIL else "",
            warn=remedy if filled >= _USED_WARN else "",
        ),
        judged(
            AREA, "memory needed", f"some {_mb(needed)} for two full generations",
            warn="" if needed <= limit else "raise maxmemory or lower METERLINE_DEDUP_EVENTS_MAX",
        ),
    ]  # fmt: skip


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _mb(count: int) -> str:
    return f"{count / (1 << 20):.0f} MB"

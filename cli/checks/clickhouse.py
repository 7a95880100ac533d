"""ClickHouse: the tables are the migrations', durable, and read with all versions folded."""

import time

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from cli.checks.clock import check_clock
from cli.checks.result import Check, judged
from metering.settings import Settings
from sinks.clickhouse import clickhouse_errors, connect_clickhouse
from sinks.migrate import migrations

AREA = "clickhouse"
_VERSION_MIN = (24, 8)
#: Share of the last day's events from which rejects have piled up.
_REJECTED_WARN = 0.01

_TABLES = """
SELECT name, create_table_query FROM system.tables
WHERE database = %(database)s AND engine LIKE '%%MergeTree' AND name != 'migrations'
ORDER BY name
"""
_LAST_DAY = """
SELECT
    (SELECT count() FROM rejected_events AS r FINAL
     LEFT ANTI JOIN reject_replays AS p USING (stream, partition, offset, `index`)
     WHERE record_time > now() - INTERVAL 1 DAY),
    (SELECT count() FROM usage_events WHERE record_time > now() - INTERVAL 1 DAY)
"""
#: Our own queries state it; this is about the people who query by themselves.
_MERGING = """
SELECT count() FROM system.settings_profile_elements
WHERE setting_name = 'do_not_merge_across_partitions_select_final'
  AND value NOT IN ('0', 'false')
"""


def check_clickhouse(settings: Settings) -> list[Check]:
    """All of it. Raises `DependencyDown` when ClickHouse does not answer."""
    server = connect_clickhouse(settings, database=None)
    with clickhouse_errors("looking at the server"):
        version = str(server.command("SELECT version()"))
        before = time.time()
        now = float(
            server.query("SELECT toUnixTimestamp64Milli(now64(3)) / 1000").result_rows[0][0]
        )
        after = time.time()
        exists = bool(
            server.query(
                "SELECT count() FROM system.databases WHERE name = %(name)s",
                parameters={"name": settings.database},
            ).result_rows[0][0]
        )
    numbers = tuple(int(part) for part in version.split(".")[:2])
    checks = [
        judged(
            AREA, "version", version,
            fail="" if numbers >= _VERSION_MIN else "expected 24.8 or newer",
        ),
        check_clock(AREA, now, before, after),
        judged(
            AREA, f"database {settings.database}", "there" if exists else "missing",
            fail="" if exists else "create it with `meterline migrate`",
        ),
    ]  # fmt: skip
    server.close()
    if exists:
        client = connect_clickhouse(settings)
        checks += _check_database(settings, client)
        client.close()
    return checks


def _check_database(settings: Settings, client: Client) -> list[Check]:
    checks = [_check_migrations(settings, client), _check_merging(client)]
    with clickhouse_errors("looking at tables"):
        tables = client.query(_TABLES, parameters={"database": settings.database}).result_rows
    lax = [name for name, ddl in tables if "fsync_after_insert = 1" not in ddl]
    checks.append(
        judged(
            AREA, "durable inserts", f"{len(tables) - len(lax)} of {len(tables)} tables",
            fail="" if not lax
            else f"rows may be lost with the power, after their offset was committed: ALTER TABLE "
            f"... MODIFY SETTING fsync_after_insert = 1 for {', '.join(lax)}",
        )
    )  # fmt: skip
    if checks[0].todo:
        return checks
    return [*checks, _check_rejects(client)]


def _check_migrations(settings: Settings, client: Client) -> Check:
    try:
        rows = client.query("SELECT name, checksum FROM migrations").result_rows
    except DatabaseError:
        rows = []
    applied = {str(name): str(checksum) for name, checksum in rows}
    known = migrations(settings)
    missing = [each.name for each in known if each.name not in applied]
    edited = [each.name for each in known if applied.get(each.name, each.checksum) != each.checksum]
    fail = ""
    if edited:
        fail = f"{', '.join(edited)} was edited after it was applied: put changes into a new file"
    elif missing:
        fail = f"{', '.join(missing)} is missing: run `meterline migrate`"
    return judged(
        AREA, "migrations", f"{len(known) - len(missing)} of {len(known)} applied", fail=fail
    )


def _check_merging(client: Client) -> Check:
    try:
        profiles = int(client.query(_MERGING).result_rows[0][0])
    except DatabaseError:
        found = "not looked at: needs the grant SHOW SETTINGS PROFILES"
        return judged(AREA, "FINAL across months", found)
    return judged(
        AREA, "FINAL across months", "folded" if not profiles else "not folded for some users",
        fail="" if not profiles
        else "an event that is in two months would show twice: take "
        "do_not_merge_across_partitions_select_final out of the settings profiles",
    )  # fmt: skip


def _check_rejects(client: Client) -> Check:
    with clickhouse_errors("counting rejected events"):
        rejected, accepted = client.query(_LAST_DAY).result_rows[0]
    is_many = rejected > _REJECTED_WARN * (rejected + accepted)
    return judged(
        AREA, "rejects of the last day", f"{rejected} not sent again, {accepted} accepted",
        warn="" if not is_many
        else "they pile up: see `meterline rejects list --since 24h`, mend what is wrong, then "
        "`meterline rejects replay`",
    )  # fmt: skip

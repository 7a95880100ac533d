"""`meterline doctor`: whether everything is as exact counting needs it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from cli.checks.clickhouse import check_clickhouse
from cli.checks.kafka import check_kafka
from cli.checks.redis import check_dedup, check_redis
from cli.checks.result import Check, Level, judged
from cli.context import CatalogOption, JsonOption, console, settings_with
from metering.errors import MeterlineError, SettingsInvalid
from metering.settings import Settings
from rating_engine.price_book.load import load_price_book

_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def doctor_command(*, as_json: JsonOption = False, catalog: CatalogOption = None) -> None:
    """Check settings, catalog, Kafka, Redis and ClickHouse, and say what to do.

    Nothing is changed. Run it before the first worker, and when something looks odd.

    Exit codes: 0 nothing fails (there may be warnings); 1 something fails.

    Example: meterline doctor --json | jq '.checks[] | select(.level == "fail")'
    """
    try:
        settings = settings_with(catalog)
    except SettingsInvalid as error:
        checks = [judged("settings", "values", fault, fail="mend it") for fault in error.faults]
    else:
        checks = [judged("settings", "values", f"database {settings.database}, topic "
                         f"{settings.events_topic}, group {settings.group_id}"),
                  *diagnose(settings)]  # fmt: skip
    if as_json:
        levels = Counter(str(check.level) for check in checks)
        document = {"levels": levels, "checks": [asdict(check) for check in checks]}
        console.print_json(orjson.dumps(document).decode())
    else:
        _print(checks)
    if any(check.level is Level.FAIL for check in checks):
        raise typer.Exit(1)


def diagnose(settings: Settings) -> list[Check]:
    """Every check; a server that does not answer is a failure among the others."""
    checks = _check_catalog(settings)
    areas: tuple[tuple[str, Callable[[Settings], list[Check]]], ...] = (
        ("kafka", check_kafka), ("redis", check_redis), ("clickhouse", check_clickhouse),
    )  # fmt: skip
    for area, check in areas:
        checks += _guarded(area, check, settings)
    is_ready = not any(check.level is Level.FAIL for check in checks if check.area != "catalog")
    return checks + (_guarded("redis", check_dedup, settings) if is_ready else [])


def _guarded(
    area: str, check: Callable[[Settings], list[Check]], settings: Settings
) -> list[Check]:
    try:
        return check(settings)
    except MeterlineError as error:
        remedy = (
            "start it, or correct its address (KAFKA_BOOTSTRAP_SERVERS, REDIS_URL, CLICKHOUSE_URL)"
        )
        return [judged(area, "answers", str(error), fail=remedy)]


def _check_catalog(settings: Settings) -> list[Check]:
    try:
        found = load_price_book(settings.catalog)
    except SettingsInvalid as error:
        return [judged("catalog", "files", fault, fail="mend the file") for fault in error.faults]
    told = (
        f"{len(found.catalog.meters)} meters, {len(found.catalog.bindings)} bindings, "
        f"{len(found.plans)} plans, {len(found.subscriptions)} subscriptions, "
        f"{found.content_hash[:12]}"
    )
    return [judged("catalog", "files", told)]


def _print(checks: list[Check]) -> None:
    table = Table("", "area", "check", "found", "what to do", box=None, pad_edge=False)
    for check in checks:
        table.add_row(
            f"[{_STYLES[check.level]}]{check.level}[/]", check.area, escape(check.name),
            escape(check.found), escape(check.todo),
        )  # fmt: skip
    console.print(table)
    levels = Counter(check.level for check in checks)
    console.print(
        f"{levels[Level.OK]} ok, {levels[Level.WARN]} warnings, {levels[Level.FAIL]} failures"
    )

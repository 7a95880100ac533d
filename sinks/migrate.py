"""Applies the numbered DDL files of `deploy/clickhouse/`, once each, in order.

A file that was applied is recorded with its checksum; an edited one is refused, since the tables
it made would no longer be what it says. Files are rendered for one server, or with a cluster for
Replicated tables (each file states its engines as `{engine:Name}`). What only some servers know is
stated as `{known:setting = value}`, and left out elsewhere.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client

from metering.errors import SettingsInvalid
from metering.settings import Settings
from sinks.clickhouse import clickhouse_errors, connect_clickhouse

_ENGINES = {
    "Plain": "MergeTree",
    "Replacing": "ReplacingMergeTree",
    "Aggregating": "AggregatingMergeTree",
}
DDL_FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "clickhouse"


@dataclass(frozen=True, slots=True)
class Migration:
    """One DDL file: `0001_usage.sql`, its text and what it runs here."""

    name: str
    checksum: str
    statements: tuple[str, ...]


def migrations(settings: Settings, folder: Path = DDL_FOLDER) -> list[Migration]:
    """The files in order, rendered for the deployment."""
    found = []
    for path in sorted(folder.glob("[0-9]*.sql")):
        text = path.read_text(encoding="utf-8")
        rendered = _rendered(text, settings)
        found.append(
            Migration(path.name, hashlib.sha256(text.encode()).hexdigest(), _split(rendered))
        )
    return found


def migrate(settings: Settings) -> list[str]:
    """Create the database and apply what is missing; the names of the files applied now.

    Raises `SettingsInvalid` for a file edited after it was applied, `DependencyDown`.
    """
    server = connect_clickhouse(settings, database=None)
    cluster = f" ON CLUSTER '{settings.cluster}'" if settings.cluster else ""
    with clickhouse_errors("creating the database"):
        server.command(f"CREATE DATABASE IF NOT EXISTS {settings.database}{cluster}")
        server.command(
            f"CREATE TABLE IF NOT EXISTS {settings.database}.migrations{cluster} "
            "(name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) "
            f"ENGINE = {'Replicated' if settings.cluster else ''}MergeTree ORDER BY name "
            "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
        )
    client = connect_clickhouse(settings)
    applied = _applied(client)
    known_settings = _table_settings(client)
    done = []
    for migration in migrations(settings):
        known = applied.get(migration.name)
        if known == migration.checksum:
            continue
        if known is not None:
            msg = (
                f"{migration.name}: expected the content that was applied (sha256 {known[:12]}), "
                f"got {migration.checksum[:12]}; put a change into a new numbered file"
            )
            raise SettingsInvalid([msg])
        with clickhouse_errors(f"applying {migration.name}"):
            for statement in migration.statements:
                client.command(for_server(statement, known_settings))
            client.insert(
                "migrations", [[migration.name, migration.checksum]],
                column_names=["name", "checksum"], settings={"async_insert": 0},
            )  # fmt: skip
        done.append(migration.name)
    server.close()
    client.close()
    return done


def _applied(client: Client) -> dict[str, str]:
    with clickhouse_errors("reading which migrations were applied"):
        rows = client.query("SELECT name, checksum FROM migrations").result_rows
    return {str(name): str(checksum) for name, checksum in rows}


def _table_settings(client: Client) -> set[str]:
    with clickhouse_errors("reading which settings of tables there are"):
        rows = client.query("SELECT name FROM system.merge_tree_settings").result_rows
    return {str(name) for (name,) in rows}


def for_server(statement: str, known: set[str]) -> str:
    """The statement without the settings that the server does not know."""

    def setting(match: re.Match[str]) -> str:
        return f", {match.group(1)}" if match.group(1).split()[0] in known else ""

    return re.sub(r"\{known:(.*?)\}", setting, statement)


def _rendered(text: str, settings: Settings) -> str:
    def engine(match: re.Match[str]) -> str:
        prefix = "Replicated" if settings.cluster else ""
        return prefix + _ENGINES[match.group(1)]

    text = re.sub(r"\{engine:(\w+)\}", engine, text)
    text = text.replace("{database}", settings.database)
    if settings.cluster:
        text = re.sub(
            r"(CREATE (?:TABLE|VIEW) IF NOT EXISTS \S+|DROP TABLE IF EXISTS [^\s;]+"
            r"|ALTER TABLE \S+)",
            rf"\1 ON CLUSTER '{settings.cluster}'", text,
        )  # fmt: skip
    return text


def _split(text: str) -> tuple[str, ...]:
    bare = re.sub(r"^--.*$", "", text, flags=re.MULTILINE)
    return tuple(part.strip() for part in bare.split(";") if part.strip())

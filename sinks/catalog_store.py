"""Loaded catalogs in ClickHouse: price versions, loads, and the audit of edits; append-only."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from metering.audit_chain import AuditEntry
from metering.plan_version import StoredVersion
from sinks.audit import AuditLog
from sinks.clickhouse import clickhouse_errors, insert_arrow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = pa.timestamp("us", tz="UTC")


class CatalogLoad(NamedTuple):
    """One load of a catalog: its content hash, how much is in it, by whom and when."""

    catalog_hash: str
    meters: int
    plans: int
    plan_versions: int
    subscriptions: int
    actor: str
    loaded_at: datetime


class CatalogStore:
    """Reads and writes what was loaded."""

    def __init__(self, client: Client, audit: AuditLog | None = None) -> None:
        """Without an `audit` log nothing that needs one can be stored."""
        self._client = client
        self._audit = audit

    def versions(self) -> list[StoredVersion]:
        """Every version of every plan, as it was loaded last; withdrawn ones as well."""
        with clickhouse_errors("reading the price versions that were loaded"):
            rows = self._client.query(
                "SELECT plan, version, toUnixTimestamp64Micro(argMax(effective_from, loaded_at)),"
                " argMax(content, loaded_at), argMax(content_hash, loaded_at),"
                " argMax(withdrawn, loaded_at)"
                " FROM plan_versions GROUP BY plan, version ORDER BY plan, version"
            ).result_rows
        return [
            StoredVersion(str(plan), int(version), int(us), str(content), str(sha), bool(gone))
            for plan, version, us, content, sha, gone in rows
        ]

    def newest_hash(self) -> str | None:
        """Content hash of the catalog that was loaded last; None before the first."""
        with clickhouse_errors("reading which catalog was loaded"):
            rows = self._client.query(
                "SELECT catalog_hash FROM catalog_loads ORDER BY loaded_at DESC LIMIT 1"
            ).result_rows
        return str(rows[0][0]) if rows else None

    def newest_subscriptions(self) -> int:
        """How many subscriptions the catalog had that was loaded last; 0 before the first."""
        with clickhouse_errors("reading how many subscriptions were loaded"):
            rows = self._client.query(
                "SELECT subscriptions FROM catalog_loads ORDER BY loaded_at DESC LIMIT 1"
            ).result_rows
        return int(rows[0][0]) if rows else 0

    def store(
        self,
        load: CatalogLoad,
        versions: Sequence[StoredVersion],
        *,
        audit: Sequence[AuditEntry] = (),
    ) -> None:
        """Store a load and the `versions` that it changes. Raises `DependencyDown`.

        Versions and load are one block each, whole or not at all. A crash after
        1  the audit: it tells of an edit that is not in force; the same load again tells it twice.
        2  the versions: they are in force; the same load again finds nothing to change, and adds
           the row of
        3  the load.
        """
        for entry in audit:
            assert self._audit is not None, "what rewrites the past is audited"
            self._audit.append(entry)
        if versions:
            rows = [
                (
                    each.plan, each.version, _EPOCH + timedelta(microseconds=each.effective_us),
                    each.content, each.content_hash, each.withdrawn,
                    load.catalog_hash, load.actor, load.loaded_at,
                )
                for each in versions
            ]  # fmt: skip
            insert_arrow(self._client, "plan_versions", _table(rows, _VERSIONS))
        insert_arrow(self._client, "catalog_loads", _table([load], _LOADS))


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)],
        schema=schema,
    )


_VERSIONS = pa.schema(
    [("plan", pa.string()), ("version", pa.uint32()), ("effective_from", _MOMENT),
     ("content", pa.string()), ("content_hash", pa.string()), ("withdrawn", pa.bool_()),
     ("catalog_hash", pa.string()), ("actor", pa.string()), ("loaded_at", _MOMENT)]
)  # fmt: skip
_LOADS = pa.schema(
    [("catalog_hash", pa.string()), ("meters", pa.uint32()), ("plans", pa.uint32()),
     ("plan_versions", pa.uint32()), ("subscriptions", pa.uint64()), ("actor", pa.string()),
     ("loaded_at", _MOMENT)]
)  # fmt: skip

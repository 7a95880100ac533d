"""Findings in ClickHouse: each change of state a row, and which outlet took it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from metering.alert import Change, Finding, FindingKey, FindingKind, FindingState
from sinks.clickhouse import clickhouse_errors, insert_arrow

_MOMENT = pa.timestamp("ms", tz="UTC")
_SECOND = pa.timestamp("s", tz="UTC")
_FINDINGS = pa.schema(
    [(name, pa.string()) for name in ("kind", "customer_id", "meter", "group", "threshold")]
    + [("window_start", _SECOND), ("state", pa.string()), ("finding_id", pa.string()),
       ("window_hours", pa.uint32()), ("observed", pa.string()), ("expected", pa.string()),
       ("unit", pa.string()), ("complete_to", _MOMENT), ("sentence", pa.string()),
       ("recorded_at", _MOMENT)]
)  # fmt: skip
_DELIVERIES = pa.schema(
    [("outlet", pa.string()), ("finding_id", pa.string()), ("state", pa.string()),
     ("delivered_at", _MOMENT)]
)  # fmt: skip
_COLUMNS = (
    "kind, customer_id, meter, `group`, threshold, window_start, state, finding_id, window_hours,"
    " observed, expected, unit, complete_to, sentence, recorded_at"
)


class AlertStore:
    """Reads and writes `alert_findings` and `alert_deliveries`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def open_findings(self) -> list[Finding]:
        """Findings that were opened and not resolved."""
        return [
            change.finding
            for change in self._changes(
                "state = 'opened' AND finding_id NOT IN"
                " (SELECT finding_id FROM alert_findings WHERE state = 'resolved')"
            )
        ]

    def known_since(self, moment: datetime) -> set[str]:
        """Ids of findings whose window begins at or after `moment`, open or not."""
        with clickhouse_errors("reading which findings are known"):
            rows = self._client.query(
                "SELECT DISTINCT finding_id FROM alert_findings WHERE window_start >= %(since)s",
                parameters={"since": moment},
            ).result_rows
        return {str(row[0]) for row in rows}

    def record(self, changes: Sequence[Change]) -> None:
        """Write changes, durable when this returns; the same again is the same row."""
        rows = [_row(change) for change in changes]
        if rows:
            insert_arrow(self._client, "alert_findings", _table(rows, _FINDINGS))

    def undelivered(self, outlet: str, *, since: datetime, limit: int) -> list[Change]:
        """Changes that `outlet` did not take yet, the oldest first.

        Of those before `since` only what is open, and the end of what it was told of: an outlet
        that is new is not told of all that ever was.
        """
        delivered = "FROM alert_deliveries WHERE outlet = %(outlet)s"
        return self._changes(
            f"(finding_id, state) NOT IN (SELECT finding_id, state {delivered})"
            f" AND (recorded_at >= %(since)s OR finding_id IN (SELECT finding_id {delivered})"
            " OR finding_id NOT IN"
            " (SELECT finding_id FROM alert_findings WHERE state = 'resolved'))"
            " ORDER BY recorded_at, finding_id, state LIMIT %(limit)s",
            {"outlet": outlet, "since": since, "limit": limit},
        )

    def mark_delivered(self, outlet: str, changes: Iterable[Change], *, now: datetime) -> None:
        """Remember that `outlet` took them."""
        rows = [(outlet, each.finding.finding_id, str(each.state), now) for each in changes]
        if rows:
            insert_arrow(self._client, "alert_deliveries", _table(rows, _DELIVERIES))

    def changes(self, *, customer: str, is_open: bool, limit: int) -> list[Change]:
        """For people, the newest first: of one customer (all with ""), only open ones if asked."""
        where = "(customer_id = %(customer)s OR %(customer)s = '')"
        if is_open:
            where += (
                " AND state = 'opened' AND finding_id NOT IN"
                " (SELECT finding_id FROM alert_findings WHERE state = 'resolved')"
            )
        return self._changes(
            f"{where} ORDER BY recorded_at DESC, finding_id LIMIT %(limit)s",
            {"customer": customer, "limit": limit},
        )

    def changes_of(self, finding_id: str) -> list[Change]:
        """Every change of the findings whose id begins so, the oldest first."""
        return self._changes(
            "startsWith(finding_id, %(id)s) ORDER BY recorded_at, state LIMIT 100",
            {"id": finding_id},
        )

    def _changes(self, where: str, parameters: dict[str, Any] | None = None) -> list[Change]:
        with clickhouse_errors("reading findings"):
            rows = self._client.query(
                f"SELECT {_COLUMNS} FROM alert_findings FINAL WHERE {where}", parameters=parameters
            ).result_rows
        return [_change(row) for row in rows]


def _change(row: Sequence[Any]) -> Change:
    kind, customer, meter, group, threshold, start, state, _, hours, observed, expected = row[:11]
    unit, complete_to, _, recorded_at = row[11:]
    finding = Finding(
        FindingKey(FindingKind(kind), customer, meter, group, threshold), _utc(start), hours,
        observed=Decimal(observed), expected=Decimal(expected), unit=unit,
        complete_to=_utc(complete_to),
    )  # fmt: skip
    return Change(finding, FindingState(state), _utc(recorded_at))


def _row(change: Change) -> tuple[object, ...]:
    finding, key = change.finding, change.finding.key
    return (
        str(key.kind), key.customer_id, key.meter, key.group, key.threshold, finding.window_start,
        str(change.state), finding.finding_id, finding.window_hours, f"{finding.observed:f}",
        f"{finding.expected:f}", finding.unit, finding.complete_to, finding.sentence,
        change.recorded_at,
    )  # fmt: skip


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)],
        schema=schema,
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

"""How far the steps of alerts have come, in `alert_progress`; a step never goes back."""

from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client

from sinks.clickhouse import INSERT_SETTINGS, clickhouse_errors

NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def progress(client: Client) -> dict[str, datetime]:
    """By step; one that was never noted lacks. Raises `DependencyDown`."""
    with clickhouse_errors("reading how far alerts have come"):
        rows = client.query(
            "SELECT step, max(done_to) FROM alert_progress GROUP BY step"
        ).result_rows
    return {str(step): in_utc(moment) for step, moment in rows}


def note(client: Client, step: str, *, done_to: datetime) -> None:
    """A step has come to `done_to`, durable when this returns. Raises `DependencyDown`."""
    with clickhouse_errors("noting how far alerts have come"):
        client.insert(
            "alert_progress", [[step, done_to]], column_names=["step", "done_to"],
            settings=INSERT_SETTINGS,
        )  # fmt: skip


def in_utc(moment: datetime) -> datetime:
    """What ClickHouse answers, which may lack its zone."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

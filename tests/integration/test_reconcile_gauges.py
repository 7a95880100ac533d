"""What alerts hear of reconciliation: of each period the newest run, until that is run again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from metering.settings import Settings
from reconcile.gauges import newest_runs
from sinks.clickhouse import INSERT_SETTINGS, connect_clickhouse

FIRST = datetime(2026, 7, 2, tzinfo=UTC)


def test_a_clean_run_of_another_period_hides_nothing(settings: Settings) -> None:
    client = connect_clickhouse(settings)

    def run(period: str, *, day: int, amount: int) -> None:
        at = FIRST + timedelta(days=day)
        values = {
            "run_id": f"{period}-{day}", "period": period, "started_at": at, "finished_at": at,
            "exit_code": int(amount > 0), "sum_checks": ["lines"], "sum_classes": ["late"],
            "sum_currencies": ["USD"], "sum_findings": [amount], "sum_open_amounts": [amount],
        }  # fmt: skip
        client.insert(
            "reconciliation_runs", [list(values.values())], column_names=list(values),
            settings=INSERT_SETTINGS,
        )  # fmt: skip

    def shown() -> tuple[int, int, int]:
        found = newest_runs(client)
        assert found is not None
        return int(found.amounts["late", "USD"]), found.findings["late"], found.exit_code

    assert newest_runs(client) is None
    run("2026-05", day=0, amount=8)
    run("2026-06", day=1, amount=0)
    assert shown() == (8, 8, 1)
    run("2026-06", day=2, amount=3)
    assert shown() == (11, 11, 1)
    run("2026-05", day=3, amount=0)
    assert shown() == (3, 3, 1)
    run("2026-08", day=80, amount=0)
    assert shown() == (0, 0, 0)
    client.close()

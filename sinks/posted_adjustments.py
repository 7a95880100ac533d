"""Adjustments by the billing period that they are charged in, credits among them; credits alone."""

from collections.abc import Collection, Mapping, Sequence

from clickhouse_connect.driver.client import Client

from sinks.adjustment_rows import (
    ADJUSTMENT,
    ADJUSTMENT_LINE,
    AdjustmentLineRow,
    AdjustmentRow,
)
from sinks.clickhouse import clickhouse_errors
from sinks.stored_columns import rows_of, selected

_ROWS = f"""
SELECT {selected(ADJUSTMENT, "r.")} FROM adjustments AS r FINAL WHERE {{which}}
ORDER BY r.customer_id, r.posted_to, r.issued_at, r.run_id
"""
_LINES = f"""
SELECT {selected(ADJUSTMENT_LINE, "l.")} FROM adjustment_lines AS l FINAL
WHERE (customer_id, period_start, run_id) IN
    (SELECT customer_id, period_start, run_id FROM adjustments FINAL WHERE {{which}})
ORDER BY l.customer_id, l.period_start, l.run_id, l.line
"""
#: Adjustments, each with its lines.
Adjustments = Sequence[tuple[AdjustmentRow, list[AdjustmentLineRow]]]


def posted_adjustments(client: Client, periods: Sequence[tuple[str, int]]) -> Adjustments:
    """Those that are posted to `periods`: customers and starts (Unix seconds).

    Raises `DependencyDown`.
    """
    if not periods:
        return []
    which = "(customer_id, toUnixTimestamp(posted_to)) IN %(periods)s"
    return _read(client, which, {"periods": [tuple(each) for each in periods]})


def credits_of(client: Client, customers: Collection[str] = ()) -> Adjustments:
    """Every credit, or those of some customers. Raises `DependencyDown`."""
    which = "kind = 'credit'" + (" AND customer_id IN %(customers)s" if customers else "")
    return _read(client, which, {"customers": list(customers)})


def _read(client: Client, which: str, bound: Mapping[str, object]) -> Adjustments:
    with clickhouse_errors("reading posted adjustments"):
        heads = client.query_arrow(
            _ROWS.replace("{which}", which), parameters=dict(bound), use_strings=True
        )
        table = client.query_arrow(
            _LINES.replace("{which}", which), parameters=dict(bound), use_strings=True
        )
    lines: dict[tuple[str, int, str], list[AdjustmentLineRow]] = {}
    for line in rows_of(table, AdjustmentLineRow, ADJUSTMENT_LINE):
        key = (line.customer_id, line.period_start, line.run_id)
        lines.setdefault(key, []).append(line)
    return [
        (row, lines.get((row.customer_id, row.period_start, row.run_id), []))
        for row in rows_of(heads, AdjustmentRow, ADJUSTMENT)
    ]

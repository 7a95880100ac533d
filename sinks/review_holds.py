"""Invoices that a review holds back: by what a reconciliation found, or by a person."""

from collections.abc import Collection, Sequence

from clickhouse_connect.driver.client import Client

from sinks.clickhouse import clickhouse_errors

#: As the view `review_worklist`, of a few customers: the newest row of each record is in force.
_HELD = """
SELECT DISTINCT customer_id, period FROM
(
    SELECT customer_id, toString(period) AS period, invoice_hold
    FROM review_records_log
    WHERE period IN %(months)s AND customer_id IN %(customers)s
      AND (run_id = '' OR run_id IN (SELECT run_id FROM reconciliation_runs))
    ORDER BY recorded_at DESC, action = 'reconciled', run_id DESC
    LIMIT 1 BY period, customer_id, meter
)
WHERE invoice_hold
"""


def review_holds(
    client: Client, customers: Sequence[str], months: Collection[str]
) -> set[tuple[str, str]]:
    """Customer and month (`2026-06`) of every held record of these. Raises `DependencyDown`."""
    if not customers or not months:
        return set()
    parameters = {"customers": list(customers), "months": sorted(months)}
    with clickhouse_errors("reading invoices that a review holds"):
        rows = client.query(_HELD, parameters=parameters).result_rows
    return {(str(customer_id), str(month)) for customer_id, month in rows}

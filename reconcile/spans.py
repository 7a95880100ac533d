"""Splits a reconciliation by ranges of customers, so that memory does not grow with their number.

Everything that is compared is of one customer, and every table leads with the customer: so a
range is read, compared and let go before the next one. Borders are where about `SPAN_LINES` lines
or keys of usage lie between them; a customer is never split.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from clickhouse_connect.driver.client import Client

from reconcile.query import READ_SETTINGS

#: Lines and keys of usage (customer, meter, group) that are looked at together.
SPAN_LINES = 100_000
_BORDERS = """
SELECT min(customer_id) AS border FROM
(
    SELECT customer_id, intDiv(sum(n) OVER (ORDER BY customer_id), %(size)s) AS span FROM
    (
        SELECT customer_id, max(n) AS n FROM
        (
            SELECT customer_id, count() AS n FROM
            (
                SELECT customer_id, meter, `group` FROM usage_totals WHERE {period}
                GROUP BY customer_id, meter, `group`
            ) GROUP BY customer_id
            UNION ALL
            SELECT customer_id, count() FROM invoice_lines WHERE {period} GROUP BY customer_id
        ) GROUP BY customer_id
    )
) GROUP BY span ORDER BY border
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Customers from `low` (inclusive) to `high` (exclusive; None: to the last), bytewise."""

    low: str = ""
    high: str | None = None

    @property
    def condition(self) -> str:
        """SQL that keeps their rows."""
        text = "customer_id >= %(span_low)s"
        return text if self.high is None else f"{text} AND customer_id < %(span_high)s"

    @property
    def parameters(self) -> dict[str, Any]:
        """What `condition` refers to."""
        return {"span_low": self.low, "span_high": self.high or ""}

    def holds(self, customer_id: str) -> bool:
        """Whether the customer is one of them."""
        who = customer_id.encode()
        return self.low.encode() <= who and (self.high is None or who < self.high.encode())


def find_spans(client: Client, period: str, *, parameters: dict[str, Any], size: int) -> list[Span]:
    """All customers there may be, in order, in spans of about `size` lines or keys of usage.

    `period` is SQL that keeps rows of the period, and refers to `parameters`.
    """
    settings = {**READ_SETTINGS, "optimize_aggregation_in_order": 1}
    rows = client.query(
        _BORDERS.format(period=period), parameters={**parameters, "size": size}, settings=settings
    ).result_rows
    borders = ["", *(str(row[0]) for row in rows[1:])]
    return [Span(low, high) for low, high in pairwise([*borders, None]) if low is not None]

"""What the pipeline says: its public tables and views, read as an `Outcome`.

Everything is read with FINAL, so background merges make no difference. Quantities come as text,
because a driver that goes through float or a narrow decimal context would hide an error.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from loadtest.bills import Invoice
from loadtest.local_bills import Line
from loadtest.outcome import Outcome, Total, TotalKey
from loadtest.prices import Charge, ChargeKey

# An event that was a duplicate of one in flight, and was accepted itself when that one was lost
# with the dedup memory, keeps its older row; what counts is that it was accepted.
# Only coordinates that are in question are held in memory: a long load has hundreds of millions.
_PLACE = "stream, partition, offset, `index`"
_NOT_ACCEPTED = (
    f"({_PLACE}) NOT IN (SELECT {_PLACE} FROM usage_events FINAL"
    f" WHERE ({_PLACE}) IN (SELECT {_PLACE} FROM {{table}}))"
)
_DUPLICATE = _NOT_ACCEPTED.format(table="duplicate_events")
_REJECTED = _NOT_ACCEPTED.format(table="rejected_events")
_COUNTS = f"""
SELECT 'usage_events', count() FROM usage_events FINAL
UNION ALL SELECT 'duplicate_events', count() FROM duplicate_events FINAL WHERE {_DUPLICATE}
UNION ALL SELECT 'rejected_events', count() FROM rejected_events FINAL WHERE {_REJECTED}
UNION ALL SELECT 'suppressed_events', count() FROM suppressed_events FINAL
"""


def database_of(namespace: str) -> str:
    """The database that the pipeline derives from the same namespace."""
    return f"{namespace}_meterline" if namespace else "meterline"


class ClickHouse:
    """Read-only view of one namespace."""

    def __init__(self, url: str, database: str, *, patience_s: int = 300) -> None:
        """Connect. `url` is an HTTP DSN; raises what clickhouse-connect raises.

        `patience_s` is how long one answer may take.
        """
        self._client: Client = clickhouse_connect.get_client(
            dsn=url, database=database, autogenerate_session_id=False,
            send_receive_timeout=patience_s,
        )  # fmt: skip

    def accounted(self) -> int:
        """Events that ended in any of the four tables."""
        return sum(self._counts().values())

    def outcome(self) -> Outcome:
        """Every number that the truth knows."""
        counts = self._counts()
        flags = "SELECT countIf(late), countIf(disregarded) FROM usage_events FINAL"
        late, disregarded = self._rows(flags)[0]
        codes = f"SELECT code, count() FROM rejected_events FINAL WHERE {_REJECTED} GROUP BY code"
        return Outcome(
            accepted=counts["usage_events"],
            duplicates=counts["duplicate_events"],
            suppressed=counts["suppressed_events"],
            disregarded=int(disregarded),
            late=int(late),
            rejected={str(code): int(count) for code, count in self._rows(codes)},
            totals=self._totals(),
        )

    def charges(self) -> dict[ChargeKey, Charge]:
        """What finance reads: charges of billing periods, their parts added up."""
        rows = self._rows(
            "SELECT customer_id, meter, `group`, toUnixTimestamp(period_start),"
            " toString(sum(quantity)), toString(sum(included)), toString(sum(overage)),"
            " toString(sum(charge)) FROM period_charges"
            " GROUP BY customer_id, meter, `group`, period_start"
        )
        return {
            ChargeKey(customer, meter, group, int(period)): Charge(*map(Fraction, amounts))
            for customer, meter, group, period, *amounts in rows
        }

    def complete_to(self) -> datetime:
        """To which moment live totals are complete."""
        return datetime.fromtimestamp(
            float(self._rows("SELECT toUnixTimestamp(complete_to) FROM complete_to")[0][0]), UTC
        )

    def watermarks(self) -> list[tuple[int, int, int]]:
        """Partition, next offset after what is durable, and watermark in Unix milliseconds."""
        rows = self._rows(
            "SELECT partition, max(next_offset), toUnixTimestamp64Milli(max(watermark))"
            " FROM watermarks GROUP BY partition"
        )
        return [(int(partition), int(offset), int(moment)) for partition, offset, moment in rows]

    def on_time(self) -> list[tuple[int, int, int]]:
        """Partition, offset, and moment in Unix milliseconds of what was accepted on time."""
        rows = self._rows(
            "SELECT partition, offset, toUnixTimestamp64Milli(toDateTime64(occurred_at, 3))"
            " FROM usage_events FINAL WHERE NOT late"
        )
        return [(int(partition), int(offset), int(moment)) for partition, offset, moment in rows]

    def invoiced(self, month_start: datetime) -> dict[str, Invoice]:
        """Issued invoices of the billing period that begins then, by customer."""
        return self._money("invoices", month_start)

    def adjusted(self, month_start: datetime) -> dict[str, Invoice]:
        """What was posted in addition since, by customer."""
        return self._money("adjustments", month_start)

    def invoice_lines(self, customers: Sequence[str]) -> dict[tuple[str, Line], int]:
        """Cents of every issued line that comes to something, by customer and line."""
        return self._lines("invoice_lines_explained", customers)

    def adjustment_lines(self, customers: Sequence[str]) -> dict[tuple[str, Line], int]:
        """The same of what was posted since."""
        return self._lines("adjustment_lines_explained", customers)

    def adjusted_events(self, customers: Sequence[str]) -> set[tuple[str, str, str]]:
        """Events behind adjustments: customer, id, and added or retracted."""
        rows = self._rows(
            "SELECT customer_id, id, effect FROM adjustment_events FINAL"
            f" WHERE customer_id IN {tuple(customers)!r}"
        )
        return {(str(customer), str(name), str(effect)) for customer, name, effect in rows}

    def _lines(self, view: str, customers: Sequence[str]) -> dict[tuple[str, Line], int]:
        rows = self._rows(
            "SELECT customer_id, kind, meter, `group`, toUnixTimestamp(part_start),"
            f" toString(sum(amount) * 100) FROM {view} WHERE customer_id IN {tuple(customers)!r}"
            " GROUP BY customer_id, kind, meter, `group`, part_start HAVING sum(amount) != 0"
        )
        return {
            (str(customer), Line(str(kind), str(meter), str(group), int(part))): int(Decimal(cents))
            for customer, kind, meter, group, part, cents in rows
        }

    def _money(self, table: str, month_start: datetime) -> dict[str, Invoice]:
        rows = self._rows(
            f"SELECT customer_id, any(currency), toString(sum(total) * 100) FROM {table} FINAL"
            f" WHERE toUnixTimestamp(period_start) = {int(month_start.timestamp())}"
            " GROUP BY customer_id"
        )
        return {str(name): Invoice(code, int(Decimal(cents))) for name, code, cents in rows}

    def _totals(self) -> dict[TotalKey, Total]:
        rows = self._rows(
            "SELECT customer_id, meter, `group`, toUnixTimestamp(window_start),"
            " toString(quantity), events FROM live_usage"
        )
        return {
            TotalKey(customer, meter, group, int(window)): Total(Decimal(quantity), int(events))
            for customer, meter, group, window, quantity, events in rows
        }

    def _counts(self) -> dict[str, int]:
        return {str(table): int(count) for table, count in self._rows(_COUNTS)}

    def _rows(self, query: str) -> Sequence[Sequence[Any]]:
        return self._client.query(query).result_rows

"""Invoices and adjustments in ClickHouse: written in the order that makes them visible whole."""

from collections.abc import Callable, Sequence

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from sinks.adjustment_rows import (
    ADJUSTMENT,
    ADJUSTMENT_EVENT,
    ADJUSTMENT_LINE,
    AdjustmentEventRow,
    AdjustmentLineRow,
    AdjustmentRow,
)
from sinks.clickhouse import clickhouse_errors, insert_arrow
from sinks.fenced_insert import BeforeStep, insert_fenced
from sinks.invoice_rows import INVOICE, INVOICE_LINE, InvoiceLineRow, InvoiceRow
from sinks.stored_columns import Kinds, Row, rows_of, selected, table_of

#: Whose rows: customers and the starts of their billing periods (Unix seconds).
Periods = Sequence[tuple[str, int]]

_PERIOD = "(customer_id, toUnixTimestamp(period_start)) IN %(periods)s"
_VISIBLE = f"""
SELECT {{columns}} FROM (SELECT * FROM {{lines}} FINAL WHERE {_PERIOD}) AS l
INNER JOIN (SELECT customer_id, period_start, run_id FROM {{head}} FINAL
            WHERE {_PERIOD} AND {{which}}) AS h
    ON h.customer_id = l.customer_id AND h.period_start = l.period_start AND h.run_id = l.run_id
ORDER BY l.customer_id, l.period_start, l.run_id, l.line
"""
#: A credit is a gift: what is due does not take it back.
_CREDIT = "credit"
_CREDITS, _NO_CREDITS = f"kind = '{_CREDIT}'", f"kind != '{_CREDIT}'"


class InvoiceStore:
    """Reads what is visible, writes what is to be."""

    def __init__(
        self, client: Client, before_step: BeforeStep = lambda _step: None
    ) -> None:  # fmt: skip
        """`before_step` hears of each write before it happens (see `BillingLease.require`)."""
        self._client = client
        self.before_step = before_step

    def issue(
        self, invoices: Sequence[InvoiceRow], lines: Sequence[InvoiceLineRow], *,
        cards: pa.Table | None, periods: pa.Table | None,
    ) -> None:  # fmt: skip
        """Issue some invoices. Raises `DependencyDown`.

        Each step is one block, whole or not at all. A crash after
        1  the rate cards, or
        2  the billing periods: rows that are true without an invoice.
        3  the lines: nobody sees them; the next close of the same run writes them again, equal.
        4  the invoices: they and their lines are visible; the next close passes them over.
        """
        self._insert("rate_cards", cards)
        self._insert("billing_periods", periods)
        self._insert("invoice_lines", table_of(lines, INVOICE_LINE))
        self._show("invoices", table_of(invoices, INVOICE))

    def adjust(
        self, adjustments: Sequence[AdjustmentRow], lines: Sequence[AdjustmentLineRow], *,
        events: Sequence[AdjustmentEventRow], cards: pa.Table | None,
    ) -> None:  # fmt: skip
        """Post some adjustments. Raises `DependencyDown`.

        A crash after
        1  the rate cards, 2 the events or 3 the lines: nobody sees them; the next adjustment goes
           on with the same run, and writes them again, equal.
        4  the adjustments: visible with all of it; the next run passes them over.
        """
        self._insert("rate_cards", cards)
        self._insert("adjustment_events", table_of(events, ADJUSTMENT_EVENT))
        self._insert("adjustment_lines", table_of(lines, ADJUSTMENT_LINE))
        self._show("adjustments", table_of(adjustments, ADJUSTMENT))

    def invoices(self, periods: Periods) -> list[InvoiceRow]:
        """Issued invoices of these customers' periods."""
        return self._rows("invoices", periods, row=InvoiceRow, kinds=INVOICE)

    def adjustments(self, periods: Periods) -> list[AdjustmentRow]:
        """Adjustments of these customers' periods, credits left out."""
        return [each for each in self._adjusting(periods) if each.kind != _CREDIT]

    def credits(self, periods: Periods) -> list[AdjustmentRow]:
        """Credits for these customers' periods, whichever period they are posted to."""
        return [each for each in self._adjusting(periods) if each.kind == _CREDIT]

    def lines(self, periods: Periods) -> list[InvoiceLineRow]:
        """Lines of issued invoices, by customer, period and place."""
        table = self._visible("invoice", periods, kinds=INVOICE_LINE, which="1")
        return rows_of(table, InvoiceLineRow, INVOICE_LINE)

    def adjustment_lines(
        self, periods: Periods, *, are_credits: bool = False
    ) -> list[AdjustmentLineRow]:
        """Lines of adjustments, or of credits: never of both."""
        which = _CREDITS if are_credits else _NO_CREDITS
        table = self._visible("adjustment", periods, kinds=ADJUSTMENT_LINE, which=which)
        return rows_of(table, AdjustmentLineRow, ADJUSTMENT_LINE)

    def invoiced(self, customers: Sequence[str]) -> dict[str, set[int]]:
        """The starts of all periods for which these customers have an invoice."""
        return self._periods_in("invoices", customers)

    def held(self, customers: Sequence[str]) -> dict[str, set[int]]:
        """The starts of all periods whose invoices a correction holds back."""
        return self._periods_in("invoice_holds", customers)

    def known_periods(self, periods: Periods) -> set[tuple[str, int]]:
        """Those that stand in `billing_periods` already."""
        if not periods:
            return set()
        with clickhouse_errors("reading which billing periods are known"):
            rows = self._client.query(
                "SELECT DISTINCT customer_id, toUnixTimestamp(period_start) FROM billing_periods"
                f" WHERE {_PERIOD}",
                parameters=_bound(periods),
            ).result_rows
        return {(str(customer_id), int(start)) for customer_id, start in rows}

    def _periods_in(self, name: str, customers: Sequence[str]) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        if customers:
            with clickhouse_errors(f"reading {name}"):
                rows = self._client.query(
                    f"SELECT DISTINCT customer_id, toUnixTimestamp(period_start) FROM {name}"
                    " WHERE customer_id IN %(customers)s",
                    parameters={"customers": list(customers)},
                ).result_rows
            for customer_id, start in rows:
                found.setdefault(str(customer_id), set()).add(int(start))
        return found

    def _adjusting(self, periods: Periods) -> list[AdjustmentRow]:
        return self._rows("adjustments", periods, row=AdjustmentRow, kinds=ADJUSTMENT)

    def _rows(
        self, name: str, periods: Periods, *, row: Callable[..., Row], kinds: Kinds
    ) -> list[Row]:
        if not periods:
            return []
        sql = (
            f"SELECT {selected(kinds, 'r.')} FROM {name} AS r FINAL WHERE {_PERIOD}"
            " ORDER BY r.customer_id, r.period_start, r.issued_at, r.run_id"
        )
        with clickhouse_errors(f"reading {name}"):
            table = self._client.query_arrow(sql, parameters=_bound(periods), use_strings=True)
        return rows_of(table, row, kinds)

    def _visible(self, name: str, periods: Periods, *, kinds: Kinds, which: str) -> pa.Table:
        if not periods:
            return pa.table({})
        sql = _VISIBLE.format(
            columns=selected(kinds, "l."), lines=f"{name}_lines", head=f"{name}s", which=which
        )
        with clickhouse_errors(f"reading lines of {name}s"):
            return self._client.query_arrow(sql, parameters=_bound(periods), use_strings=True)

    def _insert(self, table: str, rows: pa.Table | None) -> None:
        self.before_step(table)
        if rows is not None:
            insert_arrow(self._client, table, rows)

    def _show(self, table: str, rows: pa.Table) -> None:
        """Insert what makes the rest visible."""
        insert_fenced(self._client, table, rows, before_step=self.before_step)


def _bound(periods: Periods) -> dict[str, object]:
    return {"periods": [tuple(each) for each in periods]}

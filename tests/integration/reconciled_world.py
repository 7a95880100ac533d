"""A reconciliation of a small billed world in this process, and rows beside those of the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billed_world import Price, World

from metering.catalog import Aggregation, Meter
from metering.settings import Settings
from reconcile.own_periods import OwnPeriods
from reconcile.result import Reconciliation
from reconcile.run import Books, read_files, reconcile
from reconcile.spans import find_spans
from reconcile.variance import decimal_of
from sinks.clickhouse import INSERT_SETTINGS, connect_clickhouse

PRICES = {1: Price(Decimal("0.5")), 2: Price(Decimal("0.75"))}
MAY = datetime(2026, 5, 1, tzinfo=UTC)
SUM = Meter("api", "request", Aggregation.SUM)
METERS = {
    each.key: each
    for each in (
        SUM, Meter("calls", "call", Aggregation.COUNT), Meter("disk", "GB", Aggregation.MAX),
        Meter("seats", "seat", Aggregation.LATEST),
        Meter("users", "user", Aggregation.UNIQUE_COUNT, counted_dimension="user"),
    )
}  # fmt: skip
PLAIN = OwnPeriods(lambda _customer: None, lambda _customer, _period: ())
#: Check, class, customer, amount.
Told = list[tuple[str, str, str, Decimal]]


def insert(settings: Settings, table: str, found: Iterable[Mapping[str, Any]]) -> None:
    """Rows beside those of a world."""
    listed = list(found)
    client = connect_clickhouse(settings)
    names = list(listed[0])
    client.insert(table, [[row[name] for name in names] for row in listed], column_names=names,
                  settings=INSERT_SETTINGS)  # fmt: skip
    client.close()


def reconciled(settings: Settings, *, period: str = "2026-06", **books: Any) -> Reconciliation:
    """A run in this process, which spares starting one."""
    client = connect_clickhouse(settings)
    asked = Books(period=period, **{"meters": METERS, "own": PLAIN, **books})
    run = Reconciliation("r", period, datetime.now(UTC))
    try:
        reconcile(
            client, asked, files=read_files(asked), run=run, say=lambda _doing, _done: None,
            keep=lambda _part: None,
        )  # fmt: skip
    finally:
        client.close()
    return run


def span_count(settings: Settings, size: int) -> int:
    """In how many ranges of customers all of them are compared."""
    client = connect_clickhouse(settings)
    try:
        return len(find_spans(client, "1", parameters={}, size=size))
    finally:
        client.close()


def told(run: Reconciliation) -> Told:
    return sorted(
        (str(each.check), str(each.variance), each.subject.customer_id, decimal_of(each.amount))
        for each in run.findings
    )


def retraction(
    row: Mapping[str, Any], at: datetime, *, is_retracted: bool = True
) -> dict[str, Any]:
    """A row that takes an event back, or gives it back."""
    return {
        "customer_id": row["customer_id"], "meter": row["meter"], "identity": row["identity"],
        "correction_id": "c", "is_retracted": is_retracted, "recorded_at": at,
    }  # fmt: skip


def add_up_anew(world: World) -> None:
    """Totals of the events as they stand now."""
    world.totals = {}
    for row in world.events:
        key = (row["customer_id"], row["meter"], row["period_start"])
        world.totals[key] = world.totals.get(key, Decimal(0)) + row["quantity"]


def at_place(world: World, customer: str, quantity: str, **place: Any) -> dict[str, Any]:
    """An event at coordinates of its own."""
    row = world.event(customer, "api", quantity)
    row.update(place)
    return row

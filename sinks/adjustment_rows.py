"""Rows of `adjustments`, `adjustment_lines` and `adjustment_events`, as whole numbers."""

from typing import NamedTuple

from sinks.stored_columns import (
    AMOUNT,
    CHARGE,
    COUNT,
    HASH,
    INDEX,
    MICROSECOND,
    MILLISECOND,
    NUMBER,
    SECOND,
    SMALL,
    SMALL_UNITS,
    TEXT,
    UNITS,
    Kinds,
)


class AdjustmentRow(NamedTuple):
    """What changed for a customer and period in one run; units as those of `InvoiceRow`."""

    customer_id: str
    period_start: int
    run_id: str
    adjustment_id: str
    invoice_id: str
    kind: str
    posted_to: int
    currency: str
    minor_digits: int
    total: int
    lines: int
    lines_hash: str
    calculation_version: int
    catalog: str
    actor: str
    reason: str
    issued_at: int


class AdjustmentLineRow(NamedTuple):
    """A line of it: before, after, and the signed difference; units as those of invoice lines."""

    customer_id: str
    period_start: int
    run_id: str
    line: int
    line_id: str
    adjustment_id: str
    kind: str
    meter: str
    group: str
    part_start: int
    part_end: int
    quantity_before: int
    quantity_after: int
    included_before: int
    included_after: int
    overage_before: int
    overage_after: int
    exact_before: int
    exact_after: int
    amount_before: int
    amount_after: int
    amount: int
    currency: str
    plan: str
    price_version: int
    card: int
    events: int
    identities_hash: bytes


class AdjustmentEventRow(NamedTuple):
    """An event behind a line: `effect` is added or retracted."""

    customer_id: str
    period_start: int
    run_id: str
    line: int
    stream: str
    partition: int
    offset: int
    index: int  # type: ignore[assignment]
    effect: str
    id: str
    identity: bytes
    occurred_at: int
    record_time: int
    quantity: int


ADJUSTMENT: Kinds = {
    "customer_id": TEXT, "period_start": SECOND, "run_id": TEXT, "adjustment_id": TEXT,
    "invoice_id": TEXT, "kind": TEXT, "posted_to": SECOND, "currency": TEXT, "minor_digits": SMALL,
    "total": AMOUNT, "lines": NUMBER, "lines_hash": TEXT, "calculation_version": NUMBER,
    "catalog": TEXT, "actor": TEXT, "reason": TEXT, "issued_at": MICROSECOND,
}  # fmt: skip
ADJUSTMENT_LINE: Kinds = {
    "customer_id": TEXT, "period_start": SECOND, "run_id": TEXT, "line": NUMBER, "line_id": TEXT,
    "adjustment_id": TEXT, "kind": TEXT, "meter": TEXT, "group": TEXT, "part_start": SECOND,
    "part_end": SECOND, "quantity_before": UNITS, "quantity_after": UNITS,
    "included_before": UNITS, "included_after": UNITS, "overage_before": UNITS,
    "overage_after": UNITS, "exact_before": CHARGE, "exact_after": CHARGE,
    "amount_before": AMOUNT, "amount_after": AMOUNT, "amount": AMOUNT, "currency": TEXT,
    "plan": TEXT, "price_version": NUMBER, "card": COUNT, "events": COUNT,
    "identities_hash": HASH,
}  # fmt: skip
ADJUSTMENT_EVENT: Kinds = {
    "customer_id": TEXT, "period_start": SECOND, "run_id": TEXT, "line": NUMBER, "stream": TEXT,
    "partition": NUMBER, "offset": COUNT, "index": INDEX, "effect": TEXT, "id": TEXT,
    "identity": HASH, "occurred_at": MICROSECOND, "record_time": MILLISECOND,
    "quantity": SMALL_UNITS,
}  # fmt: skip

"""Rows of `invoices` and `invoice_lines`, as whole numbers."""

from typing import NamedTuple

from sinks.stored_columns import (
    AMOUNT,
    CHARGE,
    CHARGE_LIST,
    COUNT,
    HASH,
    MICROSECOND,
    NUMBER,
    SECOND,
    SMALL,
    TEXT,
    UNITS,
    UNITS_LIST,
    Kinds,
)


class InvoiceRow(NamedTuple):
    """An issued invoice. Periods are Unix seconds, `total` 10^-4 of the currency's unit."""

    customer_id: str
    period_start: int
    period_end: int
    invoice_id: str
    run_id: str
    subscription: str
    plan: str
    currency: str
    minor_digits: int
    rounding: str
    total: int
    lines: int
    lines_hash: str
    calculation_version: int
    catalog: str
    issued_at: int


class InvoiceLineRow(NamedTuple):
    """A line. Times are Unix seconds, quantities 10^-12 units.

    `exact` and `tier_charge` are 10^-24 of the currency's unit, prices and flat fees 10^-12,
    `amount` 10^-4.
    """

    customer_id: str
    period_start: int
    run_id: str
    line: int
    line_id: str
    invoice_id: str
    kind: str
    meter: str
    group: str
    part_start: int
    part_end: int
    quantity: int
    included: int
    overage: int
    tier_units: tuple[int, ...]
    tier_unit_price: tuple[int, ...]
    tier_flat_fee: tuple[int, ...]
    tier_charge: tuple[int, ...]
    exact: int
    amount: int
    currency: str
    plan: str
    price_version: int
    card: int
    events: int
    identities_hash: bytes


INVOICE: Kinds = {
    "customer_id": TEXT, "period_start": SECOND, "period_end": SECOND, "invoice_id": TEXT,
    "run_id": TEXT, "subscription": TEXT, "plan": TEXT, "currency": TEXT, "minor_digits": SMALL,
    "rounding": TEXT, "total": AMOUNT, "lines": NUMBER, "lines_hash": TEXT,
    "calculation_version": NUMBER, "catalog": TEXT, "issued_at": MICROSECOND,
}  # fmt: skip
INVOICE_LINE: Kinds = {
    "customer_id": TEXT, "period_start": SECOND, "run_id": TEXT, "line": NUMBER, "line_id": TEXT,
    "invoice_id": TEXT, "kind": TEXT, "meter": TEXT, "group": TEXT, "part_start": SECOND,
    "part_end": SECOND, "quantity": UNITS, "included": UNITS, "overage": UNITS,
    "tier_units": UNITS_LIST, "tier_unit_price": UNITS_LIST, "tier_flat_fee": UNITS_LIST,
    "tier_charge": CHARGE_LIST, "exact": CHARGE, "amount": AMOUNT, "currency": TEXT, "plan": TEXT,
    "price_version": NUMBER, "card": COUNT, "events": COUNT, "identities_hash": HASH,
}  # fmt: skip

"""A file that holds several months: rows of the others are left out, wherever customers live."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
from test_reconcile_export import SCHEMA, Books, whole

from reconcile.check_export import CardKnowledge, ExportResult, check_export
from reconcile.check_ledger import check_ledger
from reconcile.files import LINE
from reconcile.ledger_rows import LedgerMapping
from reconcile.own_periods import OwnPeriods
from reconcile.period import Period, following_starts

ZONES = {
    "auckland": "Pacific/Auckland", "berlin": "Europe/Berlin", "utc": "UTC",
    "honolulu": "Pacific/Honolulu",
}  # fmt: skip
OWN = OwnPeriods(
    lambda customer: (1, ZONES[customer]) if customer in ZONES else None, lambda _who, _period: ()
)
MONTHS = range(4, 9)


def start(customer: str, month: int) -> int:
    return OWN.beginning_in(customer, 2026, month=month).start


def period_of(month: int) -> Period:
    starts = tuple(sorted(start(customer, month) for customer in ZONES))
    return Period(
        f"2026-{month:02d}", date(2026, month, 1), date(2026, month + 1, 1), starts
    )  # fmt: skip


def line(customer: str, month: int, **changes: Any) -> dict[str, Any]:
    found = Books(month).line(customer)
    moment = start(customer, month)
    return found | {
        "period_start": moment, "part_start": moment, "line_id": f"il-{customer}-{month}", **changes
    }  # fmt: skip


def as_row(found: dict[str, Any], number: int, **changes: Any) -> dict[str, Any]:
    names = ("customer_id", "meter", "group", "kind", "period_start", "invoice_id", "line_id",
             "quantity", "amount", "currency", "price_version")  # fmt: skip
    return {name: found[name] for name in names} | {"group": None, LINE: number, **changes}


def frame(found: list[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    numbers = ("quantity", "amount")
    return pl.DataFrame(
        [{**row, **{name: whole(row[name]) for name in numbers}} for row in found], schema=schema
    )


def exported(month: int, lines: list[dict[str, Any]], rows: list[dict[str, Any]]) -> ExportResult:
    kept = {name: kind for name, kind in SCHEMA.items() if name in as_row(line("utc", 6), 0)}
    theirs = frame(rows, {**kept, LINE: pl.Int64})
    period = period_of(month)
    following = following_starts(theirs, "period_start", own=OWN, period=period)
    return check_export(
        frame(lines, SCHEMA), theirs, period=replace(period, following=frozenset(following)),
        known=CardKnowledge({}, {}, {}),
    )  # fmt: skip


def test_rows_of_the_months_before_and_after_are_left_out() -> None:
    lines = [line(customer, month) for customer in ZONES for month in MONTHS]
    rows = [as_row(each, number) for number, each in enumerate(lines)]
    for month in MONTHS:
        own = [each for each in lines if each["line_id"].endswith(f"-{month}")]
        found = exported(month, own, rows)
        assert found.findings == []
        assert (found.rows, found.skipped) == (len(ZONES), len(lines) - len(ZONES))


def test_rows_of_an_adjusted_month_are_not_taken_for_the_adjustment() -> None:
    """What is adjusted in June is of May, and a file of both months has May's rows as well."""
    may, june = line("berlin", 5), line("berlin", 6)
    adjustment = line(
        "berlin", 5, is_adjustment=True, line_id="adj-1", amount=Decimal("7.25"), card=0,
    )  # fmt: skip
    rows = [as_row(each, number) for number, each in enumerate((may, june, adjustment))]
    found = exported(6, [june, adjustment], rows)
    assert (found.findings, found.skipped) == ([], 1)
    for row in rows:
        row["line_id"] = ""
    found = exported(6, [june, adjustment], rows)
    assert (found.findings, found.skipped) == ([], 1)


def test_postings_of_the_next_month_are_left_out_too() -> None:
    lines = [line(customer, 6, kind="charge") for customer in ZONES]
    postings = frame(
        [
            {"posting_id": f"p-{customer}-{month}", "account": "", "customer_id": customer,
             "reference": "", "period": start(customer, month), "amount": each["amount"],
             "quantity": Decimal(0), "currency": "USD", LINE: month}
            for each in lines for customer in (each["customer_id"],) for month in (6, 7)
        ],
        {"posting_id": pl.String, "account": pl.String, "customer_id": pl.String,
         "reference": pl.String, "period": pl.Int64, "amount": pl.Int128, "currency": pl.String,
         LINE: pl.Int64, "quantity": pl.Int128},
    )  # fmt: skip
    period = period_of(6)
    following = following_starts(postings, "period", own=OWN, period=period)
    found = check_ledger(
        frame(lines, SCHEMA), postings, period=replace(period, following=frozenset(following)),
        mapping=LedgerMapping(),
    )  # fmt: skip
    assert (found.findings, found.rows, found.skipped) == ([], len(ZONES), len(ZONES))


def test_a_day_is_of_the_month_that_it_says() -> None:
    utc = datetime(2026, 6, 30, tzinfo=UTC)
    rows = pl.DataFrame({"customer_id": ["utc", "berlin"], "at": [int(utc.timestamp())] * 2})
    period = period_of(6)
    assert following_starts(rows, "at", own=OWN, period=period) == set()
    assert period.rows_inside(rows, "at").to_list() == [True, True]

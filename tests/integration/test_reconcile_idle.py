"""Reconciliation where somebody used nothing: fees alone, and adjustments of who left."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from billed_world import JUNE, World
from counting import rows
from reconciled_world import PRICES, insert
from test_reconcile import export_of, reconcile, told

from metering.settings import Settings


def test_a_month_that_was_closed_before_any_usage_came(settings: Settings, tmp_path: Path) -> None:
    world = World(PRICES)
    world.cuts = {"close-1": {}}
    world.line("idle", "", "0", amount=Decimal(20), kind="base_fee")
    world.period("idle", base_fee=Decimal(20))
    world.insert(settings)
    export = tmp_path / "june.csv"
    export_of(world, export)
    reconcile(settings, "--export", str(export), exit_code=0)
    world.event("idle", "api", "100")
    world.insert(settings)
    assert told(reconcile(settings)) == [("lines", "late", "idle", "api", "-50")]


def test_what_is_posted_to_a_period_in_which_nobody_used_anything_is_expected(
    settings: Settings, tmp_path: Path
) -> None:
    """Its customer left, and lives by a calendar of its own."""
    world = World(PRICES)
    world.billed("stays", "api", "100")
    world.insert(settings)
    posted_to = datetime(2026, 7, 15, tzinfo=UTC)
    head = {"customer_id": "left", "period_start": datetime(2026, 6, 15, tzinfo=UTC),
            "run_id": "adjust-1", "adjustment_id": "adj-1", "currency": "USD"}  # fmt: skip
    insert(settings, "adjustment_lines", [{
        **head, "line": 1, "line_id": "adj-1_1", "kind": "charge", "meter": "api", "group": "{}",
        "part_start": head["period_start"], "quantity_after": Decimal(-8), "amount": Decimal(-4),
    }])  # fmt: skip
    insert(settings, "adjustments", [{
        **head, "kind": "late_usage", "posted_to": posted_to, "minor_digits": 2,
        "total": Decimal(-4), "lines": 1,
    }])  # fmt: skip
    assert rows(settings, "SELECT count() FROM billing_periods FINAL WHERE period_start > "
                f"'{JUNE:%Y-%m-%d %H:%M:%S}'") == [(0,)]  # fmt: skip
    export = tmp_path / "july.csv"
    header = "customer_id,meter,period_start,quantity,amount,currency,line_id"
    export.write_text(f"{header}\n")
    found = reconcile(settings, "--export", str(export), period="2026-07")
    assert told(found) == [("export", "late", "left", "api", "4")]
    export.write_text(f"{header}\nleft,api,2026-06-15,-8,-4.00,USD,adj-1_1\n")
    reconcile(settings, "--export", str(export), period="2026-07", exit_code=0)

"""Review records through several runs: whose they are, and what is billed with what is adjusted."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from billed_world import JULY, JUNE, World
from counting import answer, meterline
from reconciled_world import insert
from test_reconcile import PRICES, clean_world, export_of, reconcile, write_csv

from metering.settings import Settings


def record(settings: Settings, customer: str) -> dict[str, Any]:
    """The record of a customer who has one."""
    (found,) = answer(settings, "review", "list", "--all", "--customer", customer)
    assert isinstance(found, dict)
    return found


def test_who_reviews_a_record_stays_through_all_later_runs(settings: Settings) -> None:
    world = clean_world()
    world.lines[0]["amount"] += Decimal(500)
    world.insert(settings)
    reconcile(settings)
    (first,) = answer(settings, "review", "list", "--period", "2026-06")
    done = meterline(
        settings, "review", "assign", first["id"], "--reviewer", "maya", "--note", "hers",
        "--actor", "jon",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for _ in range(3):
        world.event("org_0", "api_requests", "100", late=True)
        world.insert(settings)
        for _ in range(2):  # other figures, then the same again
            reconcile(settings)
            (found,) = answer(settings, "review", "list", "--period", "2026-06")
            assert (found["status"], found["reviewer"]) == ("needs-review", "maya")


def test_what_a_person_held_in_order_is_not_given_to_the_rules_reviewer(
    settings: Settings,
) -> None:
    world = World(PRICES)
    world.billed("org_1", "api_requests", "5000")
    world.insert(settings)
    reconcile(settings, exit_code=0)
    found = record(settings, "org_1")
    assert (found["status"], found["reviewer"]) == ("rated", "Auto-rated")
    step = (found["id"], "--note", "a spike", "--actor", "jon")
    assert meterline(settings, "review", "hold", *step).returncode == 0
    world.event("org_1", "api_requests", "100", late=True)
    world.insert(settings)
    reconcile(settings)
    found = record(settings, "org_1")
    assert (found["status"], found["reviewer"]) == ("needs-review", "")


def test_what_is_adjusted_is_billed_too(settings: Settings, tmp_path: Path) -> None:
    world = World(PRICES)
    world.billed("org_1", "api_requests", "5000")
    world.event("org_1", "api_requests", "300", late=True)
    world.insert(settings)
    billed, due = (PRICES[1].amount(Decimal(each)) for each in (5000, 5300))
    head = {"customer_id": "org_1", "period_start": JUNE, "run_id": "adjust-1",
            "adjustment_id": "adj-1", "currency": "USD"}  # fmt: skip
    insert(settings, "adjustment_lines", [{
        **head, "line": 1, "kind": "charge", "meter": "api_requests", "group": "{}",
        "part_start": JUNE, "quantity_after": Decimal(300), "amount": due - billed,
    }])  # fmt: skip
    insert(settings, "adjustments", [{
        **head, "kind": "late_usage", "posted_to": JULY, "minor_digits": 2, "total": due - billed,
        "lines": 1,
    }])  # fmt: skip
    export = tmp_path / "june.csv"
    rows = export_of(world, export)
    for arguments in ((), ("--export", str(export))):
        reconcile(settings, *arguments, exit_code=0)
        found = record(settings, "org_1")
        assert (found["status"], found["quantity"], found["delta"]) == ("rated", "5300", "0")
        assert Decimal(found["invoice_impact"]) == due
    write_csv(export, [{**row, "quantity": ""} for row in rows])
    reconcile(settings, "--export", str(export), exit_code=0)
    found = record(settings, "org_1")
    assert (found["quantity"], found["delta"]) == ("5300", "0"), "a row may leave quantities out"


def test_too_much_here_does_not_make_up_for_too_little_there(
    settings: Settings, tmp_path: Path
) -> None:
    world = clean_world()
    world.lines[2]["amount"] += Decimal(5)
    world.lines[4]["amount"] -= Decimal(5)
    world.insert(settings)
    gauges = tmp_path / "m.prom"
    reconcile(settings, "--textfile", str(gauges))
    shown = gauges.read_text(encoding="utf-8")
    assert 'variance{class="manual_edit",currency="USD"} 10.0' in shown

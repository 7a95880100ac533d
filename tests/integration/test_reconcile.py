"""`meterline reconcile` over real tables: what is right is passed, what was changed is found."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from billed_world import CUT, JULY, JUNE, STREAM, Price, World
from counting import answer, meterline, plant, rows

from metering.settings import Settings

PRICES = {1: Price(Decimal("0.0123"), Decimal(100)), 2: Price(Decimal("0.02"), Decimal(100))}
METERS = ("api_requests", "storage_gb", "documents_processed", "seats")


def clean_world() -> World:
    world = World(PRICES)
    for number in range(6):
        for at, meter in enumerate(("api_requests", "storage_gb")):
            world.billed(f"org_{number}", meter, f"{1000 * (number + 1) + 37 * at}.25")
    world.period("org_0", base_fee=Decimal(20), commit=Decimal(50))
    charges = sum(line["amount"] for line in world.lines if line["customer_id"] == "org_0")
    world.line("org_0", "", "0", amount=Decimal(20), kind="base_fee")
    world.line("org_0", "", "0", amount=Decimal(50) - charges, kind="true_up")
    return world


def export_of(world: World, path: Path) -> list[dict[str, Any]]:
    found = [
        {
            "customer_id": line["customer_id"], "meter": line["meter"] or line["kind"],
            "period_start": "2026-06-01", "period_end": "2026-07-01",
            "quantity": str(line["quantity"]), "amount": str(line["amount"]), "currency": "USD",
            "invoice_id": line["invoice_id"], "line_id": line["line_id"],
            "price_version": line["price_version"],
        }
        for line in world.lines
    ]  # fmt: skip
    write_csv(path, found)
    return found


def write_csv(path: Path, found: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)


def reconcile(settings: Settings, *arguments: str, exit_code: int = 1) -> Any:
    done = meterline(settings, "reconcile", "--period", "2026-06", "--json", *arguments)
    assert done.returncode == exit_code, (done.stdout, done.stderr)
    document = json.loads(done.stdout)
    assert [each for each in document["totals"] if each["unexplained"] != "0"] == []
    return document


def told(document: Any) -> list[tuple[str, str, str, str, str]]:
    return [
        (each["check"], each["class"], each["customer_id"], each["meter"], each["amount"])
        for each in document["findings"]
    ]


def test_a_month_in_order_is_clean(settings: Settings, tmp_path: Path) -> None:
    world = clean_world()
    world.insert(settings)
    export = tmp_path / "june.csv"
    export_of(world, export)
    document = reconcile(settings, "--export", str(export), exit_code=0)
    assert document["findings"] == []
    assert document["counts"]["invoice_lines"] == len(world.lines)
    (totals,) = [each for each in document["totals"] if each["check"] == "export"]
    assert Decimal(totals["expected"]) == sum(line["amount"] for line in world.lines)
    records = answer(settings, "review", "list", "--all", "--period", "2026-06")
    assert len(records) == 12
    assert {each["status"] for each in records} == {"rated"}
    assert rows(settings, "SELECT exit_code, findings FROM reconciliation_runs") == [(0, 0)]

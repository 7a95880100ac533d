"""What is exported is all that is to be paid, and reconciles with the books it was taken from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from counting import plant
from late_period import CUSTOMERS, LATE, PERIOD
from test_closed_and_corrected import corrected
from test_closing import FORCE, Deployed, _cents, answer, deployed, meterline

__all__ = ["deployed"]  # the fixture

NEXT = "2025-04"


def exported(at: Deployed, period: str, wanted: str, name: str) -> Path:
    path = at.folder / name
    done = meterline(
        at.settings, "invoices", "export", "--period", period, "--format", wanted,
        "--output", str(path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return path


def reconciled(at: Deployed, period: str, export: Path, mapping: str) -> list[dict[str, Any]]:
    """Findings of the export."""
    found = answer(
        at.settings, "reconcile", "--period", period, "--export", str(export),
        "--mapping", mapping,
    )  # fmt: skip
    (totals,) = [each for each in found["totals"] if each["check"] == "export"]
    assert totals["expected"] != "0"
    return [each for each in found["findings"] if each["check"] == "export"]


@pytest.mark.parametrize("wanted", ["csv", "jsonl", "parquet", "stripe"])
def test_an_export_reconciles_with_what_was_invoiced_and_adjusted(
    deployed: Deployed, wanted: str
) -> None:
    """Base fees, a quantity of 0, adjustments of both signs, and a credit."""
    deployed.ask("close", *FORCE)
    mapping = "stripe" if wanted == "stripe" else "generic"
    name = f"march.{'jsonl' if wanted == 'stripe' else wanted}"
    assert reconciled(deployed, PERIOD, exported(deployed, PERIOD, wanted, name), mapping) == []
    deployed.backfill(LATE, "late")
    deployed.retract("a", "1")
    adjusted = deployed.ask("adjust")["adjustments"]
    corrected(
        deployed, "credit", "--customer", "b", "--period", NEXT, "--amount=-12.50",
        "--currency", "USD",
    )  # fmt: skip
    posted = exported(deployed, NEXT, wanted, f"april-{name}")
    assert reconciled(deployed, NEXT, posted, mapping) == []
    assert reconciled(deployed, PERIOD, deployed.folder / name, mapping) == []
    if wanted == "jsonl":
        rows = [json.loads(line) for line in posted.read_text(encoding="utf-8").splitlines()]
        paid = sum(_cents(each["amount"]) for each in rows)
        assert paid == sum(_cents(each["amount"]) for each in adjusted) - 1250
        assert {each["customer_id"] for each in rows} == set(CUSTOMERS)
        assert {each["kind"] for each in rows} > {"charge", "credit"}


def test_a_stripe_line_is_known_by_our_ids_where_stripe_gave_it_another(
    deployed: Deployed,
) -> None:
    deployed.ask("close", *FORCE)
    path = exported(deployed, PERIOD, "stripe", "march.jsonl")
    items = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, item in enumerate(items):
        item.update(id=f"il_{number}", invoice="in_1")
    items[0]["amount"] += 500
    wanted = items[0]["metadata"]["line_id"]
    path.write_text("".join(json.dumps(each) + "\n" for each in items), encoding="utf-8")
    (found,) = reconciled(deployed, PERIOD, path, "stripe")
    assert (found["class"], found["amount"], found["line_id"]) == ("manual_edit", "5", wanted)


def test_what_a_review_holds_is_not_invoiced_until_it_is_released(deployed: Deployed) -> None:
    held, *others = CUSTOMERS
    answer(deployed.settings, "reconcile", "--period", PERIOD)
    records = answer(deployed.settings, "review", "list", "--period", PERIOD, "--all")
    record = next(each for each in records if each["customer_id"] == held)
    step = (record["id"], "--note", "a spike", "--actor", "ann")
    assert meterline(deployed.settings, "review", "hold", *step).returncode == 0
    listed = answer(deployed.settings, "review", "list", "--held")
    assert [each["id"] for each in listed] == [record["id"]]
    closed = deployed.ask("close", *FORCE)
    assert (closed["invoices"], closed["held"]) == (len(others), [held])
    assert set(deployed.billed()) == set(others)
    assert meterline(deployed.settings, "review", "release", *step).returncode == 0
    closed = deployed.ask("close", *FORCE)
    assert (closed["invoices"], closed["held"]) == (1, [])
    assert set(deployed.billed()) == set(CUSTOMERS)


def test_a_credit_that_is_not_as_it_was_applied_is_found(deployed: Deployed) -> None:
    deployed.ask("close", *FORCE)
    for customer, period in (("b", PERIOD), ("c", NEXT)):  # one for a month without an invoice
        corrected(
            deployed, "credit", "--customer", customer, "--period", period, "--amount=-12.50",
            "--currency", "USD",
        )  # fmt: skip
    asked = ("invoices", "verify")
    assert answer(deployed.settings, *asked)["holds"]

    def told(*arguments: str) -> list[tuple[str, str]]:
        found = answer(deployed.settings, *asked, *arguments)
        return [(each["customer_id"], each["derived"]) for each in found["shown"]]

    # changed with all that goes with it, as somebody would who knows how it is made
    plant(deployed.settings, "INSERT INTO adjustments SELECT * REPLACE (total - 100 AS total, "
          "issued_at - INTERVAL 1 SECOND AS issued_at) FROM adjustments FINAL "
          "WHERE customer_id = 'c'")  # fmt: skip
    assert ("c", "-112.50 USD") in told("--period", NEXT)
    assert told("--period", PERIOD) == []
    plant(deployed.settings, "DELETE FROM adjustments WHERE customer_id = 'b'")
    assert told("--customer", "b") == [("b", "none")]
    plant(deployed.settings, "INSERT INTO adjustments SELECT * REPLACE ('a' AS customer_id, "
          "'c-0' AS run_id) FROM adjustments AS p FINAL WHERE p.customer_id = 'c'")  # fmt: skip
    assert ("a", "-112.50 USD") in told("--customer", "a")

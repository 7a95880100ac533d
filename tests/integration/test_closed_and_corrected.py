"""Corrections of periods that are closed, or about to be: what is invoiced, what is adjusted."""

from __future__ import annotations

from typing import Any

import pytest
from late_period import CUSTOMERS, FIRST, PERIOD
from test_closing import FORCE, Deployed, _cents, _expected, answer, deployed, meterline

__all__ = ["deployed"]  # the fixture

REASON = ("--reason", "dispute", "--note", "in question", "--actor", "ann")


def corrected(at: Deployed, *arguments: str) -> dict[str, Any]:
    """Draft and apply a correction, with a second person where one is asked for."""
    drafted: dict[str, Any] = answer(at.settings, "correct", *arguments, *REASON)
    number = drafted["correction"]["correction_id"]
    for step in (("submit", "ann"), ("approve", "bob")):
        meterline(at.settings, "correct", step[0], number, "--actor", step[1], "--note", "seen")
    done = meterline(at.settings, "correct", "apply", number, "--actor", "ann")
    assert done.returncode == 0, done.stderr
    return drafted


def test_a_held_period_is_invoiced_when_it_is_released(deployed: Deployed) -> None:
    held, *others = CUSTOMERS
    about = ("--customer", held, "--period", PERIOD)
    corrected(deployed, "hold", *about)

    closed = deployed.ask("close", *FORCE)
    assert (closed["invoices"], closed["held"]) == (len(others), [held])
    assert set(deployed.billed()) == set(others)
    assert deployed.ask("close", *FORCE)["run"] is None, "there is nobody to begin a run for"

    corrected(deployed, "release", *about)
    assert deployed.ask("close", *FORCE)["held"] == []
    assert deployed.billed() == _expected(FIRST)


def test_a_credit_is_not_taken_back_by_the_next_adjustment(deployed: Deployed) -> None:
    customer = CUSTOMERS[0]
    deployed.ask("close", *FORCE)
    corrected(
        deployed, "credit", "--customer", customer, "--period", PERIOD, "--amount=-12.50",
        "--currency", "USD",
    )  # fmt: skip
    assert deployed.ask("adjust")["adjustments"] == []
    listed = {each["customer_id"]: each for each in answer(deployed.settings, "invoices", "list")}
    assert {_cents(each["adjusted"]) for each in listed.values()} == {0}
    credited = {name: _cents(each["credited"]) for name, each in listed.items()}
    assert credited == dict.fromkeys(CUSTOMERS, 0) | {customer: -1250}
    shown = answer(deployed.settings, "invoices", "show", "--customer", customer)
    (credit,) = shown["credits"]
    assert (_cents(credit["amount"]), credit["currency"]) == (-1250, "USD")
    assert shown["adjustments"] == []
    shown = answer(deployed.settings, "invoices", "show", "--customer", CUSTOMERS[1])
    assert shown["credits"] == []
    assert answer(deployed.settings, "audit", "verify")["holds"] is True


@pytest.mark.parametrize("is_closed", [False, True])
def test_what_a_correction_takes_back_leaves_the_bill(
    deployed: Deployed, *, is_closed: bool
) -> None:
    if is_closed:
        deployed.ask("close", *FORCE)
    corrected(
        deployed, "retract", "--customer", "a", "--meter", FIRST["a", "1"].meter,
        "--id", "1",
    )  # fmt: skip
    if is_closed:
        (posted,) = deployed.ask("adjust")["adjustments"]
        assert posted["customer_id"] == "a"
    else:
        deployed.ask("close", *FORCE)
    assert deployed.billed() == _expected(FIRST, a={"1"})
    assert deployed.ask("adjust")["adjustments"] == []
    assert meterline(deployed.settings, "verify").returncode == 0
    assert meterline(deployed.settings, "charges", "--period", PERIOD).returncode == 0
    assert answer(deployed.settings, "invoices", "verify", "--period", PERIOD)["holds"]

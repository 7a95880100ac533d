"""Distinct values of a closed period: what an invoice counted stays, whatever is taken back."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from counting import rows
from in_process import answer, count_file, meterline
from priced import PERIOD, catalog, moment
from test_corrections import ADA, HOUR, LONG_AGO, apply, draft

from metering.settings import Settings, load_settings

FORCE = ("--force", "--reason", "no live stream here")
IN_PERIOD = ("--period", PERIOD)


@pytest.fixture
def closed(settings: Settings, tmp_path: Path) -> Settings:
    """An invoice over two users: of `a` there are two events, of `b` one."""
    folder = catalog(tmp_path / "catalog", {"org": ("steady", LONG_AGO)})
    found = load_settings(catalog=folder, http_port=0)
    assert found.namespace == settings.namespace
    count_file(found, tmp_path / "usage.ndjson", [
        {"id": name, "customer_id": "org", "meter": "users", "quantity": "1",
         "occurred_at": moment(hour * HOUR), "dimensions": {"user_id": user}}
        for name, hour, user in (("u-1", 7, "a"), ("u-2", 9, "a"), ("u-3", 11, "b"))
    ])  # fmt: skip
    assert answer(found, "close", *IN_PERIOD, *FORCE)["invoices"] == 1
    return found


def billed(settings: Settings) -> tuple[Decimal, Decimal]:
    """Users and amount, of the invoice with its adjustments."""
    ((quantity, amount),) = rows(
        settings,
        "SELECT sum(quantity), sum(amount) FROM (SELECT quantity, amount, meter FROM "
        "invoice_lines_explained UNION ALL SELECT quantity, amount, meter FROM "
        "adjustment_lines_explained) WHERE meter = 'users'",
    )
    return Decimal(quantity), Decimal(amount)


def test_the_event_that_counted_goes_while_another_has_its_value(closed: Settings) -> None:
    assert billed(closed) == (Decimal(2), Decimal("0.67"))
    found = draft(closed, "retract", "--customer", "org", "--meter", "users", "--id", "u-1",
                  "--reason", "trial_traffic", *ADA)  # fmt: skip
    assert Decimal(found["exposure"]) == 0
    apply(closed, found["correction"]["correction_id"])
    counted = "SELECT id FROM billable_events WHERE counted ORDER BY id"
    assert rows(closed, counted) == [("u-2",), ("u-3",)]
    # the invoice counted u-1 for the value, and says so for ever
    verified = answer(closed, "invoices", "verify", *IN_PERIOD)
    assert verified["holds"], verified
    answer(closed, "adjust", *IN_PERIOD)
    assert billed(closed) == (Decimal(2), Decimal("0.67"))
    assert rows(closed, "SELECT id, effect FROM adjustment_events FINAL") == [("u-1", "retracted")]
    # the last event with the value takes it away
    found = draft(closed, "retract", "--customer", "org", "--meter", "users", "--id", "u-2",
                  "--reason", "trial_traffic", *ADA)  # fmt: skip
    apply(closed, found["correction"]["correction_id"])
    answer(closed, "adjust", *IN_PERIOD)
    assert billed(closed) == (Decimal(1), Decimal("0.33"))
    assert answer(closed, "invoices", "verify", *IN_PERIOD)["holds"]
    assert answer(closed, "charges", *IN_PERIOD)["differing"] == 0
    assert meterline(closed, "verify").returncode == 0

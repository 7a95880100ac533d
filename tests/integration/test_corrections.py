"""Corrections from draft to applied, on real servers; expected money is worked out in fractions."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from counting import count, produce, rows, start_worker, stop_worker, wait_until
from in_process import answer, count_file, meterline
from priced import MONTH, PERIOD, catalog, moment

from metering.settings import Settings, load_settings
from sinks.clickhouse import connect_clickhouse

LONG_AGO = datetime.fromisoformat("2025-01-01T00:00:00+00:00")
HOUR = 3_600_000
ADA = ("--actor", "ada")
BOB = ("--actor", "bob")


def call(number: int, quantity: str, **changes: Any) -> dict[str, Any]:
    """A use of the meter whose 100 first units are free, 100 more dear, and the rest cheap."""
    return {
        "id": f"call-{number}", "customer_id": "org", "meter": "calls", "quantity": quantity,
        "occurred_at": moment(number * HOUR), "dimensions": {}, **changes,
    }  # fmt: skip


def oracle(quantities: list[str], first: str = "0.05") -> Decimal:
    """What calls cost: nothing up to 100, then `first` for 100, then 0.02; half to even."""
    used = sum((Fraction(each) for each in quantities), Fraction(0))
    over = max(used - 100, Fraction(0))
    exact = min(over, Fraction(100)) * Fraction(first) + max(over - 100, Fraction(0)) * Fraction(
        "0.02"
    )
    return Decimal(round(exact * 100)) / 100


CALLS = ["90.5", "70.25", "60.125", "1.5", "0.1"]


def _events() -> list[dict[str, Any]]:
    return [
        *(call(at, each) for at, each in enumerate(CALLS)),
        call(7, "5", id="u-1", meter="users", dimensions={"user_id": "a"}),
        call(8, "5", id="u-2", meter="users", dimensions={"user_id": "a"}),
        call(9, "3", id="s-1", meter="storage"), call(10, "12", id="s-2", meter="storage"),
        call(11, "250", customer_id="other"),
    ]  # fmt: skip


@pytest.fixture
def priced(settings: Settings, tmp_path: Path) -> Settings:
    """A deployment with a catalog, and no usage yet."""
    customers = {"org": ("steady", LONG_AGO), "other": ("steady", LONG_AGO)}
    found = load_settings(catalog=catalog(tmp_path / "catalog", customers), http_port=0)
    assert found.namespace == settings.namespace
    return found


@pytest.fixture
def counted(priced: Settings, tmp_path: Path) -> Settings:
    """Calls of one customer over three tiers, two other meters, and one other customer."""
    count_file(priced, tmp_path / "usage.ndjson", _events())
    assert charged(priced) == oracle(CALLS)
    return priced


@pytest.fixture
def streamed(priced: Settings) -> Settings:
    """The same, counted by a worker."""
    produce(priced, _events())
    count(priced)
    assert charged(priced) == oracle(CALLS)
    return priced


def charged(settings: Settings, meter: str = "calls", customer: str = "org") -> Decimal:
    sql = (
        f"SELECT toString(sum(amount)) FROM period_charges WHERE customer_id = '{customer}'"
        f" AND meter = '{meter}'"
    )
    return Decimal(rows(settings, sql)[0][0] or "0")


def draft(settings: Settings, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = answer(settings, "correct", *arguments)
    return found


def apply(settings: Settings, correction_id: str, *who: str) -> None:
    done = meterline(settings, "correct", "apply", correction_id, *(who or ADA))
    assert done.returncode == 0, done.stdout + done.stderr


def all_agree(settings: Settings) -> None:
    agreed = answer(settings, "charges", "--period", PERIOD)
    assert agreed["differing"] == 0, agreed["shown"]
    audited = answer(settings, "audit", "verify")
    assert audited["holds"], audited


def test_a_retraction_takes_usage_back_across_a_tier(streamed: Settings) -> None:
    asked = ("retract", "--customer", "org", "--meter", "calls", "--id", "call-1",
             "--reason", "duplicate_usage", *ADA)  # fmt: skip
    left = [CALLS[0], *CALLS[2:]]
    shown = draft(streamed, *asked, "--dry-run")
    assert (shown["correction"], shown["dry_run"]) == (None, True)
    assert rows(streamed, "SELECT count() FROM corrections") == [(0,)]
    assert Decimal(shown["lines"][0]["new"]) == oracle(left)
    assert Decimal(shown["exposure"]) == oracle(CALLS) - oracle(left)
    found = draft(streamed, *asked)["correction"]
    assert charged(streamed) == oracle(CALLS), "a draft changes nothing"
    apply(streamed, found["correction_id"])
    assert charged(streamed) == oracle(left)
    assert rows(streamed, "SELECT count() FROM usage_events FINAL WHERE id = 'call-1'") == [(1,)]
    all_agree(streamed)
    again = meterline(streamed, "correct", "retract", *asked[1:])
    assert again.returncode == 2
    assert "expected events that count" in again.stderr
    steps = rows(streamed, "SELECT count() FROM audit_log")
    apply(streamed, found["correction_id"])
    assert rows(streamed, "SELECT count() FROM audit_log") == steps, "again is no step"
    # the stream goes on from what was left
    produce(streamed, [call(40, "100"), call(1, CALLS[1])])
    count(streamed)
    assert charged(streamed) == oracle([*left, "100"]), "and the event that was retracted stays so"
    all_agree(streamed)


def test_an_event_is_replaced_by_one_that_the_stream_counts(streamed: Settings) -> None:
    (place,) = rows(
        streamed,
        "SELECT concat(stream, '/', toString(partition), '/', toString(offset), '/', "
        "toString(`index`)) FROM usage_events FINAL WHERE id = 'call-2'",
    )[0]
    found = draft(streamed, "replace", "--event", place, "--quantity", "6.5", "--reason",
                  "wrong_quantity", *ADA)  # fmt: skip
    left = [*CALLS[:2], "6.5", *CALLS[3:]]
    assert Decimal(found["exposure"]) == oracle(CALLS) - oracle(left)
    identity = found["correction"]["correction_id"]
    apply(streamed, identity)
    count(streamed)
    assert charged(streamed) == oracle(left)
    new = rows(streamed, "SELECT id, source, batch_id FROM usage_events FINAL WHERE batch_id != ''")
    assert new == [(f"call-2~{identity}", "correction", identity)]
    all_agree(streamed)


def test_what_would_be_rejected_is_not_drafted(counted: Settings) -> None:
    by_id = ("--customer", "org", "--meter", "calls", "--id", "call-1", "--reason", "other")
    refused = meterline(counted, "correct", "replace", *by_id, "--quantity", "-1", "--note", "x")
    assert refused.returncode == 2
    assert "would be rejected" in refused.stderr
    refused = meterline(counted, "correct", "retract", *by_id)
    assert refused.returncode == 2
    assert "--note: expected a text" in refused.stderr
    refused = meterline(counted, "correct", "retract", *by_id[:5], "none", *by_id[6:])
    assert "got 'none'" in refused.stderr
    assert rows(counted, "SELECT count() FROM audit_log") == [(0,)]


@pytest.mark.parametrize(
    ("meter", "event_id", "left"), [("users", "u-1", "0.33"), ("storage", "s-2", "0.90")]
)
def test_what_does_not_add_up_is_retracted_as_well(
    counted: Settings, meter: str, event_id: str, left: str
) -> None:
    found = draft(counted, "retract", "--customer", "org", "--meter", meter, "--id", event_id,
                  "--reason", "trial_traffic", *ADA)  # fmt: skip
    before = charged(counted, meter)
    assert before - Decimal(found["exposure"]) == Decimal(left)
    apply(counted, found["correction"]["correction_id"])
    assert charged(counted, meter) == Decimal(left)
    all_agree(counted)


def test_more_than_the_threshold_needs_another_person(
    counted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERLINE_APPROVAL_THRESHOLD", "USD=1.00")
    monkeypatch.setenv("METERLINE_ACTOR", "ada")
    found = draft(counted, "retract", "--customer", "org", "--meter", "calls", "--id", "call-1",
                  "--reason", "duplicate_usage")  # fmt: skip
    assert found["needs_approval"]
    name = found["correction"]["correction_id"]

    def refused(told: str, *arguments: str) -> None:
        done = meterline(counted, "correct", *arguments)
        assert done.returncode == 2, done.stdout
        assert told in done.stderr

    refused("needs the approval of another person", "apply", name)
    refused("expected one that was submitted", "approve", name, *BOB)
    assert meterline(counted, "correct", "submit", name).returncode == 0
    refused("expected approval by somebody else than its author, got ada", "approve", name)
    assert charged(counted) == oracle(CALLS)
    assert meterline(counted, "correct", "approve", name, *BOB).returncode == 0
    apply(counted, name)
    assert charged(counted) == oracle([CALLS[0], *CALLS[2:]])
    refused("expected nothing to follow, got rejected", "reject", name)
    steps = [
        (each["actor"], each["action"])
        for each in answer(counted, "audit", "list", "--object", name)
    ]
    assert steps == [
        ("ada", "correction_draft"), ("ada", "correction_pending_approval"),
        ("bob", "correction_approved"), ("ada", "apply_begun"), ("ada", "correction_applied"),
    ]  # fmt: skip
    small = draft(counted, "retract", "--customer", "org", "--meter", "calls", "--id", "call-4",
                  "--reason", "duplicate_usage")  # fmt: skip
    assert not small["needs_approval"]
    refused("expected its author ada", "apply", small["correction"]["correction_id"], *BOB)
    apply(counted, small["correction"]["correction_id"])
    rejected = draft(counted, "credit", "--customer", "org", "--amount=-30", "--currency", "USD",
                     "--reason", "goodwill")["correction"]["correction_id"]  # fmt: skip
    assert meterline(counted, "correct", "reject", rejected, "--note", "no").returncode == 0
    refused("is rejected", "submit", rejected)
    listed = answer(counted, "correct", "list")
    assert sorted(each["state"] for each in listed) == ["applied", "applied", "rejected"]
    all_agree(counted)


def test_a_credit_is_posted_to_the_open_period(counted: Settings) -> None:
    invoice(counted, [("charge", "calls", "{}", CALLS, oracle(CALLS))])
    asked = ("credit", "--customer", "org", "--reason", "service_credit", *ADA, "--period", PERIOD)
    found = draft(counted, *asked, "--amount=-12.5", "--currency", "USD")
    assert found["exposure"] == "12.50"
    apply(counted, found["correction"]["correction_id"])
    month = MONTH.replace(tzinfo=None)
    following = (month + timedelta(days=32)).replace(day=1)
    assert rows(
        counted,
        "SELECT customer_id, kind, toString(total), currency, posted_to, period_start, lines"
        " FROM adjustments FINAL",
    ) == [("org", "credit", "-12.5", "USD", following, month, 1)]
    assert rows(counted, "SELECT toString(sum(amount)) FROM adjustment_lines_explained") == [
        ("-12.5",)
    ]
    for amount, code, told in (
        ("0", "USD", "other than 0"), ("1.234", "USD", "at most 2 digits"),
        ("5", "EUR", "charged in"),
        ("x", "USD", "expected a decimal"), ("5", "US", "ISO 4217"),
    ):  # fmt: skip
        done = meterline(counted, "correct", *asked, f"--amount={amount}", "--currency", code)
        assert done.returncode == 2
        assert told in done.stderr


def test_a_hold_is_active_until_it_is_released(counted: Settings) -> None:
    about = ("--customer", "org", "--period", PERIOD, "--reason", "dispute", *ADA)
    early = meterline(counted, "correct", "release", *about)
    assert "expected one that is held" in early.stderr
    month = MONTH.replace(tzinfo=None)
    for kind, left in (("hold", [("org", month, "dispute", "ada")]), ("release", [])) * 2:
        found = draft(counted, kind, *about)["correction"]["correction_id"]
        holds = "SELECT customer_id, period_start, reason_code, actor FROM invoice_holds"
        assert rows(counted, holds) != left, "a draft holds nothing"
        apply(counted, found)
        assert rows(counted, holds) == left
    all_agree(counted)


def invoice(settings: Settings, lines: list[tuple[str, str, str, list[str], Decimal]]) -> None:
    """An issued invoice of the month, as a close writes it."""
    start = f"toDateTime('{MONTH:%Y-%m-%d %H:%M:%S}', 'UTC')"
    client = connect_clickhouse(settings)
    for at, (kind, meter, group, used, amount) in enumerate(lines, 1):
        quantity = sum((Decimal(each) for each in used), Decimal(0))
        client.command(
            "INSERT INTO invoice_lines (customer_id, period_start, run_id, line, kind, meter,"
            " `group`, part_start, part_end, quantity, amount, exact, currency) SELECT 'org', "
            f"{start}, 'run', {at}, '{kind}', '{meter}', '{group}', {start}, addMonths({start}, 1),"
            f" '{quantity}',"
            f" '{amount}', '{amount}', 'USD'"
        )
    client.command(
        "INSERT INTO invoices (customer_id, period_start, invoice_id, run_id, currency,"
        f" minor_digits, calculation_version, issued_at) SELECT 'org', {start}, 'inv-1', 'run',"
        " 'USD', 2, 1, now64(6)"
    )
    client.close()


def test_rating_again_posts_the_difference_of_an_invoice_and_makes_all_agree(
    counted: Settings, tmp_path: Path
) -> None:
    used = ["15", "2"]  # storage and users, and what is due for documents that were not used
    others = {"storage": "8.20", "users": "0.33", "documents": "7.00"}
    lines = [
        ("charge", "calls", "{}", CALLS, oracle(CALLS)),
        ("base_fee", "", "", [], Decimal("20.00")),
    ]
    lines += [
        ("charge", meter, "{}", used[:1], Decimal(amount)) for meter, amount in others.items()
    ]
    invoice(counted, lines)
    folder = catalog(
        tmp_path / "new", {"org": ("steady", LONG_AGO), "other": ("steady", LONG_AGO)}, first="0.07"
    )
    new = counted.model_copy(update={"catalog": folder})
    asked = ("rerate", "--period", PERIOD, "--reason", "price_change", *ADA)
    found = draft(new, *asked)
    moved = oracle(CALLS, "0.07") - oracle(CALLS)
    other = oracle(["250"], "0.07") - oracle(["250"])
    assert Decimal(found["exposure"]) == moved + other
    assert [each["customer_id"] for each in found["issued"]] == ["org"]
    name = found["correction"]["correction_id"]
    early = meterline(new, "correct", "apply", name, *ADA)
    assert early.returncode == 2
    assert "meterline catalog load" in early.stderr
    loaded = meterline(
        new, "catalog", "load", "--allow-edit", "--reason", "the price was wrong", *ADA
    )
    assert loaded.returncode == 0, loaded.stderr
    apply(new, name)
    assert charged(new) == oracle(CALLS, "0.07")
    assert charged(new, customer="other") == oracle(["250"], "0.07")
    all_agree(new)
    assert rows(
        new,
        "SELECT customer_id, kind, toString(total), calculation_version, invoice_id"
        " FROM adjustments FINAL",
    ) == [("org", "rerating", str(moved.normalize()), 2, "inv-1")]
    (line,) = [
        each for each in rows(new, "SELECT meter, toString(amount) FROM adjustment_lines_explained")
        if each[1] != "0"
    ]  # fmt: skip
    assert line == ("calls", str(moved.normalize()))
    again = draft(new, *asked, "--dry-run")
    assert again["lines"] == []
    assert Decimal(again["exposure"]) == 0


def test_a_correction_beside_a_running_worker_ends_with_right_charges(priced: Settings) -> None:
    def quantity(number: int) -> str:
        return f"{number % 13}.{number % 7}5"

    worker = start_worker(priced)
    try:
        produce(priced, [call(at, quantity(at)) for at in range(200)])
        wait_until(lambda: rows(priced, "SELECT count() FROM usage_events")[0][0] == 200)
        wait_until(lambda: charged(priced) == oracle([quantity(at) for at in range(200)]))
        asked = [name for at in range(5, 200, 40) for name in ("--id", f"call-{at}")]
        found = draft(priced, "retract", "--customer", "org", "--meter", "calls", *asked,
                      "--reason", "trial_traffic", *ADA)  # fmt: skip
        produce(priced, [call(at, quantity(at)) for at in range(200, 400)])
        apply(priced, found["correction"]["correction_id"])
        produce(priced, [call(at, quantity(at)) for at in range(400, 600)])
        wait_until(lambda: rows(priced, "SELECT count() FROM usage_events FINAL")[0][0] == 600)
    finally:
        stop_worker(worker)
    left = [quantity(at) for at in range(600) if not (at < 200 and at % 40 == 5)]
    assert charged(priced) == oracle(left)
    all_agree(priced)
    stored = (
        "SELECT toString(sum(charge)) FROM usage_events FINAL WHERE (customer_id, meter, identity)"
        " NOT IN (SELECT customer_id, meter, identity FROM retracted_events FINAL)"
    )
    total = rows(priced, "SELECT toString(sum(charge)) FROM usage_totals FINAL")
    assert rows(priced, stored) == total
    assert Decimal(total[0][0]).quantize(Decimal("0.01")) == oracle(left)

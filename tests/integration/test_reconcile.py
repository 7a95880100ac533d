"""`meterline reconcile` over real tables: what is right is passed, what was changed is found."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from billed_world import JULY, STREAM, Price, World
from counting import answer, meterline, plant, rows

from metering.settings import Settings

PRICES = {1: Price(Decimal("0.0123"), Decimal(100)), 2: Price(Decimal("0.02"), Decimal(100))}


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


def reconcile(
    settings: Settings, *arguments: str, period: str = "2026-06", exit_code: int = 1
) -> Any:
    done = meterline(settings, "reconcile", "--period", period, "--json", *arguments)
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


def test_what_was_changed_in_the_tables_is_found(settings: Settings) -> None:
    """One raw row and one invoice line tampered with, and everything else that may differ."""
    world = clean_world()
    price = PRICES[1]
    for name in ("unbilled", "ghost", "late", "edited", "cent", "version", "twice", "wrong"):
        if name not in ("unbilled", "ghost"):
            world.billed(name, "api_requests", "5000")
    world.event("unbilled", "api_requests", "700")
    world.line("ghost", "api_requests", "900")
    world.event("late", "api_requests", "300", late=True)
    by_customer = {line["customer_id"]: line for line in world.lines}
    by_customer["edited"]["amount"] += Decimal("7.77")
    by_customer["cent"]["amount"] -= Decimal("0.01")
    version = by_customer["version"]
    version.update(price_version=2, card=world.card(2, "api_requests"),
                   amount=PRICES[2].amount(Decimal(5000)))  # fmt: skip
    world.card(1, "api_requests")
    world.event("twice", "api_requests", "250", id_="job-7")
    world.event("twice", "api_requests", "250", id_="job-7", who="s:ws_1")
    for row in world.events[-1:]:
        row["occurred_at"] = world.events[-2]["occurred_at"]
    by_customer["twice"].update(quantity=Decimal(5500), amount=price.amount(Decimal(5500)))
    world.insert(settings)
    plant(
        settings,
        "ALTER TABLE usage_events UPDATE quantity = 4000 WHERE customer_id = 'wrong' "
        "SETTINGS mutations_sync = 2",
    )
    off = price.amount(Decimal(5000)) - price.amount(Decimal(4000))
    document = reconcile(settings)
    found = {(check, name, who): amount for check, name, who, _, amount in told(document)}
    assert found == {
        ("lines", "missing_in_invoice", "unbilled"): f"-{plain(price.amount(Decimal(700)))}",
        ("lines", "missing_in_usage", "ghost"): plain(price.amount(Decimal(900))),
        ("lines", "late", "late"): plain(price.amount(Decimal(5000)) - price.amount(Decimal(5300))),
        ("lines", "manual_edit", "edited"): "7.77",
        ("lines", "rounding", "cent"): "-0.01",
        ("lines", "wrong_price_version", "version"): plain(
            PRICES[2].amount(Decimal(5000)) - price.amount(Decimal(5000))
        ),
        ("lines", "duplicate", "twice"): plain(
            price.amount(Decimal(5500)) - price.amount(Decimal(5250))
        ),
        ("lines", "wrong_quantity", "wrong"): plain(off),
        ("totals", "wrong_quantity", "wrong"): plain(off),
    }
    stored = rows(settings, "SELECT class, customer_id, toString(amount) "
                  "FROM reconciliation_variances WHERE check_name = 'lines'")  # fmt: skip
    assert len(stored) == 8
    sums = rows(settings, "SELECT arraySum(sum_amounts) FROM reconciliation_runs")
    assert sums == [(sum(Decimal(each) for each in found.values()),)]


def plain(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def test_copies_at_other_coordinates_and_unbound_subjects_are_found(settings: Settings) -> None:
    world = clean_world()
    for number in range(3):
        row = world.event(f"copied-{number}", "api_requests", "400")
        world.line(f"copied-{number}", "api_requests", "400")
        july = {"occurred_at": JULY, "period_start": JULY, "part_start": JULY, "record_time": JULY}
        world.events.append({**row, **july, "stream": "backfill:x", "offset": number})
        world.totals[f"copied-{number}", "api_requests", JULY] = Decimal(400)  # counted there too
        who = f"s:ws_{number}"
        shared = world.event(f"first-{number}", "api_requests", "600", who=who, id_="j")
        world.line(f"first-{number}", "api_requests", "600")
        again = world.event(f"second-{number}", "api_requests", "600", who=who, id_="j")
        assert shared["identity"] == again["identity"]
        world.line(f"second-{number}", "api_requests", "600")
    world.insert(settings)
    for number in range(3):
        event = {"id": f"u{number}", "subject": f"lost_{number}", "meter": "api_requests",
                 "quantity": "1.50", "occurred_at": "2026-06-11T00:00:00Z"}  # fmt: skip
        plant(settings, "INSERT INTO rejected_events (stream, partition, offset, `index`, code, "
              f"sentence, event, meter, record_time) VALUES ('{STREAM}', 0, {500 + number}, 0, "
              f"'subject_must_be_bound', '', '{json.dumps(event)}', 'api_requests', "
              "'2026-06-11 00:00:01')")  # fmt: skip
    document = reconcile(settings)
    price = PRICES[1]
    expected = {
        ("lines", "duplicate", f"second-{n}", "api_requests", plain(price.amount(Decimal(600))))
        for n in range(3)
    }
    unbound = [each for each in document["findings"] if each["class"] == "unbound_subject"]
    assert {each["expected_quantity"] for each in unbound} == {"1.5"}
    assert len(unbound) == 3
    assert {each for each in told(document) if each[1] != "unbound_subject"} == expected
    twice = plain(price.amount(Decimal(400)))  # one id in two months: counted in both
    july = reconcile(settings, period="2026-07")
    assert set(told(july)) == {
        ("totals", "duplicate", f"copied-{n}", "api_requests", twice) for n in range(3)
    }
    (lost,) = answer(settings, "review", "list", "--status", "schema-error")
    assert (lost["customer_id"], lost["severity"], lost["invoice_hold"]) == ("", "danger", True)


def test_an_export_and_postings_that_differ(settings: Settings, tmp_path: Path) -> None:
    world = clean_world()
    world.insert(settings)
    export, postings = tmp_path / "june.csv", tmp_path / "gl.csv"
    found = export_of(world, export)
    by_account = {"api_requests": "4000", "storage_gb": "4001", "base_fee": "4010",
                  "true_up": "4010"}  # fmt: skip
    sums: dict[tuple[str, str], Decimal] = {}
    for row in found:
        key = (row["customer_id"], by_account[row["meter"]])
        sums[key] = sums.get(key, Decimal(0)) + Decimal(row["amount"])
    posted = [
        {"posting_id": f"p{at}", "account": account, "customer_id": customer, "period": "2026-06",
         "amount": str(-amount), "currency": "USD"}
        for at, ((customer, account), amount) in enumerate(sums.items())
    ]  # fmt: skip
    mapping = tmp_path / "gl.yaml"
    mapping.write_text(
        'accounts: {api_requests: "4000", storage_gb: "4001", base_fee: "4010", true_up: "4010"}\n'
        "credits: negative\n"
    )
    write_csv(postings, posted)
    arguments = ("--export", str(export), "--gl", str(postings), "--gl-mapping", str(mapping))
    reconcile(settings, *arguments, exit_code=0)
    found[2]["amount"] = str(Decimal(found[2]["amount"]) + 5)
    found.pop(5)
    write_csv(export, found)
    posted[1]["amount"] = str(Decimal(posted[1]["amount"]) - 3)
    posted.append(posted[4])
    lost = posted.pop(7)
    write_csv(postings, posted)
    report, exceptions, gauges = (tmp_path / name for name in ("r.html", "e.csv", "m.prom"))
    document = reconcile(
        settings, *arguments, "--html", str(report), "--exceptions", str(exceptions),
        "--textfile", str(gauges),
    )  # fmt: skip
    assert sorted(each[:3] for each in told(document)) == [
        ("export", "manual_edit", world.lines[2]["customer_id"]),
        ("export", "missing_in_invoice", world.lines[5]["customer_id"]),
        ("ledger", "duplicate", posted[4]["customer_id"]),
        ("ledger", "manual_edit", posted[1]["customer_id"]),
        ("ledger", "missing_in_invoice", lost["customer_id"]),
    ]
    amounts = {each[:2]: each[4] for each in told(document)}
    assert amounts["export", "manual_edit"] == "5"
    assert amounts["ledger", "manual_edit"] == "3"
    assert Decimal(amounts["ledger", "missing_in_invoice"]) == Decimal(lost["amount"])
    with exceptions.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 5
    page = report.read_text(encoding="utf-8")
    assert "<svg" in page
    assert "http" not in page
    assert 'meterline_reconciliation_variance{class="manual_edit",currency="USD"} 8.0' in (
        gauges.read_text()
    )


def test_within_tolerance_is_listed_and_no_failure(settings: Settings, tmp_path: Path) -> None:
    world = clean_world()
    world.lines[0]["amount"] += Decimal("0.40")
    world.insert(settings)
    tolerances = tmp_path / "tolerances.yaml"
    tolerances.write_text('meters: {api_requests: {absolute: "0.4", product: API calls}}\n')
    document = reconcile(settings, "--tolerances", str(tolerances), exit_code=0)
    assert [each["tolerated"] for each in document["findings"]] == [True]
    tolerances.write_text('meters: {api_requests: {absolute: "0.39"}}\n')
    document = reconcile(settings, "--tolerances", str(tolerances))
    assert [each["tolerated"] for each in document["findings"]] == [False]


def test_a_run_that_was_cut_off_shows_nothing(settings: Settings) -> None:
    clean_world().insert(settings)
    reconcile(settings, exit_code=0)
    before = rows(settings, "SELECT * FROM review_worklist ORDER BY id")
    plant(settings, "INSERT INTO reconciliation_findings (run_id, number) VALUES ('cut-off', 1)")
    plant(settings, "INSERT INTO review_records_log (period, customer_id, meter, status, run_id, "
          "recorded_at) VALUES ('2026-06', 'org_1', 'api_requests', 'needs-review', 'cut-off', "
          "'2100-01-01 00:00:00')")  # fmt: skip
    assert rows(settings, "SELECT count() FROM reconciliation_variances") == [(0,)]
    assert rows(settings, "SELECT * FROM review_worklist ORDER BY id") == before


def test_files_that_cannot_be_read_are_told_all_at_once(settings: Settings, tmp_path: Path) -> None:
    clean_world().insert(settings)
    export = tmp_path / "bad.csv"
    export.write_text(
        "customer_id,meter,period_start,quantity,amount,currency\n"
        "org_1,api_requests,2026-06-01,1e3,12.50,USD\n"
        "org_1,,2026-06-01,5,12.50,USD\n"
        'org_1,api_requests,June,5,"12,50",USD\n'
        ",api_requests,2026-06-01,5,12.50,QQQ\n"
    )  # fmt: skip
    postings = tmp_path / "gl.csv"
    postings.write_text("posting_id,customer_id,period,amount\np1,org_1,2026-06,12.50\n")
    done = meterline(settings, "reconcile", "--period", "2026-06", "--export", str(export),
                     "--gl", str(postings))  # fmt: skip
    assert done.returncode == 2
    for place, got in (
        ("bad.csv:2: quantity", "'1e3'"), ("bad.csv:3: meter", "nothing"),
        ("bad.csv:4: amount", "'12,50'"), ("bad.csv:4: period_start", "'June'"),
        ("bad.csv:5: customer_id", "nothing"), ("bad.csv:5: currency", "'QQQ'"),
        ("gl.csv:2: currency", "nothing"),
    ):  # fmt: skip
        (line,) = [each for each in done.stderr.splitlines() if place in each]
        assert "expected" in line
        assert got in line
    assert rows(settings, "SELECT count() FROM reconciliation_runs") == [(0,)]
    for arguments in (
        ("--period", "June"), ("--period", "2026-06", "--mapping", "none.yaml"),
        ("--period", "2026-06", "--export", str(tmp_path / "none.csv")),
    ):  # fmt: skip
        assert meterline(settings, "reconcile", *arguments).returncode == 2


def test_review_records_keep_what_people_decide(settings: Settings) -> None:
    world = clean_world()
    world.lines[0]["amount"] += Decimal(500)
    world.insert(settings)
    reconcile(settings)
    (record,) = answer(settings, "review", "list", "--period", "2026-06")
    assert (record["status"], record["severity"], record["invoice_hold"]) == (
        "needs-review", "danger", True,
    )  # fmt: skip
    assert record["invoice_impact"] == "500"
    steps = (
        ("assign", "--reviewer", "maya", "--note", "knows the cap"),
        ("release", "--note", "the customer agreed"), ("resolve", "--note", "credit note 1042"),
    )  # fmt: skip
    for step, *arguments in steps:
        done = meterline(settings, "review", step, record["id"], "--actor", "jon", *arguments)
        assert done.returncode == 0, done.stderr
    reconcile(settings)  # the same figures: the decision stays
    shown = answer(settings, "review", "show", record["id"])
    assert (shown["record"]["status"], shown["record"]["reviewer"]) == ("rated", "maya")
    assert [each["action"] for each in shown["history"]] == [
        "reconciled", "assigned", "released", "resolved", "resolved",
    ]  # fmt: skip
    assert {each["note"] for each in shown["history"]} >= {"knows the cap", "credit note 1042"}
    columns = rows(settings, "SELECT name, type FROM system.columns "
                   "WHERE table = 'review_records' AND database = currentDatabase()")  # fmt: skip
    assert [name for name, _ in columns] == [
        "id", "workspaceId", "customer", "product", "meter", "period", "quantity", "unitPrice",
        "invoiceImpact", "status", "reconciliation", "ingestion",
    ]  # fmt: skip
    types = dict(columns)
    assert types["customer"].startswith("Tuple(id String, name String, plan String")
    assert types["reconciliation"].startswith("Tuple(delta ")
    world.event("org_0", "api_requests", "100", late=True)
    world.insert(settings)  # other figures: it is open again, and maya's still
    reconcile(settings)
    (record,) = answer(settings, "review", "list", "--period", "2026-06")
    assert (record["status"], record["reviewer"]) == ("needs-review", "maya")


@pytest.mark.parametrize("exponent", [0, 12])
def test_a_late_event_that_was_adjusted_is_no_finding(settings: Settings, exponent: int) -> None:
    """Sizes near 10^18 units stay exact."""
    world = World(PRICES)
    quantity = Decimal(5 * 10**exponent) * 1000 + Decimal("0.1")
    world.billed("org_1", "api_requests", str(quantity))
    world.event("org_1", "api_requests", "300.2", late=True)
    world.insert(settings)
    price = PRICES[1]
    late = price.amount(quantity + Decimal("300.2")) - price.amount(quantity)
    assert told(reconcile(settings)) == [
        ("lines", "late", "org_1", "api_requests", plain(-late)),
    ]  # fmt: skip
    plant(settings, "INSERT INTO adjustment_lines (customer_id, period_start, run_id, line, "
          "line_id, adjustment_id, kind, meter, `group`, part_start, quantity_after, amount, "
          "currency) VALUES ('org_1', '2026-06-01 00:00:00', 'adjust-1', 1, 'al-1', 'adj-1', "
          f"'charge', 'api_requests', '{{}}', '2026-06-01 00:00:00', 300.2, {late}, "
          "'USD')")  # fmt: skip
    assert len(reconcile(settings)["findings"]) == 1, "its row makes an adjustment visible"
    plant(settings, "INSERT INTO adjustments (customer_id, period_start, run_id, adjustment_id, "
          "kind, posted_to, currency, minor_digits, total, lines) VALUES ('org_1', "
          "'2026-06-01 00:00:00', 'adjust-1', 'adj-1', 'late_usage', '2026-07-01 00:00:00', "
          f"'USD', 2, {late}, 1)")  # fmt: skip
    reconcile(settings, exit_code=0)

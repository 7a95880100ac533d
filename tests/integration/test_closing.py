"""Close, late usage, adjustments, the check of invoices: real servers, judged in fractions."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from counting import count, environment, plant, produce, rows, wait_until
from fraction_oracle import Key
from late_period import (
    CUSTOMERS,
    FIRST,
    LATE,
    PERIOD,
    PLANS,
    Usage,
    expected,
    of_customer,
    write_catalog,
    write_events,
)
from typer.testing import CliRunner

from cli.main import app
from metering.errors import MeterlineError
from metering.settings import Settings, load_settings


class Done(NamedTuple):
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def meterline(settings: Settings, *arguments: str) -> Done:
    """Run a command in this process, which spares starting one."""
    told: dict[str, str | None] = {**environment(settings)}
    found = CliRunner().invoke(app, list(arguments), env=told)
    if isinstance(found.exception, MeterlineError):
        return Done(found.exception.exit_code, found.stdout, str(found.exception))
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return Done(found.exit_code, found.stdout, found.stderr)


def answer(settings: Settings, *arguments: str) -> Any:
    """What the command says with `--json`."""
    done = meterline(settings, *arguments, "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


FORCE = ("--force", "--reason", "no live stream here", "--actor", "ann")


class Deployed(NamedTuple):
    """A deployment with the first events counted, and its folder."""

    settings: Settings
    folder: Path

    def backfill(self, usage: Usage, name: str) -> None:
        path = write_events(self.folder / f"{name}.ndjson", usage)
        found = answer(self.settings, "backfill", str(path))
        assert found[0]["accepted"] == len(usage)

    def retract(self, customer: str, event_id: str) -> None:
        plant(
            self.settings,
            "INSERT INTO retracted_events SELECT customer_id, meter, identity, 'c1', true, "
            f"now64(6) FROM usage_events FINAL WHERE customer_id = '{customer}' "
            f"AND id = '{event_id}'",
        )

    def ask(self, *arguments: str) -> Any:
        return answer(self.settings, *arguments, "--period", PERIOD)

    def billed(self) -> dict[str, dict[Key, int]]:
        """Cents by customer and line: invoices and all adjustments, as finance reads them."""
        found: dict[str, dict[Key, int]] = {}
        for customer, kind, meter, group, part, amount in rows(
            self.settings,
            "SELECT customer_id, kind, meter, `group`, toUnixTimestamp(part_start), amount "
            "FROM invoice_lines_explained UNION ALL "
            "SELECT customer_id, kind, meter, `group`, toUnixTimestamp(part_start), amount "
            "FROM adjustment_lines_explained",
        ):
            assert amount * 100 % 1 == 0
            key = (kind, meter, "{}" if group == '{"region":""}' else group, part)
            of = found.setdefault(customer, {})
            of[key] = of.get(key, 0) + int(amount * 100)
        return {
            customer: {key: cents for key, cents in of.items() if cents}
            for customer, of in found.items()
        }


@pytest.fixture
def deployed(settings: Settings, tmp_path: Path) -> Deployed:
    found = load_settings(catalog=write_catalog(tmp_path / "catalog"), http_port=0)
    assert found.namespace == settings.namespace
    deployed = Deployed(found, tmp_path)
    deployed.backfill(FIRST, "first")
    return deployed


def _expected(usage: Usage, **without: set[str]) -> dict[str, dict[Key, int]]:
    return {
        customer: {
            key: cents
            for key, cents in expected(
                of_customer(usage, customer, without=without.get(customer, ()))
            ).items()
            if cents
        }
        for customer in CUSTOMERS
    }


def test_case_13_late_usage_retractions_and_a_new_price_inside_a_berlin_march(
    deployed: Deployed,
) -> None:
    closed = deployed.ask("close", *FORCE)
    assert (closed["invoices"], closed["differing"]) == (len(CUSTOMERS), 0)
    assert deployed.billed() == _expected(FIRST)
    # what the stream rated by is what invoices name: one card, one number
    assert rows(
        deployed.settings,
        "SELECT count() FROM invoice_lines_explained WHERE kind = 'charge' AND events > 0 "
        "AND (card NOT IN (SELECT card FROM usage_events) "
        "OR card NOT IN (SELECT card FROM rate_cards))",
    ) == [(0,)]
    # events of the same period, some of them into a higher tier, and one that was taken back
    deployed.backfill(LATE, "late")
    deployed.retract("a", "1")
    adjusted = deployed.ask("adjust", "--actor", "bob")
    everything = {**FIRST, **LATE}
    assert deployed.billed() == _expected(everything, a={"1"})
    assert {each["customer_id"] for each in adjusted["adjustments"]} == set(CUSTOMERS)
    assert {each["posted_to"] for each in adjusted["adjustments"]} == {"2025-03-31T22:00:00Z"}
    behind = rows(
        deployed.settings,
        "SELECT customer_id, id, effect FROM adjustment_events FINAL ORDER BY ALL",
    )
    late = {key for key in LATE if key != ("idle", "21")}
    assert behind == sorted([("a", "1", "retracted"), *((*key, "added") for key in late)])
    # what was late and is retracted, and what brings a customer below the commit again
    deployed.retract("c", "20")
    deployed.retract("idle", "20")
    deployed.ask("adjust")
    taken = {"a": {"1"}, "c": {"20"}, "idle": {"20"}}
    assert deployed.billed() == _expected(everything, **taken)
    totals = answer(deployed.settings, "invoices", "list")
    assert {each["customer_id"]: _cents(each["total"]) + _cents(each["adjusted"])
            for each in totals} == {
        customer: sum(lines.values()) for customer, lines in _expected(everything, **taken).items()
    }  # fmt: skip
    verified = answer(deployed.settings, "invoices", "verify", "--period", PERIOD)
    assert (verified["holds"], verified["invoices"]) == (True, len(CUSTOMERS))


def _cents(text: str) -> int:
    return int(Decimal(text) * 100)


def test_case_14_what_is_closed_and_adjusted_is_not_again(deployed: Deployed) -> None:
    deployed.ask("close", *FORCE)
    before = rows(deployed.settings, "SELECT * FROM invoices FINAL ORDER BY ALL")
    again = deployed.ask("close", *FORCE)
    assert (again["invoices"], again["issued_before"], again["run"]) == (0, len(CUSTOMERS), None)
    told = meterline(deployed.settings, "close", "--period", PERIOD).stdout
    assert "nothing to close" in told
    deployed.backfill(LATE, "late")
    assert len(deployed.ask("adjust", "--dry-run")["would_adjust"]) == len(CUSTOMERS)
    assert rows(deployed.settings, "SELECT count() FROM adjustments") == [(0,)]
    assert len(deployed.ask("adjust")["adjustments"]) == len(CUSTOMERS)
    again = deployed.ask("adjust")
    assert (again["adjustments"], again["run"], again["looked_at"]) == ([], None, len(CUSTOMERS))
    # an invoice is issued once, whatever comes afterwards
    assert rows(deployed.settings, "SELECT * FROM invoices FINAL ORDER BY ALL") == before
    assert rows(
        deployed.settings, "SELECT action, actor, note FROM audit_log ORDER BY recorded_at"
    )[0] == ("period_closed_by_force", "ann", "no live stream here")


def test_case_15_closing_waits_for_the_watermark(deployed: Deployed) -> None:
    refused = meterline(deployed.settings, "close", "--period", PERIOD)
    assert (refused.returncode, refused.stdout) == (75, "")
    assert "usage is complete to never" in refused.stderr
    refused = meterline(deployed.settings, "close", "--period", PERIOD, "--force")
    assert refused.returncode == 2
    assert "expected --reason" in refused.stderr
    assert rows(deployed.settings, "SELECT count() FROM billing_runs") == [(0,)]
    recent = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    produce(deployed.settings, [
        {"id": "live", "customer_id": "a", "meter": "requests", "quantity": "1",
         "occurred_at": recent}
    ])  # fmt: skip
    count(deployed.settings)
    closed = deployed.ask("close", "--wait")
    assert (closed["invoices"], closed["differing"]) == (len(CUSTOMERS), 0)
    assert deployed.billed() == _expected(FIRST)
    running = answer(deployed.settings, "close", "--period", f"{datetime.now(UTC):%Y-%m}")
    assert (running["invoices"], running["still_running"]) == (0, len(CUSTOMERS))
    # preview, view and bill of the open period agree, as before
    assert answer(deployed.settings, "charges", "--period", PERIOD)["differing"] == 0


def test_who_has_wrong_totals_gets_no_invoice(deployed: Deployed) -> None:
    plant(
        deployed.settings,
        "INSERT INTO usage_totals SELECT * REPLACE (quantity + 3 AS quantity, events + 1 AS events)"
        " FROM usage_totals FINAL WHERE customer_id = 'b' AND meter = 'requests' LIMIT 1",
    )
    done = meterline(deployed.settings, "close", "--period", PERIOD, *FORCE, "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert (found["invoices"], found["differing_customers"]) == (len(CUSTOMERS) - 1, ["b"])
    (shown,) = found["shown"]
    raw, total = (Decimal(shown[side].split()[0]) for side in ("raw", "total"))
    assert total - raw == 3
    assert "meterline verify" in meterline(
        deployed.settings, "close", "--period", PERIOD, *FORCE
    ).stdout  # fmt: skip
    assert meterline(deployed.settings, "verify", "--repair").returncode == 0
    assert deployed.ask("close", *FORCE)["invoices"] == 1
    assert deployed.billed() == _expected(FIRST)


def test_whom_other_prices_charge_now_is_not_adjusted(deployed: Deployed) -> None:
    deployed.ask("close", *FORCE)
    billed = deployed.billed()
    deployed.backfill(LATE, "late")
    write_catalog(deployed.folder / "catalog", plans=PLANS.replace('"0.05"', '"0.06"'))
    done = meterline(deployed.settings, "adjust", "--period", PERIOD, "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    # only b's invoice reaches the tier whose price was changed
    assert found["refused"] == ["b"]
    now = deployed.billed()
    assert now["b"] == billed["b"]
    assert now["idle"] != billed["idle"]


def test_tampering_is_found(deployed: Deployed) -> None:
    deployed.ask("close", *FORCE)
    asked = ("invoices", "verify", "--period", PERIOD)
    assert answer(deployed.settings, *asked)["holds"]
    plants = {
        "b": "INSERT INTO usage_events SELECT * REPLACE (quantity + 1 AS quantity, record_time - "
        "INTERVAL 1 SECOND AS record_time) FROM usage_events FINAL WHERE customer_id = 'b' LIMIT 1",
        "c": "INSERT INTO invoice_lines SELECT * REPLACE (amount + 1 AS amount) FROM invoice_lines "
        "FINAL WHERE customer_id = 'c' AND kind = 'base_fee' AND line = 2",
    }
    plants["c"] = plants["c"].replace(" AND line = 2", " LIMIT 1")
    for customer, sql in plants.items():
        plant(deployed.settings, sql)
        done = meterline(deployed.settings, *asked, "--customer", customer, "--json")
        assert done.returncode == 1, (customer, done.stderr)
        found = json.loads(done.stdout)
        assert {each["customer_id"] for each in found["shown"]} == {customer}
    assert answer(deployed.settings, *asked, "--customer", "a")["holds"]
    deployed.backfill({("a", "20"): LATE["a", "20"]}, "late")
    deployed.ask("adjust", "--customer", "a")
    assert answer(deployed.settings, *asked, "--customer", "a")["holds"]
    plant(
        deployed.settings,
        "INSERT INTO adjustment_lines SELECT * REPLACE (quantity_after + 1 AS quantity_after) "
        "FROM adjustment_lines FINAL LIMIT 1",
    )
    found = answer(deployed.settings, *asked, "--customer", "a")
    assert [each["what"].partition(" adj_")[0] for each in found["shown"]] == [
        "hash of the adjustment's lines"
    ]
    # usage that is added to where there was none, with its price
    plant(
        deployed.settings,
        "INSERT INTO usage_events SELECT * REPLACE ('idle' AS customer_id) "
        "FROM usage_events AS e FINAL WHERE e.customer_id = 'b' AND e.id = '1'",
    )
    found = answer(deployed.settings, *asked, "--customer", "idle")
    assert [each["what"] for each in found["shown"]] == ["usage of requests without a line"]


def test_exports_say_the_same_in_every_format(deployed: Deployed) -> None:
    deployed.ask("close", *FORCE)
    asked = ("invoices", "export", "--period", PERIOD)
    lines = [
        json.loads(line)
        for line in meterline(deployed.settings, *asked, "--format", "jsonl").stdout.splitlines()
    ]
    total = sum(sum(each.values()) for each in _expected(FIRST).values())
    assert sum(_cents(each["amount"]) for each in lines) == total
    assert len({each["line_id"] for each in lines}) == len(lines)
    text = meterline(deployed.settings, *asked, "--format", "csv").stdout
    parsed = list(csv.DictReader(io.StringIO(text)))
    assert [each["amount"] for each in parsed] == [each["amount"] for each in lines]
    stripe = [
        json.loads(line)
        for line in meterline(deployed.settings, *asked, "--format", "stripe").stdout.splitlines()
    ]
    assert sum(each["amount"] for each in stripe) == total
    assert {each["currency"] for each in stripe} == {"usd"}
    path = deployed.folder / "lines.parquet"
    done = meterline(
        deployed.settings, *asked, "--format", "parquet", "--output", str(path)
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pq.read_table(path).to_pylist()
    assert [f"{each['amount']:.2f}" for each in table] == [each["amount"] for each in lines]
    assert meterline(deployed.settings, *asked, "--format", "parquet").returncode == 2


def test_the_steward_adjusts_by_itself_and_ends_when_told(deployed: Deployed) -> None:
    deployed.ask("close", *FORCE)
    deployed.backfill(LATE, "late")
    own = {"METERLINE_STEWARD_MONTHS": "60", "METERLINE_STEWARD_EVERY": "PT1S"}
    steward = subprocess.Popen(
        [str(Path(sys.executable).parent / "meterline"), "steward"],
        env={**environment(deployed.settings), **own}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert steward.stdout is not None
    try:
        page = steward.stdout.readline().split("; ")[1].strip()
        wait_until(
            lambda: (
                rows(deployed.settings, "SELECT count() FROM adjustments") == [(len(CUSTOMERS),)]
            )
        )
        wait_until(lambda: _status(page) == 200)
        metrics = _text(page.replace("/readyz", "/metrics"))
        assert f"meterline_adjustments_total {len(CUSTOMERS)}.0" in metrics
    finally:
        steward.terminate()
        told, _ = steward.communicate(timeout=60)
    assert (steward.returncode, "stopped" in told) == (0, True)
    assert deployed.billed() == _expected({**FIRST, **LATE})
    assert rows(deployed.settings, "SELECT DISTINCT actor FROM adjustments") == [("steward",)]


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _status(page: str) -> int:
    try:
        with _DIRECT.open(page, timeout=5) as answered:
            return int(answered.status)
    except urllib.error.HTTPError as error:
        return error.code


def _text(page: str) -> str:
    with _DIRECT.open(page, timeout=5) as answered:
        found: bytes = answered.read()
    return found.decode()

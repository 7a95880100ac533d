"""`explain`, `preview` and `rerate` over real raw history and totals: one number everywhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from counting import answer, count, meterline, plant, produce, rows

from billing.bills import Biller, customers_of
from billing.explanation import Explainer
from billing.period_name import PeriodName
from metering.settings import Settings, load_settings
from rating_engine.period_rater import GroupKey
from rating_engine.price_book.load import load_price_book
from sinks.clickhouse import connect_clickhouse

#: The month before this one, so that no event lies in the future.
_THIS = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
MONTH = (_THIS - timedelta(days=1)).replace(day=1)
PERIOD = f"{MONTH:%Y-%m}"
CHANGE = MONTH + timedelta(days=14, hours=10, minutes=30)

METERS = """meters:
- {key: requests, unit: request, aggregation: sum, group_by: [region]}
- {key: storage, unit: GB, aggregation: max}
- {key: seats, unit: seat, aggregation: latest}
- {key: credits, unit: credit, aggregation: sum, allow_negative: true}
- {key: documents, unit: document, aggregation: count}
- {key: users, unit: user, aggregation: unique_count, counted_dimension: user_id}
"""
PLAN = """- key: %(key)s
  currency: USD
  prorate_allowance: %(prorate)s
  versions:
  - version: 1
    effective_from: 2020-01-01T00:00:00Z
    base_fee: "20"
    charges:
    - {meter: requests, allowance: "1000", price: {model: per_unit, unit_price: "0.01"}}
    - {meter: storage, price: {model: graduated, tiers: [
        {up_to: "10", unit_price: "0.3"}, {unit_price: "0.1", flat_fee: "5"}]}}
    - {meter: seats, price: {model: per_unit, unit_price: "%(seat)s"}}
    - {meter: credits, price: {model: per_unit, unit_price: "1"}}
    - {meter: documents, minimum: "7", price: {model: package, package_size: "2",
        package_price: "1.5"}}
    - {meter: users, price: {model: per_unit, unit_price: "0.333"}}
  - version: 2
    effective_from: %(change)s
    base_fee: "30"
    charges:
    - {meter: requests, allowance: "1500", price: {model: per_unit, unit_price: "%(second)s"}}
    - {meter: storage, price: {model: graduated, tiers: [
        {up_to: "10", unit_price: "0.3"}, {unit_price: "0.1", flat_fee: "5"}]}}
    - {meter: seats, price: {model: per_unit, unit_price: "%(seat)s"}}
    - {meter: credits, price: {model: per_unit, unit_price: "1"}}
    - {meter: documents, minimum: "7", price: {model: package, package_size: "2",
        package_price: "1.5"}}
    - {meter: users, price: {model: per_unit, unit_price: "0.333"}}
"""
SUBSCRIPTIONS = """subscriptions:
- {id: s1, customer_id: shares, plan: shares, from: 2025-01-01T00:00:00Z}
- {id: s2, customer_id: carries, plan: carries, from: 2025-01-01T00:00:00Z}
- {id: s3, customer_id: idle, plan: carries, from: 2025-01-01T00:00:00Z}
"""


class Charged(NamedTuple):
    """A deployment with usage in it, its catalog, and another one with other prices."""

    settings: Settings
    proposal: Path


def _catalog(folder: Path, **prices: str) -> Path:
    folder.mkdir()
    values = {"second": "0.02", "seat": "3", "change": f"{CHANGE:%Y-%m-%dT%H:%M:%SZ}", **prices}
    plans = [
        PLAN % {"key": key, "prorate": prorate, **values}
        for key, prorate in (("shares", "true"), ("carries", "false"))
    ]
    for name, text in (
        ("meters", METERS), ("plans", "plans:\n" + "".join(plans)),
        ("subscriptions", SUBSCRIPTIONS),
    ):  # fmt: skip
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def _events(customer: str) -> list[dict[str, Any]]:
    """In this order in the log; days count from the first of the month."""
    used: list[tuple[str, float, str | None, dict[str, str]]] = [
        ("requests", 1, "800.1", {"region": "eu"}),
        ("requests", 20, "900.2", {"region": "eu"}),
        ("requests", 2, "300.3", {"region": "eu"}),  # late: it uses allowance of a later part
        ("requests", 3, "5000", {"region": "us"}),
        ("requests", 3, "0.1", {}), ("requests", 4, "0.1", {}), ("requests", 5, "0.1", {}),
        ("storage", 1, "12", {}), ("storage", 20, "11", {}), ("storage", 10, "4", {}),
        ("seats", 1, "9", {}), ("seats", 25, "5", {}), ("seats", 22, "7", {}),
        ("credits", 1, "10", {}), ("credits", 2, "-4.5", {}), ("credits", 20, "-20", {}),
        ("documents", 1, None, {}), ("documents", 2, None, {}), ("documents", 3, None, {}),
        ("users", 1, None, {"user_id": "a"}), ("users", 2, None, {"user_id": "b"}),
        ("users", 3, None, {"user_id": "a"}),
    ]  # fmt: skip
    return [
        {
            "id": f"{customer}-{at}", "customer_id": customer, "meter": meter,
            "occurred_at": (MONTH + timedelta(days=day)).isoformat(), "dimensions": dimensions,
            **({} if quantity is None else {"quantity": quantity}),
        }
        for at, (meter, day, quantity, dimensions) in enumerate(used)
    ]  # fmt: skip


@pytest.fixture
def charged(settings: Settings, tmp_path: Path) -> Charged:
    found = load_settings(catalog=_catalog(tmp_path / "catalog"), http_port=0)
    assert found.namespace == settings.namespace
    path = tmp_path / "usage.ndjson"
    events = [*_events("shares"), *_events("carries"), *_events("nobody")]
    # on the border itself, and a microsecond before it
    first, before = MONTH.isoformat(), (MONTH - timedelta(microseconds=1)).isoformat()
    for at, moment in enumerate((first, before)):
        events.append({**events[0], "id": f"border-{at}", "meter": "credits", "quantity": "100",
                       "customer_id": "idle", "occurred_at": moment, "dimensions": {}})  # fmt: skip
    path.write_text("".join(json.dumps(each) + "\n" for each in events), encoding="utf-8")
    assert answer(found, "backfill", str(path))[0]["accepted"] == len(events)
    return Charged(found, _catalog(tmp_path / "proposal", second="0.015", seat="4"))


def _explained(charged: Charged, customer: str, meter: str, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = answer(
        charged.settings, "explain", "--customer", customer, "--meter", meter,
        "--period", PERIOD, *more,
    )  # fmt: skip
    return found


def test_case_15_bill_preview_and_explain_come_to_the_same_cent(charged: Charged) -> None:
    settings = charged.settings
    book = load_price_book(settings.catalog)
    client = connect_clickhouse(settings)
    bills = {
        each.customer_id: each for each in Biller(client, book).bills(customers_of(book), _name())
    }
    assert list(bills) == ["carries", "idle", "shares"]
    explainer = Explainer(client, book)
    for customer, found in bills.items():
        lines: dict[tuple[str, GroupKey], Decimal] = {}
        for line in found.bill.lines:
            key = (line.meter, line.group)
            lines[key] = lines.get(key, Decimal(0)) + Decimal(str(line.amount))
        last = (_THIS - timedelta(microseconds=1)).isoformat()
        preview = answer(settings, "preview", "--customer", customer, "--at", last)
        assert preview["period_so_far"]["total"] == str(found.bill.total)
        assert preview["consumed_from"] == "live_totals"
        amounts = {}
        for meter in book.catalog.meters.values():
            explained = explainer.explain(customer, meter, name=_name(), group=None, shown_max=0)
            assert explained.agrees, explained
            for charge in explained.charges:
                key = (meter.key, charge.group)
                assert Decimal(str(charge.amount)) == lines.pop(key, Decimal(0)), key
                amounts[key] = str(charge.amount)
        assert set(lines) == {("", ())}
        for row in preview["lines"]:
            key = (row["meter"], tuple(row["group"].items()))
            assert row["period_charge"] == amounts[key], key
    client.close()


def _name() -> PeriodName:
    return PeriodName.read(PERIOD)


def _figures(found: dict[str, Any], at: int = 0) -> list[tuple[str, str, str]]:
    return [
        (part["included"], part["overage"], part["charge"])
        for part in found["charges"][at]["parts"]
    ]


def test_a_change_of_price_inside_the_period_follows_the_policy(charged: Charged) -> None:
    carries = _explained(charged, "carries", "requests", "--group", "region=eu")
    # 1000 are free at first, 1100.4 used; then 1500, less the 1000 that the first part used
    assert _figures(carries) == [("1000", "100.4", "1.00"), ("500", "400.2", "8.00")]
    shares = _explained(charged, "shares", "requests", "--group", "region=eu")
    share = (CHANGE - MONTH) / (_THIS - MONTH)
    included = [Decimal(each[0]) for each in _figures(shares)]
    assert abs(included[0] - Decimal(1000 * share)) < Decimal("1e-9")
    assert abs(included[1] - Decimal(1500 * (1 - share))) < Decimal("1e-9")
    for found in (carries, shares):
        assert [span["price_version"] for span in found["spans"]] == [1, 2]
        (charge,) = found["charges"]
        assert charge["quantities"] == ["1100.4", "900.2"]
        events = charge["events_shown"]
        assert [each["offset"] for each in events] == sorted(each["offset"] for each in events)
        assert [each["cumulative_before"] for each in events] == ["0", "0", "800.1"]
        total = sum(Decimal(each["charge"]) for each in events)
        assert total + Decimal(charge["standing_charge"]) == Decimal(charge["exact_charge"])


def test_every_kind_of_meter_is_explained(charged: Charged) -> None:
    def one(meter: str) -> tuple[list[str | None], str, list[str]]:
        (charge,) = _explained(charged, "carries", meter)["charges"]
        charges = [each["charge"] for each in charge["events_shown"]]
        return charge["quantities"], charge["charge"], charges

    # the same price before and after: one part, in which a level is not added up
    assert one("storage") == (["12", "11"], "8.20", ["8.2", "0", "0"])
    assert one("seats") == (["9", "5"], "15.00", ["27", "-12", "0"])
    assert one("credits") == (["5.5", "-20"], "0.00", ["10", "-4.5", "-5.5"])
    assert one("documents") == (["3", None], "7.00", ["0", "0", "0"])
    assert one("users") == (["2", None], "0.67", ["0.333", "0.333", "0"])


def test_case_17_three_times_a_tenth_is_three_tenths(charged: Charged) -> None:
    found = _explained(charged, "carries", "requests")
    assert [charge["group"] for charge in found["charges"]] == [
        {}, {"region": "eu"}, {"region": "us"},
    ]  # fmt: skip
    assert found["charges"][0]["quantities"] == ["0.3", None]


def test_case_09_an_event_on_the_border_is_in_one_period(charged: Charged) -> None:
    day_before = f"{MONTH - timedelta(days=1):%Y-%m-%d}"
    for period, name in ((PERIOD, "border-0"), (day_before, "border-1")):
        found = answer(charged.settings, "explain", "--customer", "idle", "--meter", "credits",
                       "--period", period)  # fmt: skip
        assert [each["id"] for each in found["charges"][0]["events_shown"]] == [name]


def test_what_differs_is_told_with_exit_1(charged: Charged) -> None:
    asked = ("explain", "--customer", "carries", "--meter", "storage", "--period", PERIOD)
    assert meterline(charged.settings, *asked).returncode == 0
    plant(
        charged.settings,
        "INSERT INTO usage_totals SELECT * REPLACE (quantity + 3 AS quantity, "
        "absorbed_offset + 1 AS absorbed_offset) FROM usage_totals FINAL WHERE meter = 'storage'",
    )
    done = meterline(charged.settings, *asked)
    assert done.returncode == 1
    assert "differs: live totals = raw history" in done.stdout
    plant(
        charged.settings,
        "INSERT INTO usage_events SELECT * REPLACE (7 AS card, toDecimal256('1.5', 24) AS charge, "
        "record_time - INTERVAL 1 SECOND AS record_time) FROM usage_events FINAL "
        "WHERE meter = 'credits' AND customer_id = 'carries'",
    )
    found = answer(charged.settings, *asked[:3], "--meter", "credits", "--period", PERIOD)
    stored = found["charges"][0]["checks"][2]
    assert (stored["agrees"], stored["expected"], stored["got"]) == (False, "0", "4.5")
    assert (stored["difference"], stored["events_stored"]) == ("4.5", 3)


def test_an_event_that_was_written_in_two_months_is_in_that_of_its_first_writer(
    charged: Charged,
) -> None:
    plant(
        charged.settings,
        "INSERT INTO usage_events SELECT * REPLACE (occurred_at - INTERVAL 1 MONTH AS occurred_at, "
        "record_time - INTERVAL 1 SECOND AS record_time) FROM usage_events FINAL "
        "WHERE meter = 'credits' AND customer_id = 'carries' AND quantity = 10",
    )
    found = _explained(charged, "carries", "credits")["charges"][0]
    assert found["quantities"] == ["-4.5", "-20"]
    assert [each["quantity"] for each in found["events_shown"]] == ["-4.5", "-20"]


def test_events_that_are_written_and_not_in_the_totals_yet_are_left_out(charged: Charged) -> None:
    plant(
        charged.settings,
        "INSERT INTO usage_events SELECT * REPLACE (offset + 1000 AS offset, "
        "reverse(identity) AS identity) FROM usage_events FINAL "
        "WHERE meter = 'credits' AND customer_id = 'carries' AND quantity = 10",
    )
    found = _explained(charged, "carries", "credits")["charges"][0]
    assert found["events"] == 3


def test_events_are_shown_as_far_as_asked(charged: Charged) -> None:
    found = _explained(charged, "carries", "documents", "--events", "1")
    (charge,) = found["charges"]
    assert (charge["events"], len(charge["events_shown"])) == (3, 1)
    told = meterline(charged.settings, "explain", "--customer", "carries", "--meter", "documents",
                     "--period", PERIOD, "--events", "1").stdout  # fmt: skip
    assert "... and 2 more events" in told
    assert "everything agrees" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--customer", "nobody", "--meter", "seats", "--period", PERIOD), "got 'nobody'"),
        (("--customer", "idle", "--meter", "x", "--period", PERIOD), "expected one of the meters"),
        (("--customer", "idle", "--meter", "seats", "--period", "2026-13"), "expected a month"),
        (("--customer", "idle", "--meter", "seats", "--period", "2024-01"), "when there is none"),
        (("--customer", "idle", "--meter", "seats", "--period", PERIOD, "--group", "a=b"),
         "expected a dimension"),
    ],
)  # fmt: skip
def test_what_is_unknown_is_exit_2(charged: Charged, arguments: tuple[str, ...], told: str) -> None:
    done = meterline(charged.settings, "explain", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_preview_goes_on_from_live_totals(charged: Charged) -> None:
    found = answer(
        charged.settings, "preview", "--customer", "carries", "--usage", "requests=100",
        "--group", "region=eu", "--at", (_THIS - timedelta(days=1)).isoformat(),
    )  # fmt: skip
    (line,) = [each for each in found["lines"] if each["quantity"] != "0"]
    assert (line["consumed"], line["charge"]) == ("2000.6", "2.00")
    assert found["complete_to"] is None  # nothing live was read yet
    used = {"id": "live", "customer_id": "carries", "meter": "seats", "quantity": "3",
            "occurred_at": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()}  # fmt: skip
    produce(charged.settings, [used])
    count(charged.settings)
    idle = answer(charged.settings, "preview", "--customer", "carries", "--usage", "seats=2")
    assert [each["consumed"] for each in idle["lines"]] == ["3"]
    assert idle["complete_to"] is not None


def test_rerating_is_the_difference_of_both_bills(charged: Charged) -> None:
    settings = charged.settings
    asked = ("rerate", "--period", PERIOD, "--catalog", str(charged.proposal), "--dry-run")
    found = answer(settings, *asked)
    client = connect_clickhouse(settings)
    totals = []
    for folder in (settings.catalog, charged.proposal):
        book = load_price_book(folder)
        bills = Biller(client, book).bills(customers_of(book), _name())
        totals.append(sum(Decimal(str(each.bill.total)) for each in bills))
    client.close()
    (total,) = found["totals"]
    assert [Decimal(total["old"]), Decimal(total["new"])] == totals
    assert Decimal(total["difference"]) == totals[1] - totals[0]
    changed = {
        (each["customer_id"], each["meter"], each["group"].get("region")): each["difference"]
        for each in found["lines"]
        if each["difference"] != "0.00"
    }
    assert changed["carries", "requests", "eu"] == "-2.00"
    assert changed["carries", "seats", None] == "5.00"
    assert {key[1] for key in changed} == {"requests", "seats"}
    assert [each["kind"] for each in found["lines"] if each["customer_id"] == "idle"] == [
        "charge", "charge", "base_fee",
    ]  # fmt: skip
    one = answer(settings, *asked, "--customer", "carries")
    assert {each["customer_id"] for each in one["lines"]} == {"carries"}
    assert "in all" in meterline(settings, *asked).stdout
    refused = meterline(settings, *asked[:-1])
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "meterline correct rerate" in refused.stderr
    before = rows(settings, "SELECT count() FROM audit_log")
    assert before == [(0,)]


def test_view_raw_history_and_preview_state_the_same_charges(charged: Charged) -> None:
    agreed = answer(charged.settings, "charges", "--period", PERIOD)
    assert (agreed["customers"], agreed["differing"]) == (3, 0)
    # requests of three groups, and the five other meters, of two customers; credits of the third
    assert agreed["charges"] == 2 * (3 + 5) + 1
    other = charged.settings.model_copy(update={"catalog": charged.proposal})
    done = meterline(other, "charges", "--period", PERIOD, "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    differing = json.loads(done.stdout)
    assert {each["customer_id"] for each in differing["shown"]} == {"carries", "shares"}
    assert any("requests" in each["what"] for each in differing["shown"])

"""`meterline verify` of what is charged: every window's charge, card and part; retracted events."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from counting import answer, meterline, plant, rows

from metering.settings import Settings, load_settings
from metering.totals import UnitKey
from sinks.clickhouse import connect_clickhouse
from sinks.conservation.findings import TotalDifference
from sinks.conservation.recheck import MovingTotal, recheck
from sinks.totals_store import ClickHouseTotals

#: The month before this one, so that no event lies in the future.
_THIS = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
_MONTH = (_THIS - timedelta(days=1)).replace(day=1)
_CHANGE = _MONTH + timedelta(days=9, hours=10, minutes=30)

_METERS = """meters:
- {key: requests, unit: request, aggregation: sum}
- {key: storage, unit: GB, aggregation: max, allow_negative: true}
- {key: seats, unit: seat, aggregation: latest}
- {key: users, unit: user, aggregation: unique_count, counted_dimension: user_id}
"""
_PLANS = f"""plans:
- key: growth
  currency: USD
  prorate_allowance: true
  versions:
  - version: 1
    effective_from: 2020-01-01T00:00:00Z
    charges:
    - {{meter: requests, allowance: "1000", price: {{model: per_unit, unit_price: "0.01"}}}}
    - {{meter: storage, price: {{model: per_unit, unit_price: "0.5"}}}}
    - {{meter: seats, price: {{model: per_unit, unit_price: "3"}}}}
    - {{meter: users, price: {{model: per_unit, unit_price: "0.333"}}}}
  - version: 2
    effective_from: {_CHANGE:%Y-%m-%dT%H:%M:%SZ}
    charges:
    - {{meter: requests, allowance: "1000", price: {{model: per_unit, unit_price: "0.02"}}}}
"""
_SUBSCRIPTIONS = """subscriptions:
- {id: s1, customer_id: acme, plan: growth, from: 2025-01-01T00:00:00Z}
- {id: s2, customer_id: beta, plan: growth, from: 2025-01-01T00:00:00Z}
"""
_KEY = "customer_id, meter, `group`, window_start, stream, partition"
_ROWS = (
    f"SELECT {_KEY}, aggregation, toString(quantity), events, late_events, toString(included),"
    " toString(overage), toString(charge), card, period_start, part_start"
    f" FROM usage_totals FINAL WHERE events > 0 ORDER BY {_KEY}"
)
#: All that builds on totals, but for the moment they are complete to.
_VIEWS = {
    name: f"SELECT * EXCEPT (complete_to) FROM {name} ORDER BY ALL"
    for name in ("live_usage", "period_usage", "period_charges", "unpriced_usage")
}


def _event(number: int, **changes: Any) -> dict[str, Any]:
    moment = _MONTH + timedelta(days=9, hours=8, minutes=number)
    return {
        "id": f"e{number}", "customer_id": ("acme", "beta", "nobody")[number % 3],
        "meter": "requests", "quantity": "40.5", "occurred_at": moment.isoformat(), **changes,
    }  # fmt: skip


@pytest.fixture
def charged(settings: Settings, tmp_path: Path) -> Settings:
    """Rated usage of two customers and unrated of a third; prices change inside an hour."""
    folder = tmp_path / "catalog"
    folder.mkdir()
    for name, text in (
        ("meters", _METERS), ("plans", _PLANS),
        ("subscriptions", _SUBSCRIPTIONS),
    ):  # fmt: skip
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    found = load_settings(catalog=folder, http_port=0)
    assert found.namespace == settings.namespace
    events = [_event(n) for n in range(300)]
    events += [_event(n, meter="storage", quantity=f"-{n}") for n in (300, 360)]
    events += [_event(n, meter="seats", quantity=f"{n}") for n in (303, 330, 390)]
    events += [_event(n, meter="users", dimensions={"user_id": "u"}) for n in (306, 309, 312)]
    path = tmp_path / "usage.ndjson"
    path.write_text("".join(json.dumps(each) + "\n" for each in events), encoding="utf-8")
    assert answer(found, "backfill", str(path))[0]["accepted"] == len(events)
    return found


def _views(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    return {name: rows(settings, query) for name, query in _VIEWS.items()}


def _plant_total(settings: Settings, place: str, change: str) -> None:
    plant(
        settings,
        f"INSERT INTO usage_totals SELECT * REPLACE ({change}) FROM (SELECT * FROM usage_totals"
        f" FINAL WHERE {place} ORDER BY window_start LIMIT 1)",
    )


def test_a_wrong_charge_card_part_or_period_is_found_and_repaired(charged: Settings) -> None:
    before, views = rows(charged, _ROWS), _views(charged)
    wrong = {
        "charge": "charge + toDecimal256('0.25', 24)", "included": "included + 1",
        "overage": "overage - 1", "card": "card + 1", "part_start": "part_start - 60",
        "period_start": "period_start - 60",
    }  # fmt: skip
    places = [
        f"customer_id = '{customer}' AND window_start = toDateTime({hour.timestamp():.0f}, 'UTC')"
        for customer in ("acme", "beta")
        for hour in (_MONTH + timedelta(days=9, hours=hour) for hour in (8, 9, 11))
    ]
    for place, (column, value) in zip(places, wrong.items(), strict=True):
        _plant_total(charged, place, f"{value} AS {column}")
    found = answer(charged, "verify")["totals"]
    assert found["differing"] == len(wrong)
    assert [
        {name for name, value in each["got"].items() if value != each["expected"][name]}
        for each in sorted(
            found["shown"], key=lambda each: (each["customer_id"], each["window_start"])
        )
    ] == [{column} for column in wrong]

    told = meterline(charged, "verify")
    assert told.returncode == 1
    assert "charge +0.25" in told.stdout
    client = connect_clickhouse(charged)
    again = recheck(client, _keys(charged))
    client.close()
    assert sorted(map(_place, again)) == sorted((e["customer_id"], e["window_start"])
                                                for e in found["shown"])  # fmt: skip

    done = meterline(charged, "verify", "--repair")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(charged, _ROWS) == before
    assert _views(charged) == views


def test_a_window_of_two_cards_has_that_of_its_newest_event(charged: Settings) -> None:
    """As after an edit of prices that took effect: events before it keep what rated them."""
    place = "customer_id = 'acme' AND meter = 'requests'"
    older = f"(offset, customer_id) IN (SELECT min(offset), 'acme' FROM usage_events WHERE {place})"
    plant(
        charged,
        "INSERT INTO usage_events SELECT * REPLACE (toUInt64(-1) AS card) FROM usage_events"
        f" WHERE {older}",
    )
    assert rows(charged, "SELECT count() FROM usage_events FINAL WHERE card = toUInt64(-1)") == [
        (1,)
    ]
    before = rows(charged, _ROWS)
    assert answer(charged, "verify")["holds"]
    client = connect_clickhouse(charged)
    assert recheck(client, _keys(charged)) == []
    client.close()
    _plant_total(charged, place, "quantity + 1 AS quantity")
    assert meterline(charged, "verify", "--repair").returncode == 0
    assert rows(charged, _ROWS) == before


def test_a_total_that_should_not_be_leaves_no_trace_after_its_repair(
    charged: Settings,
) -> None:
    before, views = rows(charged, _ROWS), _views(charged)
    ghosts = {
        "meter = 'seats' AND customer_id = 'acme'": "window_start + 36000 AS window_start",
        "meter = 'storage' AND customer_id = 'acme'": "window_start + 36000 AS window_start",
        "customer_id = 'nobody'": "'ghost' AS customer_id",
        "customer_id = 'beta'": "'wraith' AS customer_id",
    }
    for place, change in ghosts.items():
        _plant_total(charged, place, f"{change}, last_occurred_at + 36000 AS last_occurred_at")
    assert answer(charged, "verify")["totals"]["differing"] == len(ghosts)
    assert meterline(charged, "verify", "--repair").returncode == 0
    assert rows(charged, "SELECT count() FROM usage_totals FINAL WHERE events = 0") == [
        (len(ghosts),)
    ]
    assert rows(charged, _ROWS) == before
    assert _views(charged) == views
    # and a worker that goes on starts from what was there before
    client = connect_clickhouse(charged)
    for meter, value in (("seats", "latest_units"), ("storage", "max_units")):
        found = rows(
            charged,
            "SELECT toString(stream), toUnixTimestamp(part_start), toInt64(max(absorbed_offset)),"
            " toInt64(toUnixTimestamp(maxIf(window_start, events > 0))) FROM usage_totals FINAL"
            f" WHERE customer_id = 'acme' AND meter = '{meter}' GROUP BY ALL",
        )
        ((stream, start, absorbed, newest),) = found
        key = UnitKey("acme", meter, "{}", start, start + 40 * 86_400)
        unit = ClickHouseTotals(client, client).units(stream, 0, [key])[key]
        assert (unit.absorbed_offset, unit.newest_window) == (absorbed, newest)
        assert getattr(unit, value) == {"seats": 390, "storage": -300}[meter] * 10**12
    client.close()


def test_a_retracted_event_is_not_in_totals_after_the_repair(charged: Settings) -> None:
    before = rows(charged, _ROWS)
    balances = answer(charged, "verify")["balances"]
    taken = [("acme", "e3"), ("nobody", "e2"), ("acme", "e390"), ("beta", "e10")]
    names = ", ".join(f"('{customer}', '{name}')" for customer, name in taken)
    plant(
        charged,
        "INSERT INTO retracted_events SELECT customer_id, meter, identity, 'c1', true, now64(6)"
        f" FROM usage_events FINAL WHERE (customer_id, id) IN ({names})",
    )
    plant(  # this one was given back
        charged,
        "INSERT INTO retracted_events SELECT customer_id, meter, identity, 'c2', false,"
        " now64(6) + 1 FROM usage_events FINAL WHERE id = 'e10'",
    )
    found = answer(charged, "verify")
    assert found["balances"] == balances
    assert (found["totals"]["differing"], found["distinct_differing"]) == (3, 0)
    client = connect_clickhouse(charged)
    again = recheck(client, _keys(charged))
    client.close()
    assert sorted(each.customer_id for each in again) == ["acme", "acme", "nobody"]

    done = meterline(charged, "verify", "--repair")
    assert done.returncode == 0, done.stdout + done.stderr
    after = rows(charged, _ROWS)
    kept = {row[:6]: row for row in before}
    changed = [row for row in after if row != kept[row[:6]]]
    assert [(row[0], row[1], row[8] - kept[row[:6]][8]) for row in changed] == [
        ("acme", "requests", -1), ("nobody", "requests", -1),
    ]  # fmt: skip
    for row in changed:
        assert float(kept[row[:6]][7]) - float(row[7]) == 40.5
    # the seats of half past two were all of their hour
    assert [row[:2] for key, row in kept.items() if key not in {row[:6] for row in after}] == [
        ("acme", "seats")
    ]
    assert answer(charged, "verify")["balances"] == balances


def test_a_retracted_event_takes_its_distinct_value_with_it(charged: Settings) -> None:
    """Until what else has the value is rated anew, it is seen that the value does not count."""
    plant(
        charged,
        "INSERT INTO retracted_events SELECT customer_id, meter, identity, 'c1', true, now64(6)"
        " FROM usage_events FINAL WHERE meter = 'users' AND NOT counted",
    )
    assert answer(charged, "verify")["distinct_differing"] == 0
    plant(
        charged,
        "INSERT INTO retracted_events SELECT customer_id, meter, identity, 'c1', true, now64(6)"
        " FROM usage_events FINAL WHERE meter = 'users' AND counted",
    )
    assert answer(charged, "verify")["distinct_differing"] == 0


def _keys(settings: Settings) -> list[MovingTotal]:
    """Every total, as if all were moving."""
    found = rows(
        settings,
        "SELECT customer_id, toString(meter), `group`, toUnixTimestamp(window_start),"
        " toString(stream), partition FROM usage_totals FINAL",
    )
    return [MovingTotal(*row) for row in found]


def _place(found: TotalDifference) -> tuple[str, str]:
    return found.customer_id, found.window_start

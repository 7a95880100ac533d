"""Stored ratings are derived again: what was right stays, what the price book changed follows."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from counting import count, produce, rows
from in_process import answer, count_file
from priced import CHANGE, MONTH, PERIOD, PLANS, catalog, usage

from cli.context import stderr
from dataflows.distinct_claims import DistinctClaims
from dataflows.rated_anew import Rerater
from dataflows.rerating import Rerating
from metering.identity import identity_seed
from metering.settings import Settings, load_settings
from rating_engine.price_book.load import load_price_book
from sinks.clickhouse import connect_clickhouse
from sinks.conservation.cuts import absorbed_cuts
from sinks.dedup_adopt import adopt_memory
from sinks.rated_rows import RatedRows, Scope

SEED = 20261
LONG_AGO = datetime.fromisoformat("2025-01-01T00:00:00+00:00")
#: More than the month: whole billing periods of everybody, also of those without a subscription.
START, END = (
    int((MONTH - timedelta(days=40)).timestamp()),
    int((MONTH + timedelta(days=70)).timestamp()),
)
RATINGS = (
    "SELECT customer_id, meter, id, partition, offset, counted, toString(cumulative_before),"
    " toString(included), toString(overage), toString(charge), card, price_version,"
    " period_start, part_start FROM usage_events FINAL ORDER BY partition, offset, `index`"
)
TOTALS = (
    "SELECT customer_id, meter, `group`, window_start, partition, toString(quantity), events,"
    " toString(included), toString(overage), toString(charge), card, period_start, part_start"
    " FROM usage_totals FINAL WHERE events > 0 ORDER BY ALL"
)


def _everybody() -> dict[str, tuple[str, datetime]]:
    return {name: (name, LONG_AGO) for name in PLANS} | {
        "begins": ("carries", CHANGE + timedelta(days=3, minutes=17))
    }


@pytest.fixture
def counted(settings: Settings, tmp_path: Path) -> Settings:
    """Usage of four customers and one without a subscription, on two partitions and in a file."""
    folder = catalog(tmp_path / "catalog", _everybody())
    found = load_settings(catalog=folder, http_port=0)
    assert found.namespace == settings.namespace
    random = Random(SEED)
    events = [each for name in (*_everybody(), "nobody") for each in usage(name, random, 80)]
    random.shuffle(events)
    for partition in range(2):
        produce(found, events[partition:300:2], partition=partition)
    count(found)
    count_file(found, tmp_path / "more.ndjson", events[300:])
    return found


def derive(settings: Settings, *customers: str) -> int:
    client = connect_clickhouse(settings)
    book = load_price_book(settings.catalog)
    store = adopt_memory(settings, connect_clickhouse(settings), book.catalog, say=stderr.print)
    seed = identity_seed(settings.identity_key.get_secret_value())
    claims = DistinctClaims(store, seed=seed)
    rerating = Rerating(client, book, store=store, claims=claims, settle_s=0.05)
    try:
        return rerating.derive([Scope(customers, START, END)])
    finally:
        store.close()
        client.close()


def everyone(settings: Settings) -> tuple[str, ...]:
    return tuple(row[0] for row in rows(settings, "SELECT DISTINCT customer_id FROM usage_events"))


def test_what_the_stream_rated_is_derived_again_to_the_last_digit(counted: Settings) -> None:
    client = connect_clickhouse(counted)
    stored = RatedRows(client).billable(Scope(everyone(counted), START, END), absorbed_cuts(client))
    assert stored.num_rows == 400
    again = Rerater(load_price_book(counted.catalog)).rate(stored)
    client.close()
    assert again.changed.num_rows == 0
    before = rows(counted, RATINGS), rows(counted, TOTALS)
    assert derive(counted, *everyone(counted)) == 0
    assert (rows(counted, RATINGS), rows(counted, TOTALS)) == before
    assert answer(counted, "verify")["holds"]


def test_a_row_written_again_replaces_itself_before_and_after_a_merge(counted: Settings) -> None:
    client = connect_clickhouse(counted)
    stored = RatedRows(client).billable(Scope(("steady",), START, END), absorbed_cuts(client))
    writer = RatedRows(client)
    for number in (7, 3, 9):
        cards = pa.array([number] * stored.num_rows, pa.uint64())
        writer.write(stored.set_column(stored.column_names.index("card"), "card", cards))
        found = "SELECT DISTINCT card FROM usage_events FINAL WHERE customer_id = 'steady'"
        assert rows(counted, found) == [(number,)]
    client.command("OPTIMIZE TABLE usage_events FINAL")
    assert rows(counted, found.replace(" FINAL", "")) == [(9,)]
    client.close()


def test_a_subscription_added_for_a_time_that_was_rated_makes_all_agree_again(
    counted: Settings, tmp_path: Path
) -> None:
    more = {**_everybody(), "nobody": ("carries", CHANGE - timedelta(days=5, minutes=13))}
    changed = counted.model_copy(
        update={"catalog": catalog(tmp_path / "changed", more, first="0.07")}
    )
    differing = answer(changed, "charges", "--period", PERIOD)
    assert {each["customer_id"] for each in differing["shown"]} >= {"nobody", "steady"}
    assert derive(changed, *everyone(changed)) > 0
    agreed = answer(changed, "charges", "--period", PERIOD)
    assert (agreed["differing"], agreed["customers"]) == (0, 5)
    found = answer(changed, "verify")
    assert found["holds"], found
    before = rows(changed, RATINGS), rows(changed, TOTALS)
    assert derive(changed, *everyone(changed)) == 0
    assert (rows(changed, RATINGS), rows(changed, TOTALS)) == before
    assert _taken_back(changed, counted) == []


def _taken_back(changed: Settings, first: Settings) -> list[Any]:
    """And back: a subscription that goes away leaves nothing of what it was charged."""
    assert derive(first, *everyone(first)) > 0
    assert answer(first, "charges", "--period", PERIOD)["differing"] == 0
    assert answer(first, "verify")["holds"]
    return rows(changed, "SELECT 1 FROM period_charges WHERE customer_id = 'nobody' AND card != 0")

"""The fast generator: its events are sound, and its totals are those of its events."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest

from loadtest.outcome import Total, TotalKey
from loadtest.population import partition_of
from loadtest.preload import Preload, PreloadPlan

_STARTED = datetime(2026, 3, 4, 10, 0, 20, tzinfo=UTC)  # events fall into two windows
_PLAN = PreloadPlan(events=10_000, customers=50, partitions=3, duplicates=0.1, chunk_events=4_000)
_GIANT = replace(_PLAN, giant=0.6)
_MANY = replace(_PLAN, customers=500_000)
_PLANS = pytest.mark.parametrize("plan", [_PLAN, _GIANT, _MANY], ids=["alike", "giant", "many"])


def _loaded(
    seed: int = 7, plan: PreloadPlan = _PLAN
) -> tuple[Preload, list[tuple[bytes, bytes, int]]]:
    load = Preload(seed, plan, _STARTED)
    return load, [row for chunk in load for row in zip(*chunk, strict=True)]


def _added_up(events: dict[tuple[str, str, str], dict[str, Any]]) -> dict[TotalKey, Total]:
    totals: dict[TotalKey, Total] = defaultdict(lambda: Total(Decimal(0), 0))
    for (customer, meter, _), event in events.items():
        occurred = datetime.fromisoformat(event["occurred_at"])
        window = int(occurred.replace(minute=0, second=0, microsecond=0).timestamp())
        region = event["dimensions"]["region"]
        group = f'{{"region":"{region}"}}' if meter == "api_requests" else "{}"
        key = TotalKey(customer, meter, group, window)
        quantity = totals[key].quantity + Decimal(str(event["quantity"]))
        totals[key] = Total(quantity, totals[key].events + 1)
    return dict(totals)


@_PLANS
def test_totals_are_those_of_the_distinct_events(plan: PreloadPlan) -> None:
    load, rows = _loaded(plan=plan)
    events: dict[tuple[str, str, str], dict[str, Any]] = {}
    for _, value, _ in rows:
        event = orjson.loads(value)
        events.setdefault((event["customer_id"], event["meter"], event["id"]), event)
    outcome = load.outcome()
    assert outcome.accepted == len(events)
    assert outcome.accounted == len(rows) == 10_000
    assert outcome.totals == _added_up(events)
    assert len({key.window_start for key in outcome.totals}) == 2


@_PLANS
def test_copies_are_exact_and_as_many_as_asked(plan: PreloadPlan) -> None:
    load, rows = _loaded(plan=plan)
    values = Counter(value for _, value, _ in rows)
    assert len(rows) - len(values) == load.outcome().duplicates
    assert load.outcome().duplicates == pytest.approx(1_000, rel=0.1)


def test_a_giant_makes_its_share_of_the_events_and_fills_one_partition() -> None:
    _, rows = _loaded(plan=_GIANT)
    made = Counter(key for key, _, _ in rows)
    (giant, count), *others = made.most_common()
    assert giant == b"cust-000000"
    assert count / len(rows) == pytest.approx(0.6, abs=0.02)
    # What is left is shared alike by all the others.
    assert len(others) == 49
    assert max(each for _, each in others) < 3 * min(each for _, each in others)
    assert {partition for key, _, partition in rows if key == giant} == {
        partition_of("cust-000000", 3)
    }
    fullest = max(Counter(partition for _, _, partition in rows).values()) / len(rows)
    assert fullest > 0.6


def test_nearly_every_event_of_many_small_customers_is_the_first_of_its_customer() -> None:
    load, rows = _loaded(plan=_MANY)
    accepted = load.outcome().accepted
    assert 0.98 * accepted < len({key for key, _, _ in rows}) < accepted
    assert len(load.outcome().totals) > 0.99 * accepted


@_PLANS
def test_all_events_of_a_customer_go_to_its_partition(plan: PreloadPlan) -> None:
    _, rows = _loaded(plan=plan)
    for key, value, partition in rows:
        assert orjson.loads(value)["customer_id"] == key.decode()
        assert partition == partition_of(key.decode(), 3)


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert _loaded()[1] == _loaded()[1] != _loaded(seed=8)[1]

"""Charges after a crash and a replay: of a period that is split, and of one read in two places."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from harness import Deploy, Deployment
from own_events import usage

#: Prices change in the middle of the period of the first, which may use its allowance of each part
#: up; the tiers of the second are gone through by both partitions together.
_PLANS = {"carried": "starter", "stepped": "business", "regional": "enterprise"}
_EVENTS = 3_000
_EVENT_CHARGES = (
    "SELECT customer_id, id, partition, offset, toString(included), toString(overage),"
    " toString(charge), card, period_start, part_start, price_version, catalog"
    " FROM usage_events FINAL ORDER BY partition, offset"
)
_TOTAL_CHARGES = (
    "SELECT customer_id, window_start, partition, toString(quantity), toString(included),"
    " toString(overage), toString(charge), card, period_start, part_start"
    " FROM usage_totals FINAL ORDER BY customer_id, window_start, partition"
)
_CHARGES = (
    "SELECT customer_id, part_start, toString(quantity), toString(included), toString(overage),"
    " toString(charge), toString(amount), card FROM period_charges ORDER BY 1, 2"
)


def test_a_killed_worker_and_a_replay_of_the_whole_topic_leave_every_charge_as_it_was(
    deploy: Deploy, seed: int
) -> None:
    random = Random(seed)
    deployment = deploy(events=1, partitions=2, own=_PLANS)
    quantities = _send(deployment, random)

    deployment.start_worker(kill_before="2:2").wait_killed()
    deployment.start_worker(kill_before="3:1").wait_killed()
    worker = deployment.start_worker()
    deployment.wait_drained()
    before = _charges(deployment)
    _assert_meaningful(deployment, quantities)
    deployment.assert_verified()

    for lost in ("nothing", "dedup memory"):
        worker.stop()
        deployment.group.commit(dict.fromkeys(deployment.group.ends(), 0))
        if lost == "dedup memory":
            deployment.stack.service("redis").wipe()
        worker = deployment.start_worker()
        worker.wait_ready()
        worker.kill()
        worker = deployment.start_worker()
        deployment.wait_drained()

        assert _charges(deployment) == before, lost
        deployment.assert_verified()


def _send(deployment: Deployment, random: Random) -> dict[str, Decimal]:
    """Events of every customer on both partitions, before and after prices change."""
    found = dict.fromkeys(_PLANS, Decimal(0))
    passed = datetime.now(UTC) - deployment.changed_at
    messages = []
    for number in range(_EVENTS):
        customer = random.choice(list(_PLANS))
        quantity = Decimal(random.randint(1, 15_000)) / 1000
        since = random.choice((-timedelta(hours=1), passed))
        at = deployment.changed_at + random.random() * since
        event = usage(f"e{number}", customer, quantity=str(quantity), at=at, region="eu")
        messages.append((random.randrange(2), event))
        found[customer] += quantity
    deployment.send(messages)
    return found


def _charges(deployment: Deployment) -> list[object]:
    return [deployment.query(each) for each in (_EVENT_CHARGES, _TOTAL_CHARGES, _CHARGES)]


def _assert_meaningful(deployment: Deployment, quantities: dict[str, Decimal]) -> None:
    """Nothing is lost, and the events are such that a wrong order of rating would show."""
    rows = deployment.query(
        "SELECT customer_id, toString(sum(quantity)), count(), uniqExact(price_version),"
        " countIf(overage > 0) FROM period_charges GROUP BY customer_id"
    )
    found = {name: (Decimal(quantity), *counts) for name, quantity, *counts in rows}
    assert {name: each[0] for name, each in found.items()} == quantities
    assert found["carried"][1:] == (2, 2, 2), "both parts have overage, by two versions"
    partitions = deployment.query(
        "SELECT customer_id, uniqExact(partition) FROM usage_events FINAL GROUP BY customer_id"
    )
    assert sorted(map(tuple, partitions)) == sorted((name, 2) for name in _PLANS)

"""A part that begins, as is known now, inside an hour that was written before: nothing is doubled.

A worker is killed after it wrote totals and before it committed them; meanwhile a subscription is
edited for the past. The next worker reads the same events again, under other parts.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from harness import Deploy, Deployment
from own_events import counted, total, usage

_MOVED, _STEADY = "moves", "stays"
#: Of the hour, when the other plan begins.
_BORDER = timedelta(minutes=30)
_WINDOWS = (
    "SELECT window_start, events FROM live_usage WHERE customer_id = %(customer)s"
    " AND meter = 'api_requests' ORDER BY window_start"
)


@pytest.mark.parametrize("lost", ["nothing", "dedup memory"])
def test_a_part_that_begins_inside_an_hour_already_written_counts_nothing_again(
    deploy: Deploy, lost: str
) -> None:
    deployment = deploy(events=1, partitions=1, own={_MOVED: "enterprise", _STEADY: "starter"})
    hour = deployment.changed_at - timedelta(hours=2)
    before = _send(deployment, "before", hour)
    deployment.start_worker(kill_before="3:1").wait_killed()
    assert _windows(deployment, _MOVED) == [(hour, 60)], "the whole hour is one window so far"
    assert deployment.durable() == {}, "nothing is said to be durable, and nothing committed"

    _change_plan(deployment.catalog, hour + _BORDER)
    if lost == "dedup memory":
        deployment.stack.service("redis").wipe()
    worker = deployment.start_worker()
    after = _send(deployment, "after", hour)
    deployment.wait_drained()

    for customer in (_MOVED, _STEADY):
        assert counted(deployment, customer) == 120
        assert total(deployment, customer) == before + after
    assert _windows(deployment, _MOVED) == [(hour, 60 + 30), (hour + _BORDER, 30)]
    assert _windows(deployment, _STEADY) == [(hour, 120)]
    deployment.assert_balanced()

    worker.stop()
    deployment.group.commit({0: 0})
    deployment.start_worker()
    deployment.wait_drained()
    assert total(deployment, _MOVED) == before + after
    deployment.assert_balanced()


def _send(deployment: Deployment, name: str, hour: datetime) -> Decimal:
    """An event in every minute of the hour, of both customers; what each of them used."""
    used = [Decimal(minute + 1) / 4 for minute in range(60)]
    deployment.send(
        [
            (0, usage(f"{name}-{minute}", customer, quantity=str(quantity),
                      at=hour + timedelta(minutes=minute), region="eu"))
            for minute, quantity in enumerate(used)
            for customer in (_MOVED, _STEADY)
        ]
    )  # fmt: skip
    return sum(used, Decimal(0))


def _change_plan(catalog: Path, moment: datetime) -> None:
    """One customer had another plan from `moment` on, as somebody finds out now."""
    path = catalog / "subscriptions.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    border = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    changed = [{**row, "until": border if row["customer_id"] == _MOVED else ""} for row in rows]
    changed += [
        {**row, "id": f"{row['id']}-later", "plan": "starter", "from": border, "until": ""}
        for row in changed if row["customer_id"] == _MOVED
    ]  # fmt: skip
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "until"])
        writer.writeheader()
        writer.writerows(changed)


def _windows(deployment: Deployment, customer: str) -> list[tuple[datetime, int]]:
    rows = deployment.query(_WINDOWS, customer=customer)
    return [(start.replace(tzinfo=UTC), int(events)) for start, events in rows]

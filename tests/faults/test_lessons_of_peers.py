"""Where other metering systems lose or double usage (PEERS-LESSONS), on the running pipeline.

One worker serves all of these; each case has customers of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from harness import Deployment
from own_events import counted, duplicates, total, usage

from deploy.localstack.stack import LocalStack
from loadtest.plan import Plan
from metering.identity import CUSTOMER, identity, identity_seed

#: Seats and credits cost something from the first one on, and requests; agent minutes after 1.5.
_PLANS = {
    **dict.fromkeys(
        ("retries", "two-periods", "conflicts", "shared-1", "shared-2", "meter-border", "late",
         "huge", *(f"tie-{number}" for number in range(12))),
        "enterprise",
    ),
    "tenths": "business",
}  # fmt: skip
_CONFLICT = "identity_must_not_repeat_with_other_payload"


@pytest.fixture(scope="module")
def running(
    fault_stack: LocalStack, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> Iterator[Deployment]:
    """A deployment with a worker."""
    folder = tmp_path_factory.mktemp("running")
    plan = Plan(partitions=4, customers=10)
    deployment = Deployment(fault_stack, folder, seed=seed, plan=plan, own=_PLANS)
    deployment.start_worker().wait_ready()
    yield deployment
    deployment.assert_verified()
    deployment.close()


def _send(running: Deployment, *messages: tuple[int, bytes]) -> None:
    running.send(messages)
    running.wait_drained()


def _restart(running: Deployment) -> None:
    running.workers[-1].stop()
    running.start_worker().wait_ready()


def test_case_06_a_retry_with_a_new_timestamp_counts_once(running: Deployment) -> None:
    first = usage("work-1", "retries", quantity="7", ago=timedelta(hours=3))
    again = usage("work-1", "retries", quantity="7")
    _send(running, (0, first), (0, again), (1, again))

    assert total(running, "retries") == 7
    assert counted(running, "retries") == 1
    assert len(duplicates(running, "retries")) == 2


def test_case_07_the_same_id_in_two_billing_periods_counts_once_with_a_record(
    running: Deployment,
) -> None:
    offset = running.group.ends()[2]
    _send(running, (2, usage("work-1", "two-periods", quantity="3", ago=timedelta(days=33))))
    _restart(running)
    _send(running, (3, usage("work-1", "two-periods", quantity="3")))

    assert total(running, "two-periods") == 3
    assert counted(running, "two-periods") == 1
    assert duplicates(running, "two-periods") == [(3, 2, offset)]


def test_case_08_the_same_id_with_another_payload_is_a_conflict_that_someone_sees(
    running: Deployment,
) -> None:
    offset = running.group.ends()[0]
    other = usage("work-1", "conflicts", quantity="999")
    _send(running, (0, usage("work-1", "conflicts", quantity="5")))
    _send(running, (1, other), (0, usage("work-1", "conflicts", quantity="5", region="eu")))

    assert total(running, "conflicts") == 5
    rows = running.query(
        "SELECT code, sentence, event FROM rejected_events FINAL"
        " WHERE customer_id = 'conflicts' ORDER BY partition"
    )
    assert [row[0] for row in rows] == [_CONFLICT, _CONFLICT]
    assert f"partition 0, offset {offset}, index 0" in rows[1][1]
    assert rows[1][2] == other.decode()


def test_case_10_the_same_id_from_two_customers_is_two_events(running: Deployment) -> None:
    _send(
        running,
        (0, usage("work-1", "shared-1")), (0, usage("work-1", "shared-2")),
        (0, usage("c", "a-b", "workflow_runs")), (0, usage("b-c", "a", "workflow_runs")),
        (1, usage("1", "meter-border", "seats")), (1, usage("1", "meter-border", "credits")),
    )  # fmt: skip

    assert [counted(running, name) for name in ("shared-1", "shared-2", "a-b", "a")] == [1] * 4
    assert counted(running, "meter-border") == 2


def test_case_12_an_event_older_than_the_lateness_never_shrinks_a_total(
    running: Deployment,
) -> None:
    meters = ("api_requests", "storage_gb", "documents_processed", "seats", "credits")
    ages = [timedelta(hours=hours) for hours in (30, 0, 29, 31, 30, 1)]
    highest: dict[tuple[str, str, datetime], Decimal] = {}
    for number, ago in enumerate(ages):
        events = [usage(f"w{number}", "late", m, quantity=str(9 - number), ago=ago) for m in meters]
        _send(running, *((0, event) for event in events))
        if number in (1, 4):
            _restart(running)
        for meter, window, quantity, aggregation in running.query(
            "SELECT l.meter, l.window_start, toString(l.quantity), any(t.aggregation)"
            " FROM live_usage AS l INNER JOIN usage_totals AS t USING (customer_id, meter,"
            " window_start) WHERE l.customer_id = 'late' GROUP BY 1, 2, 3"
        ):
            key = (aggregation, meter, window)
            if aggregation != "latest":
                assert Decimal(quantity) >= highest.get(key, Decimal(0)), key
            highest[key] = Decimal(quantity)

    assert total(running, "late") == 9 + 8 + 7 + 6 + 5 + 4
    assert total(running, "late", "documents_processed") == len(ages)
    assert counted(running, "late") == len(ages) * len(meters)
    flagged = running.query("SELECT countIf(late) FROM usage_events WHERE customer_id = 'late'")
    assert flagged[0][0] == 5 * len(meters)


def test_case_16_the_latest_of_two_at_one_instant_does_not_depend_on_the_order(
    running: Deployment,
) -> None:
    at = datetime.now(UTC)
    messages = []
    for number in range(12):
        a = usage("a", f"tie-{number}", "seats", quantity="1", at=at)
        b = usage("b", f"tie-{number}", "seats", quantity="2", at=at)
        first, second = (a, b) if number % 2 else (b, a)
        messages += [(0, first), (number % 4, second)]
    _send(running, *messages)

    expected = {f"tie-{number}": _winner(f"tie-{number}") for number in range(12)}
    assert {name: total(running, name, "seats") for name in expected} == expected
    assert set(expected.values()) == {1, 2}  # neither the first nor the last always wins
    _replay_all(running)
    assert {name: total(running, name, "seats") for name in expected} == expected


def test_case_17_decimals_are_exact_at_both_ends(running: Deployment) -> None:
    tenths = [(n, usage(f"t{n}", "tenths", "agent_minutes", quantity="0.1")) for n in range(3)]
    huge = [
        (0, usage("h1", "huge", "credits", quantity="1000000000000000000")),
        (1, usage("h2", "huge", "credits", quantity="0.000000000001")),
        (0, usage("h3", "huge", "credits", quantity="99999999999999999999.999999999999")),
    ]
    _send(running, *tenths, *huge)
    _restart(running)
    _send(running, (0, usage("h4", "huge", "credits", quantity="-99999999999999999999")))

    assert total(running, "tenths", "agent_minutes") == Decimal("0.3")
    assert total(running, "huge", "credits") == Decimal("1000000000000000001.000000000000")


def _winner(customer: str) -> int:
    """The rule, written down again: of two at one instant, the greater identity is the latest."""
    seed = identity_seed(os.environ.get("METERLINE_IDENTITY_KEY", "meterline"))
    ids = {
        identity(CUSTOMER, customer, meter="seats", event_id=event, seed=seed): quantity
        for event, quantity in (("a", 1), ("b", 2))
    }
    return ids[max(ids)]


def _replay_all(running: Deployment) -> None:
    running.workers[-1].stop()
    running.group.commit(dict.fromkeys(running.group.ends(), 0))
    running.start_worker().wait_ready()
    running.wait_drained()

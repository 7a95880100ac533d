"""The seeded load: the same for a seed, shared out as asked, and what its truth says it is."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from loadtest.defects import all_codes
from loadtest.outcome import Outcome
from loadtest.plan import Message, Plan, Shares
from loadtest.population import Population, partition_of
from loadtest.workload import Workload

_STARTED = datetime(2026, 3, 4, 10, 30, tzinfo=UTC)
_PLAN = Plan(events=20_000, customers=300, partitions=4)
_NOTHING = Shares(**dict.fromkeys(vars(Shares()), 0.0))


def _generated(plan: Plan = _PLAN, seed: int = 7) -> tuple[list[Message], Outcome]:
    workload = Workload(seed, plan, _STARTED)
    messages = list(workload)
    return messages, workload.truth.outcome()


def _only(events: int = 4_000, **shares: float) -> tuple[list[Message], Outcome]:
    return _generated(replace(_PLAN, events=events, shares=replace(_NOTHING, **shares)))


def _events(messages: list[Message]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = orjson.loads(message.value or b"null")
        yield from content if isinstance(content, list) else [content]


def test_the_same_seed_gives_the_same_bytes_and_the_same_truth() -> None:
    assert _generated() == _generated()


def test_another_seed_gives_another_load() -> None:
    assert _generated(seed=7) != _generated(seed=8)


@pytest.mark.parametrize("events", [1, 2, 999, 20_000])
def test_exactly_the_events_asked_for_are_made(events: int) -> None:
    messages, outcome = _generated(replace(_PLAN, events=events))
    assert outcome.accounted == events
    assert sum(message.events for message in messages) == events


def test_after_a_pause_events_occur_and_are_due_anew_and_repeat_nothing_from_before() -> None:
    plan = replace(_PLAN, shares=replace(_NOTHING, same_partition_duplicates=0.2))
    workload = Workload(7, plan, _STARTED)
    messages = iter(workload)
    before = [next(messages) for _ in range(2_000)]
    later = _STARTED + timedelta(hours=1)
    workload.go_on_at(later)
    after = list(messages)

    assert workload.truth.accounted == plan.events
    assert 0 < after[0].due_s < 0.01
    seconds = (plan.events - 2_000) / plan.events_per_second
    assert after[-1].due_s == pytest.approx(seconds)
    assert {message.value for message in before}.isdisjoint(message.value for message in after)
    for message, event in zip(after, _events(after), strict=True):
        occurred = datetime.fromisoformat(event["occurred_at"])
        assert message.due_s + (later - occurred).total_seconds() < 65


def test_shares_are_as_asked() -> None:
    shares = replace(Shares(), conflicts=0.02, suppressed=0.03, disregarded=0.04, future=0.02)
    messages, outcome = _generated(replace(_PLAN, events=60_000, shares=shares))
    fresh = 1 - 0.06 - 0.02 - 0.03 - 0.04 - 0.02 - 0.015
    measured = {
        "duplicates": (outcome.duplicates, 0.06 + 0.1 * 0.01),
        "conflicts": (outcome.conflicts, 0.02),
        "suppressed": (outcome.suppressed, 0.03),
        "disregarded": (outcome.disregarded, 0.04),
        "late": (outcome.late, 0.08 * (fresh + 0.04)),
        "rejected": (outcome.rejected_without_conflicts, 0.015 + 0.02 + 0.1 * 0.01),
        "in arrays": (sum(m.events for m in messages if (m.value or b"")[:2] == b"[{"), 0.1),
    }
    for name, (count, share) in measured.items():
        assert count == pytest.approx(60_000 * share, rel=0.12), name


def test_a_load_of_fresh_events_only_is_accepted_whole() -> None:
    messages, outcome = _only()
    assert outcome.accepted == len(messages) == sum(t.events for t in outcome.totals.values())
    assert (outcome.late, outcome.rejected) == (0, {})


def test_copies_for_the_same_partition_come_after_what_they_repeat() -> None:
    messages, outcome = _only(same_partition_duplicates=0.3)
    values = Counter((message.partition, message.value) for message in messages)
    assert sum(values.values()) - len(values) == outcome.duplicates > 1_000


def test_copies_for_another_partition_say_exactly_the_same() -> None:
    messages, outcome = _only(other_partition_duplicates=0.3)
    partitions = defaultdict(set)
    for message in messages:
        partitions[message.value].add(message.partition)
    assert len(partitions) == outcome.accepted
    assert sum(len(places) > 1 for places in partitions.values()) > 500


def test_nothing_unique_counted_is_copied_to_another_partition() -> None:
    messages, _ = _only(other_partition_duplicates=0.5)
    home = {
        message.partition == partition_of(message.key.decode(), _PLAN.partitions)
        for message in messages
        if b"active_users" in (message.value or b"")
    }
    assert home == {True}


def test_restamped_copies_keep_identity_and_quantity_and_change_the_time() -> None:
    messages, outcome = _only(restamped_duplicates=0.3)
    by_id = defaultdict(set)
    for event in _events(messages):
        by_id[
            event["customer_id"] if "customer_id" in event else event["subject"],
            event["id"],
            event["meter"],
        ].add((float(event.get("quantity", 1)), event["occurred_at"]))
    assert len(by_id) == outcome.accepted
    repeated = [said for said in by_id.values() if len(said) > 1]
    assert len(repeated) > 500
    assert all(len({quantity for quantity, _ in said}) == 1 for said in repeated)


def test_conflicts_repeat_an_identity_with_another_quantity_later_in_the_partition() -> None:
    messages, outcome = _only(conflicts=0.1)
    first: dict[tuple[str, str, str], float] = {}
    conflicts = 0
    for event in _events(messages):
        key = (event.get("customer_id") or event["subject"], event["id"], event["meter"])
        quantity = float(event.get("quantity", 1))
        conflicts += first.setdefault(key, quantity) != quantity
    # Among quintillions, a float does not see one more unit.
    assert conflicts == pytest.approx(outcome.conflicts, rel=0.03)


def test_late_events_are_clearly_late_and_the_others_clearly_are_not() -> None:
    messages, outcome = _only(late=0.5)
    delays = []
    for message, event in zip(messages, _events(messages), strict=True):
        occurred = datetime.fromisoformat(event["occurred_at"])
        delays.append(message.due_s + (_STARTED - occurred).total_seconds())
    late = [delay for delay in delays if delay > 300]
    assert len(late) == outcome.late
    assert min(late) > 590
    assert max(delay for delay in delays if delay <= 300) < 65


def test_late_events_spread_over_several_windows() -> None:
    _, outcome = _only(late=0.5)
    assert len({key.window_start for key in outcome.totals}) >= 6


def test_every_kind_of_defect_occurs() -> None:
    _, outcome = _only(events=30_000, malformed=1.0)
    assert outcome.accepted == 0
    assert outcome.rejected.keys() == all_codes()


def test_all_shapes_and_ways_to_name_a_customer_occur() -> None:
    messages, _ = _only(cloud_events=0.3, camel_case=0.3)
    seen = Counter(name for event in _events(messages) for name in event)
    assert {"id", "idempotencyKey", "specversion", "organizationId", "customerId"} <= seen.keys()
    assert {"subject", "workspaceId", "occurredAt", "timestamp", "time"} <= seen.keys()


def test_an_event_is_about_250_bytes() -> None:
    messages, _ = _only(late=0.1)
    sizes = [len(message.value or b"") for message in messages]
    assert 220 <= sum(sizes) / len(sizes) <= 300


def test_a_partition_follows_from_the_customer_alone() -> None:
    names = Population(2_000).names
    assert len(set(names)) == 2_000
    shares = Counter(partition_of(name, 4) for name in names)
    assert min(shares.values()) > 400

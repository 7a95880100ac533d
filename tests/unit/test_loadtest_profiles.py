"""Every workload profile: its truth is what a slow count of its messages comes to."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import orjson
import pytest

from loadtest.load.making import Chunk, Load, LoadMaker
from loadtest.load.profiles import PROFILES, Mix
from loadtest.load.schedule import Schedule
from loadtest.load.sums import Sums
from loadtest.outcome import CONFLICT_CODE, Outcome, Total, TotalKey
from loadtest.population import partition_of

_BEGAN_S = 1_767_268_790  # ten seconds before an hour: events on time fall into two windows
_PARTITIONS = 4
#: Late is at least ten minutes, and within six hours; on time is within a minute.
_LATE_S, _LATE_S_MAX, _ON_TIME_S_MAX = 600, 6 * 3600 + 1, 61


class _Sent(NamedTuple):
    key: str
    value: bytes | None
    partition: int
    tick: int


def _made(name: str, *, seed: int = 5, rate: int = 2_000, seconds: int = 6) -> LoadMaker:
    profile = replace(PROFILES[name], customers=300)
    schedule = Schedule(rate, seconds, profile.bursts)
    return LoadMaker(Load(profile, schedule, seed, _PARTITIONS, "lt0", _BEGAN_S))


def _messages(chunks: list[Chunk]) -> list[_Sent]:
    return [
        _Sent(key.decode(), value, partition, tick)
        for chunk in chunks
        for key, value, partition, tick in zip(
            chunk.keys, chunk.values, chunk.partitions, chunk.ticks.tolist(), strict=True
        )
    ]


def _event(message: _Sent) -> dict[str, Any] | None:
    """The usage event, if it is one that this load makes when it makes a sound one."""
    if message.value is None or not message.value.startswith(b'{"id":"evt-'):
        return None
    event: dict[str, Any] = orjson.loads(message.value)
    return event


def _counted(messages: list[_Sent]) -> Outcome:
    """By reading every message in order, one at a time."""
    payloads: dict[tuple[str, str, str], tuple[Decimal, str]] = {}
    totals: dict[TotalKey, Total] = defaultdict(lambda: Total(Decimal(0), 0))
    duplicates = conflicts = late = 0
    for message in messages:
        event = _event(message)
        if event is None:
            continue
        identity = (event["customer_id"], event["meter"], event["id"])
        quantity = _quantity(message)
        payload = (quantity, orjson.dumps(event["dimensions"]).decode())
        if identity in payloads:
            duplicates += payloads[identity] == payload
            conflicts += payloads[identity] != payload
            continue
        payloads[identity] = payload
        occurred = datetime.fromisoformat(event["occurred_at"])
        late += _BEGAN_S + message.tick // 100 - int(occurred.timestamp()) >= _LATE_S
        window = int(occurred.replace(minute=0, second=0, microsecond=0).timestamp())
        region = event["dimensions"]["region"]
        group = f'{{"region":"{region}"}}' if event["meter"] == "api_requests" else "{}"
        key = TotalKey(event["customer_id"], event["meter"], group, window)
        totals[key] = Total(totals[key].quantity + quantity, totals[key].events + 1)
    return Outcome(
        accepted=len(payloads), duplicates=duplicates, late=late,
        rejected={CONFLICT_CODE: conflicts} if conflicts else {}, totals=dict(totals),
    )  # fmt: skip


def _quantity(message: _Sent) -> Decimal:
    """As it is written, digit for digit."""
    assert message.value is not None
    text = message.value.decode().partition('"quantity":')[2]
    return Decimal(text.partition(",")[0])


@pytest.mark.parametrize("name", PROFILES)
def test_the_truth_is_what_the_messages_come_to(name: str) -> None:
    maker = _made(name)
    messages = _messages(list(maker))
    truth, counted = maker.outcome(), _counted(messages)
    assert truth.accounted == len(messages) == 12_000
    assert (truth.accepted, truth.duplicates, truth.conflicts, truth.late) == (
        counted.accepted, counted.duplicates, counted.conflicts, counted.late,
    )  # fmt: skip
    assert truth.rejected_without_conflicts == sum(not _event(each) for each in messages)
    assert truth.totals == counted.totals


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_what_its_name_says(name: str) -> None:
    maker = _made(name)
    messages = _messages(list(maker))
    truth, events = maker.outcome(), len(messages)
    customers = Counter(each.key for each in messages).most_common()
    assert truth.rejected_without_conflicts / events == pytest.approx(
        0.3 if name == "malformed-heavy" else 0.002, rel=0.5
    )
    assert truth.duplicates / events == pytest.approx(
        0.4 if name == "duplicate-heavy" else 0.01, rel=0.5
    )
    assert (truth.late or 0) / truth.accepted == pytest.approx(
        0.3 if name == "late-heavy" else 0.01, rel=0.5
    )
    largest = {"one-giant-customer": 0.6, "skewed": 0.21}.get(name, 0.005)
    assert customers[0][1] / events == pytest.approx(largest, rel=0.3)
    sample = next(event for each in messages if (event := _event(each)))
    assert len(sample["dimensions"]) == (16 if name == "wide-dimensions" else 3)


def test_late_is_clearly_late_and_on_time_clearly_not() -> None:
    for message in _messages(list(_made("late-heavy"))):
        event = _event(message)
        if event is not None:
            occurred = datetime.fromisoformat(event["occurred_at"]).timestamp()
            ago = _BEGAN_S + message.tick // 100 - int(occurred)
            assert -1 <= ago <= _ON_TIME_S_MAX or _LATE_S <= ago <= _LATE_S_MAX


def test_a_copy_comes_after_its_original_and_only_exact_ones_go_elsewhere() -> None:
    first: dict[tuple[str, str], _Sent] = {}
    elsewhere = restamped = 0
    for message in _messages(list(_made("duplicate-heavy"))):
        event = _event(message)
        if event is None:
            continue
        home = partition_of(event["customer_id"], _PARTITIONS)
        original = first.setdefault((event["customer_id"], event["id"]), message)
        if original is message:
            assert message.partition == home
        elif message.partition != home:
            elsewhere += 1
            assert message.value == original.value
        else:
            restamped += _moment(message) != _moment(original)
    assert min(elsewhere, restamped) > 100


def _moment(message: _Sent) -> str:
    event = _event(message)
    assert event is not None
    return str(event["occurred_at"])


def test_the_same_load_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (
        _messages(list(_made("steady", seed=seed, rate=500))) for seed in (5, 5, 6)
    )
    assert first == again != other


def test_every_code_of_a_malformed_load_is_one_of_the_documented() -> None:
    maker = _made("malformed-heavy")
    list(maker)
    assert len(maker.outcome().rejected) > 25


def test_shares_of_a_mix_are_below_one() -> None:
    for profile in PROFILES.values():
        mix: Mix = profile.mix
        shares = (mix.repeated, mix.elsewhere, mix.restamped, mix.conflicts, mix.malformed)
        assert sum(shares) < 1


def test_sums_that_are_folded_in_between_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.load.sums._LOOSE_MAX", 7)
    sums, expected, counts = Sums(), Counter[int](), Counter[int]()
    random = np.random.default_rng(3)
    for _ in range(20):
        keys, values = random.integers(0, 9, 5), random.integers(0, 10**15, 5)
        sums.add(keys, values)
        for key, value in zip(keys.tolist(), values.tolist(), strict=True):
            expected[key] += value
            counts[key] += 1
    keys, values, found = (column.tolist() for column in sums.columns())
    assert dict(zip(keys, values, strict=True)) == expected
    assert dict(zip(keys, found, strict=True)) == counts
    assert datetime.fromtimestamp(_BEGAN_S, UTC).minute == 59

"""Claims in large batches: what tables, or transactions and the script together, say; as a dict."""

from datetime import timedelta
from random import Random
from typing import Any

import numpy as np
import pytest

from metering.batch import Source
from metering.catalog_load import load_catalog
from metering.claims import Claim, ClaimAnswers, Claims
from metering.errors import AssignmentLost, DedupMemoryLost
from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse
from sinks.dedup_adopt import adopt_memory, layout_of
from sinks.dedup_connection import connect_redis
from sinks.dedup_memory import RedisDedupMemory

_BATCH = 6_000  # in two shards: beyond what one transaction takes, some stay for the script
_WINDOW = timedelta(hours=1)
_BEGAN_MS = 1_800_000_000_000

Coordinate = tuple[int, int]  # partition, offset


def _attach(settings: Settings) -> RedisDedupMemory:
    client = connect_clickhouse(settings)
    try:
        return adopt_memory(settings, client, load_catalog(settings.catalog))
    finally:
        client.close()


@pytest.fixture
def small(either: Settings) -> Settings:
    return either.model_copy(
        update={"dedup_shards": 1, "dedup_window": _WINDOW, "dedup_events_max": 20_000}
    )


def _claims(source: Source, numbers: list[int], first_offset: int, record_ms: int) -> Claims:
    identities = b"".join(Random(number).randbytes(16) for number in numbers)
    n = len(numbers)
    return Claims(
        source, np.frombuffer(identities, np.uint64).reshape(-1, 2),
        np.arange(first_offset, first_offset + n), np.zeros(n, np.int64),
        np.array([number % 7 for number in numbers], np.uint32), record_ms,
    )  # fmt: skip


def _prime(memory: RedisDedupMemory, source: Source) -> None:
    """Let the script lay out the generation; from then on transactions do the work."""
    for number in (10**12, 10**12 + 1):
        memory.claim(_claims(source, [number], 0, _BEGAN_MS))


class _Dict:
    """Who holds what, in two generations; all payloads of a number are the same."""

    def __init__(self) -> None:
        self._held: dict[int, dict[int, Coordinate]] = {}

    def claim(self, window: int, number: int, by: Coordinate) -> tuple[Claim, Coordinate]:
        newest = self._held.setdefault(window, {})
        owner = self._held.get(window - 1, {}).get(number) or newest.get(number)
        if owner is None or owner == by:
            newest.setdefault(number, by)
        if owner is None:
            return Claim.FIRST, by
        return (Claim.OWN if owner == by else Claim.DUPLICATE), owner


def _told(answers: ClaimAnswers) -> list[tuple[int, Coordinate]]:
    owners = zip(answers.owner_partitions.tolist(), answers.owner_offsets.tolist(), strict=True)
    return list(zip(answers.statuses.tolist(), owners, strict=True))


@pytest.mark.parametrize("copies", [0.02, 0.6])
def test_every_claim_is_answered_as_by_a_dict(small: Settings, copies: float) -> None:
    chance = Random(7)
    memory = _attach(small)
    truth = _Dict()
    sources = [memory.begin("s", partition) for partition in range(2)]
    known: list[int] = []
    offsets = [0, 0]
    for batch in range(12):
        partition = batch % 2
        record_ms = _BEGAN_MS + batch // 4 * int(_WINDOW / timedelta(milliseconds=1))
        memory.oldest_covered_ms(record_ms)
        memory.all_written()
        numbers = [
            chance.choice(known) if known and chance.random() < copies else chance.getrandbits(60)
            for _ in range(_BATCH)
        ]
        if batch % 5 == 4:  # the worker before wrote none of its last batch: it comes again
            offsets[partition] -= _BATCH
            numbers = known[-2 * _BATCH : -_BATCH]
        known += numbers
        claims = _claims(sources[partition], numbers, offsets[partition], record_ms)
        window = record_ms // int(_WINDOW / timedelta(milliseconds=1))
        expected = [
            truth.claim(window, number, (partition, offsets[partition] + at))
            for at, number in enumerate(numbers)
        ]
        assert _told(memory.claim(claims)) == expected, batch
        offsets[partition] += _BATCH
    memory.close()


def test_an_assignment_that_began_since_the_last_claims_is_seen(small: Settings) -> None:
    memory, successor = _attach(small), _attach(small)
    source = memory.begin("s", 0)
    numbers = list(range(3 * _BATCH))
    _prime(memory, source)
    memory.claim(_claims(source, numbers[:_BATCH], 0, _BEGAN_MS))
    newer = successor.begin("s", 0)
    with pytest.raises(AssignmentLost):
        memory.claim(_claims(source, numbers[_BATCH : 2 * _BATCH], _BATCH, _BEGAN_MS))
    found = successor.claim(_claims(newer, numbers[_BATCH:], _BATCH, _BEGAN_MS))
    assert set(found.statuses.tolist()) == {Claim.FIRST}, "the refused ones took nothing"
    memory.close()
    successor.close()


def test_a_marker_that_was_taken_out_since_the_last_claims_is_seen(small: Settings) -> None:
    memory = _attach(small)
    source = memory.begin("s", 0)
    _prime(memory, source)
    memory.claim(_claims(source, list(range(100)), 0, _BEGAN_MS))
    state = layout_of(small).state_key(0)
    server: Any = connect_redis(small.redis_url.get_secret_value())
    server.hdel(state, "marker")
    with pytest.raises(DedupMemoryLost):
        memory.claim(_claims(source, list(range(100, 200)), 100, _BEGAN_MS))
    held = sum(_held(server, key) for key in server.scan_iter(f"{state}:5*"))
    assert held == 102, "nothing was claimed in a memory that is not in force"
    server.close()
    memory.close()


def _held(server: Any, key: bytes) -> int:
    """Claims in a bucket, or in a table of buckets."""
    if server.type(key) == b"hash":
        return int(server.hlen(key))
    return int(server.execute_command("METERLINE.TABLE", key)[0])

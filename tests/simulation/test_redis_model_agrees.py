"""The simulated dedup memory answers as Redis and its scripts do, call by call."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from random import Random

import numpy as np
import pytest
from simulator.adopt_model import Adopter
from simulator.clickhouse_model import ClickHouseServer
from simulator.clickhouse_reads import SimReads
from simulator.redis_model import SHARDS, RedisServer
from simulator.traffic import CATALOG, START_MS, STREAM
from simulator.turns import Faults, Turns

from metering.batch import Source
from metering.claims import ClaimAnswers, Claims, DedupStore
from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse
from sinks.dedup_adopt import adopt_memory
from sinks.dedup_connection import connect_redis

WINDOW = timedelta(hours=1)
OPERATIONS = 150
IDENTITIES = [Random(at).randbytes(16) for at in range(24)]

Told = tuple[object, ...]


@pytest.fixture
def small(settings: Settings) -> Settings:
    return settings.model_copy(update={"dedup_shards": SHARDS, "dedup_window": WINDOW})


@pytest.fixture
def memories(small: Settings) -> Iterator[Callable[[], tuple[DedupStore, DedupStore]]]:
    """Attaches to both: the real memory and the simulated one."""
    client = connect_clickhouse(small)
    turns = Turns(Random(0), Faults({}, {}, 0.0, 1), now_ms=START_MS)
    server, reads = RedisServer(turns), SimReads(turns, ClickHouseServer(turns))
    window_ms = WINDOW // timedelta(milliseconds=1)

    def attach() -> tuple[DedupStore, DedupStore]:
        model = Adopter(turns, server, reads, window_ms=window_ms).adopt()
        return adopt_memory(small, client, CATALOG), model

    yield attach
    client.close()


@pytest.mark.parametrize("seed", range(6))
def test_answers_are_the_same(
    seed: int, memories: Callable[[], tuple[DedupStore, DedupStore]], small: Settings
) -> None:
    rng = Random(seed)
    pairs = [memories(), memories()]
    now_ms = START_MS
    sources = [Source(STREAM, 0, 1), Source(STREAM, 1, 1)]
    for _ in range(OPERATIONS):
        now_ms += rng.choice([0, 1000, 600_000, rng.choice([0, 0, 0, 4_000_000])])
        at = rng.randrange(len(pairs))
        ask = _draw(rng, sources, now_ms)
        real, model = (_told(ask, store) for store in pairs[at])
        assert model == real, ask
        if isinstance(real[0], Source):
            sources.append(real[0])
        if real[0] in ("ClaimsForgotten", "DedupMemoryLost"):
            pairs[at] = memories()
    assert _entries(small) > 0


def _draw(rng: Random, sources: list[Source], now_ms: int) -> Callable[[DedupStore], object]:
    kind = rng.choice(["begin", "claim", "claim", "claim", "claim", "owned", "stale", "covered"])
    record_ms = now_ms - rng.choice([0, 0, 0, 3_000_000])
    if kind == "begin":
        return partial(_begin, partition=rng.randrange(2))
    if kind == "stale":
        return partial(_stale, sources=rng.sample(sources, 2))
    if kind == "covered":
        return partial(_covered, record_ms=record_ms)
    source = rng.choice(sources[-3:])
    some = rng.choices(IDENTITIES, k=rng.randint(1, 6))
    n = len(some)
    claims = Claims(
        source,
        np.frombuffer(b"".join(some), np.uint64).reshape(-1, 2),
        np.sort(np.array([rng.randrange(60) for _ in range(n)], np.int64)),
        np.array([rng.randrange(3) for _ in range(n)], np.int64),
        np.array([rng.randrange(2) for _ in range(n)], np.uint32),
        record_ms,
    )
    return partial(_owned if kind == "owned" else _claim, claims=claims)


def _begin(store: DedupStore, *, partition: int) -> object:
    return store.begin(STREAM, partition)


def _stale(store: DedupStore, *, sources: list[Source]) -> object:
    return store.stale(sources)


def _covered(store: DedupStore, *, record_ms: int) -> object:
    return store.oldest_covered_ms(record_ms)


def _claim(store: DedupStore, *, claims: Claims) -> object:
    """As the deduplicator does: coverage first, and again when it has moved."""
    store.oldest_covered_ms(claims.record_ms)
    return store.claim(claims)


def _owned(store: DedupStore, *, claims: Claims) -> object:
    return tuple(store.owned(claims).tolist())


def _told(ask: Callable[[DedupStore], object], store: DedupStore) -> Told:
    try:
        answer = ask(store)
    except Exception as error:  # noqa: BLE001 - the kind of error is the answer
        return (type(error).__name__,)
    if isinstance(answer, ClaimAnswers):
        return tuple(
            tuple(column.tolist())
            for column in (
                answer.statuses, answer.owner_partitions, answer.owner_offsets,
                answer.owner_indexes,
            )
        )  # fmt: skip
    return (answer,)


def _entries(settings: Settings) -> int:
    server = connect_redis(settings.redis_url.get_secret_value())
    count = sum(1 for _ in server.scan_iter(f"{settings.redis_prefix}:{{d*"))
    server.close()
    return count

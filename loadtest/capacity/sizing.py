"""From costs per event to how many of everything a rate needs.

Every part is a number of equal units, each with a limit in events/s:

    worker      utilisation / CPU under the interpreter's lock: one of its threads runs at a time
    Redis       utilisation / CPU of its one thread; or its memory / (bytes of an event x window)
    ClickHouse  cores of a server x utilisation / CPU of inserts and merges
    Kafka       cores of a broker x utilisation / CPU; or its network

A rate needs rate / limit of them, rounded up. What no unit more helps is a `Limit`: told apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from loadtest.capacity.costs import Costs

DAY_S = 86_400
_US = 1e6
#: What is sized to meet a limit meets it, however its quotient is rounded.
_EXACTLY = 1 + 1e-9
#: Generations of the dedup memory that are kept: the newest and the one before it.
GENERATIONS = 2


@dataclass(frozen=True)
class Assumptions:
    """What is not measured. Durations are in days and seconds, sizes in bytes."""

    utilisation: float = 0.6
    window_days: float = 1.0
    kafka_replicas: int = 3
    redis_replicas: int = 2
    clickhouse_replicas: int = 2
    kafka_retention_days: float = 7.0
    machine_cores: int = 16
    machine_memory_bytes: int = 64 << 30
    machine_network_bytes: float = 1.25e9
    redis_process_bytes: int = 24 << 30
    redis_masters_max: int = 1000
    partitions_per_worker: int = 4
    inserts_per_second_max: float = 10.0
    flush_wait_s: float = 0.4
    flush_rows_max: int = 300_000


class Need(NamedTuple):
    """One part of a deployment: `exact` units before rounding up, what they hold, machines."""

    part: str
    why: str
    exact: float
    units: int
    copies: int
    cores: float
    memory_bytes: float
    machines: int


class Limit(NamedTuple):
    """What more units do not lift: how much is asked, and what is assumed to be the most."""

    what: str
    asked: float
    most: float
    instead: str

    @property
    def is_passed(self) -> bool:
        """More is asked than is assumed to go."""
        return self.asked > self.most * _EXACTLY


@dataclass(frozen=True)
class Sizing:
    """Everything that one rate (events/s) needs; storage is in bytes a day, copies included."""

    rate: float
    needs: tuple[Need, ...]
    limits: tuple[Limit, ...]
    partitions: int
    dedup_bytes: float
    flush_wait_s: float
    kafka_day_bytes: float
    kafka_bytes: float
    raw_day_bytes: float
    totals_day_bytes: float

    def need(self, part: str) -> Need:
        """One part by its name."""
        return next(each for each in self.needs if each.part == part)

    @property
    def machines(self) -> int:
        """Of all parts."""
        return sum(each.machines for each in self.needs)

    @property
    def cores(self) -> float:
        """Of all parts, at the assumed utilisation."""
        return sum(each.cores for each in self.needs)

    @property
    def first_bottleneck(self) -> str:
        """A limit that is passed; else the part of which most are needed: one is full soonest."""
        passed = [each for each in self.limits if each.is_passed]
        if passed:
            return max(passed, key=lambda each: each.asked / each.most).what
        return max(self.needs, key=lambda each: each.exact).why


def worker_limit(costs: Costs, given: Assumptions) -> float:
    """Events/s of one worker, and so of one partition and of one customer."""
    return given.utilisation * _US / costs.worker_locked_us


def size(costs: Costs, given: Assumptions, *, rate: float) -> Sizing:
    """What `rate` events/s, sustained all day, need."""
    workers = _workers(costs, given, rate=rate)
    redis, dedup_bytes = _redis(costs, given, rate=rate)
    clickhouse = _clickhouse(costs, given, rate=rate)
    partitions = workers.units * given.partitions_per_worker
    wait_s, inserts = _flushes(given, rate, workers=workers.units)
    limits = (
        Limit("ClickHouse: inserts into each shard a second", inserts,
              given.inserts_per_second_max,
              "run deployments side by side by customer, or raise METERLINE_FLUSH_ROWS_MAX"),
        Limit("Redis Cluster: masters", redis.units, given.redis_masters_max,
              "shorten METERLINE_DEDUP_WINDOW, or run deployments side by side by customer"),
    )  # fmt: skip
    kafka_day = rate * DAY_S * costs.kafka_bytes * given.kafka_replicas
    return Sizing(
        rate=rate,
        needs=(workers, redis, clickhouse, _kafka(costs, given, rate=rate)),
        limits=limits,
        partitions=partitions,
        dedup_bytes=dedup_bytes,
        flush_wait_s=wait_s,
        kafka_day_bytes=kafka_day,
        kafka_bytes=kafka_day * given.kafka_retention_days,
        raw_day_bytes=rate * DAY_S * costs.raw_bytes * given.clickhouse_replicas,
        totals_day_bytes=rate * DAY_S * costs.totals_bytes * given.clickhouse_replicas,
    )


def _workers(costs: Costs, given: Assumptions, *, rate: float) -> Need:
    exact = rate / worker_limit(costs, given)
    units = math.ceil(exact)
    cores = rate * costs.worker_us / _US / given.utilisation
    memory = units * costs.worker_memory_bytes
    return Need(
        "workers", "worker: the thread of its partitions", exact, units, 1, cores, memory,
        _machines(given, cores=cores, memory_bytes=memory),
    )  # fmt: skip


def _redis(costs: Costs, given: Assumptions, *, rate: float) -> tuple[Need, float]:
    memory = rate * DAY_S * given.window_days * GENERATIONS * costs.redis_bytes
    by_memory = memory / given.redis_process_bytes
    by_thread = rate * costs.redis_us / _US / given.utilisation
    why = "Redis: memory of the dedup window" if by_memory > by_thread else "Redis: its one thread"
    exact = max(by_memory, by_thread)
    units = math.ceil(exact)
    cores = by_thread * given.redis_replicas
    # A process leaves as much free beside its data as a third of it, for copies to its replica.
    taken = units * given.redis_replicas * min(given.redis_process_bytes, memory / units) * 4 / 3
    return Need(
        "Redis masters", why, exact, units, given.redis_replicas, cores, taken,
        _machines(given, cores=cores, memory_bytes=taken),
    ), memory  # fmt: skip


def _clickhouse(costs: Costs, given: Assumptions, *, rate: float) -> Need:
    cores = rate * (costs.clickhouse_us + costs.clickhouse_merges_us) / _US / given.utilisation
    exact = cores / given.machine_cores
    units = math.ceil(exact)
    servers = units * given.clickhouse_replicas
    return Need(
        "ClickHouse shards", "ClickHouse: cores that insert and merge", exact, units,
        given.clickhouse_replicas, cores * given.clickhouse_replicas,
        float(servers * given.machine_memory_bytes), servers,
    )  # fmt: skip


def _kafka(costs: Costs, given: Assumptions, *, rate: float) -> Need:
    """Every replica writes an event; followers and the workers read it from its leader."""
    cost = given.kafka_replicas * (costs.kafka_write_us + costs.kafka_read_us)
    cores = rate * cost / _US / given.utilisation
    sent = rate * costs.kafka_bytes * 2 * given.kafka_replicas
    by_cores = cores / given.machine_cores
    by_network = sent / (2 * given.machine_network_bytes * given.utilisation)
    why = "Kafka: network of a broker" if by_network > by_cores else "Kafka: cores of a broker"
    exact = max(by_cores, by_network)
    units = max(math.ceil(exact), given.kafka_replicas)
    return Need(
        "Kafka brokers", why, exact, units, 1, cores, float(units * given.machine_memory_bytes),
        units,
    )  # fmt: skip


def _flushes(given: Assumptions, rate: float, *, workers: int) -> tuple[float, float]:
    """How long flushes must gather, and how many then reach each shard every second.

    As if one deployment had all shards, with customers of each partition on every one: each flush
    of each worker is an insert there. Side by side each has the inserts of its own workers only.
    """
    longest_s = given.flush_rows_max * workers / rate
    wait_s = max(given.flush_wait_s, min(workers / given.inserts_per_second_max, longest_s))
    return wait_s, workers / wait_s


def _machines(given: Assumptions, *, cores: float, memory_bytes: float) -> int:
    return math.ceil(
        max(cores / given.machine_cores, memory_bytes / given.machine_memory_bytes)
    )  # fmt: skip

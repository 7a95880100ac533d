"""One worker: the steps, wired to real servers, from one adopted dedup memory to one shutdown.

A worker is built, runs until it is told to stop or something fails, and is thrown away; the
runner builds the next. Nothing survives in it, because everything that counts is in ClickHouse.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache, wraps
from typing import TypeVar

from dataflows.accounting import Accountant
from dataflows.assignments import Assignments
from dataflows.catalog_watch import rating_of
from dataflows.claim_queue import ClaimQueue
from dataflows.decode_ahead import DecodeAhead, Decoding
from dataflows.dedup import Decided, Deduplicator
from dataflows.flusher import Flusher
from dataflows.health import Health
from dataflows.kafka_reader import KafkaReader, kafka_config
from dataflows.ledger import Ledger, LedgerPlan
from dataflows.measures import Measures
from dataflows.outcome import Outcome
from dataflows.source import UsageReader
from dataflows.stage_threads import StageThread
from dataflows.watermark import Watermarks
from metering.batch import EventBatch, Source, Tick
from metering.decode import Decoder
from metering.flush import Flush
from metering.identity import identity_seed
from metering.settings import Settings
from rating_engine.price_book.book import PriceBook
from sinks.clickhouse import connect_clickhouse
from sinks.dedup_adopt import adopt_memory
from sinks.history import ClickHouseHistory
from sinks.progress import Progress
from sinks.rejected_topic import KafkaRejectedTopic
from sinks.totals_store import ClickHouseTotals
from sinks.usage_sink import UsageSink

In = TypeVar("In")
Out = TypeVar("Out")

#: What a fault test has done to a worker that reaches a step of a write, by variable.
_FAULTS = {
    "METERLINE_KILL_BEFORE_STEP": signal.SIGKILL,
    "METERLINE_FREEZE_BEFORE_STEP": signal.SIGSTOP,
}


def _step(
    name: str,
) -> Callable[[Callable[["Worker", In], list[Out]]], Callable[["Worker", In], list[Out]]]:
    """Measure a step and keep its error: the flow then ends at the source, in good order.

    After the first error every step does nothing, since an error that crosses the engine would
    abort it; the runner raises what was kept.
    """

    def wrap(step: Callable[["Worker", In], list[Out]]) -> Callable[["Worker", In], list[Out]]:
        @wraps(step)
        def run(worker: "Worker", item: In) -> list[Out]:
            if worker.failure is not None:
                return []
            began, cpu_began = time.perf_counter(), time.thread_time()
            try:
                return step(worker, item)
            except BaseException as error:  # noqa: BLE001 - kept, and raised by the runner
                worker.failure = error
                return []
            finally:
                worker.spent(name, time.perf_counter() - began)
                worker.spent_cpu(name, time.thread_time() - cpu_began)

        return run

    return wrap


class Worker:
    """The steps of one worker. All but decoding, claims and flushes happens in one thread."""

    def __init__(
        self, settings: Settings, book: PriceBook, stream: str, health: Health, *,
        is_stopping: Callable[[], bool], accepted_gaps: dict[int, int] | None = None,
        fails_loudly: bool = False,
    ) -> None:  # fmt: skip
        """Connect, and adopt the dedup memory. Raises `DependencyDown`.

        With `fails_loudly` an error is raised into the engine, which then aborts; without, the
        flow just ends and `failure` holds it.
        """
        self._settings = settings
        catalog = book.catalog
        self._stream = stream
        self._health = health
        self._measures = Measures(health.metrics, settings.allowed_lateness)
        self._is_stopping = is_stopping
        self._accepted_gaps = accepted_gaps or {}
        self._fails_loudly = fails_loudly
        # One client for each thread: the flow's, the claims', the flushes', the windows'.
        self._clients = [connect_clickhouse(settings) for _ in range(4)]
        reads, looks_up, writes, beside = self._clients
        self._memory = adopt_memory(settings, reads, catalog, say=health.wait)
        self._assignments = Assignments()
        self._kafka: KafkaReader | None = None
        self._reader: UsageReader | None = None
        self.failure: BaseException | None = None
        self._is_done = False
        self._decodes = DecodeAhead(
            Decoder(catalog, settings), StageThread("decode", self.spent_cpu)
        )
        self._ledger = Ledger(
            catalog, ClickHouseTotals(reads, beside), units_max=settings.ledger_units_max,
            rating=rating_of(book), executor=StageThread("windows", self.spent_cpu),
        )  # fmt: skip
        seed = identity_seed(settings.identity_key.get_secret_value())
        history = ClickHouseHistory(looks_up)
        is_current = self._assignments.is_current
        self._claims = ClaimQueue(
            Deduplicator(
                catalog, self._memory, history, seed, future_tolerance=settings.future_tolerance
            ), is_current,
            in_flight_max=settings.claims_in_flight_max,
            executor=StageThread("claims", self.spent_cpu),
        )  # fmt: skip
        self._sink = UsageSink(
            writes, self._memory, self,
            KafkaRejectedTopic(kafka_config(settings), settings.rejected_topic),
            still_ours=is_current, before_step=_stop_before_step(),
        )  # fmt: skip
        watermarks = Watermarks(settings.allowed_lateness)
        self._flusher = Flusher(
            self._ledger, self, steady_ms, rows_max=settings.flush_rows_max,
            wait_ms=self._flush_wait_ms, is_current=is_current,
            executor=StageThread("flush", self.spent_cpu),
        )  # fmt: skip
        self._accountant = Accountant(
            self._ledger, watermarks, self._flusher, is_current=is_current,
            on_outcome=self._count,
        )  # fmt: skip
        self._progress = Progress(reads)

    def spent(self, stage: str, seconds: float) -> None:
        """A stage took so long."""
        self._health.metrics.stage_seconds.labels(stage).inc(seconds)

    def spent_cpu(self, stage: str, seconds: float) -> None:
        """A stage used so much of a core; called by the thread that it is on."""
        self._health.metrics.stage_cpu_seconds.labels(stage).inc(seconds)

    def read(self) -> list[Decoding | Tick]:
        """Step `source`. Raises `StopIteration` after the last tick, or when a step failed."""
        if self.failure is not None and self._fails_loudly:
            raise self.failure
        if self.failure is not None or self._is_done:
            raise StopIteration
        return self._read(None)

    @_step("source")
    def _read(self, _item: None) -> list[Decoding | Tick]:
        if self._reader is None:
            self._reader = self._join()
        items = self._reader.next_batch()
        self._is_done = any(isinstance(item, Tick) and item.last for item in items)
        return self._decodes.step(items, is_behind=self._reader.is_behind)

    @_step("decode")
    def decode(self, item: Decoding | Tick) -> list[EventBatch | Tick]:
        """Step `decode`."""
        return [item if isinstance(item, Tick) else item.result()]

    @_step("load")
    def load(self, item: EventBatch | Tick) -> list[LedgerPlan | Tick]:
        """Step `load`; a batch that was handed over meanwhile goes no further."""
        if isinstance(item, Tick):
            return [item]
        self._let_go()
        return [self._ledger.load(item)] if self._assignments.is_current(item.source) else []

    @_step("dedup_wait")
    def dedup(self, item: LedgerPlan | Tick) -> list[Decided | LedgerPlan | Tick]:
        """Step `dedup`."""
        return self._claims.step(item)

    @_step("account")
    def account(self, items: list[Decided | LedgerPlan | Tick]) -> list[None]:
        """Step `account`."""
        self._accountant.step(items)
        self._health.beat(len(self._assignments.held()))
        return []

    def write_ahead(self, flush: Flush) -> None:
        """The sink, measured; called by the flush thread."""
        began = time.perf_counter()
        self._sink.write_ahead(flush)
        self._measures.wrote_ahead(seconds=time.perf_counter() - began)

    def write(self, flush: Flush) -> None:
        """The sink, measured; called by the flush thread."""
        began = time.perf_counter()
        self._sink.write(flush)
        self._measures.flushed(flush, seconds=time.perf_counter() - began, now_ms=now_ms())

    def commit(self, positions: dict[Source, int]) -> None:
        """Step 4 of the sink."""
        assert self._kafka is not None
        self._kafka.commit(positions)

    def observe(self) -> None:
        """Refresh what is measured from outside the flow: lag, units; called every few seconds."""
        if self._kafka is None:
            return
        metrics = self._health.metrics
        if self._kafka.has_lost_rows:
            self._kafka.has_lost_rows = False
            self._health.lose_rows()
        for partition, lag in self._kafka.lag().items():
            metrics.lag.labels(partition).set(lag)
        self._health.say_kafka(is_answering=self._kafka.is_answering)
        metrics.topic_partitions.set(self._kafka.topic_partitions)
        metrics.units.set(self._ledger.unit_count)
        load = self._memory.load()
        metrics.dedup_used.set(load.used_bytes)
        metrics.dedup_limit.set(load.limit_bytes)
        metrics.dedup_entries.set(load.entries)
        metrics.dedup_planned.set(load.planned_entries)
        self._memory.forget_expired()

    def close(self) -> None:
        """Drop everything; what is not durable is read again by whoever comes next."""
        self._decodes.close()
        self._claims.close()
        self._ledger.close()
        self._flusher.close()
        if self._kafka is not None:
            self._kafka.close()
        self._memory.close()
        for client in self._clients:
            client.close()

    def _join(self) -> UsageReader:
        self._kafka = KafkaReader(
            self._settings, self._stream, self._assignments, self._begin,
            accepted_gaps=self._accepted_gaps, accept_loss=self._progress.record_loss,
        )  # fmt: skip
        return UsageReader(
            self._kafka, self._assignments.held, self._settings.events_topic,
            events_max=self._settings.batch_events_max,
            wait_s=self._settings.batch_wait.total_seconds(), clock_ms=now_ms,
            is_stopping=self._is_stopping,
        )  # fmt: skip

    def _begin(self, stream: str, partition: int) -> tuple[Source, int | None]:
        self._let_go()
        source = self._memory.begin(stream, partition)
        durable = self._progress.next_offset(stream, partition)
        self._sink.began(source, durable)
        return source, durable

    def _flush_wait_ms(self) -> int:
        is_behind = self._reader is not None and self._reader.is_behind
        wait = self._settings.flush_wait_behind if is_behind else self._settings.flush_wait
        return wait // timedelta(milliseconds=1)

    def _let_go(self) -> None:
        if self._kafka is not None:
            for stream, partition in self._kafka.revoked():
                self._accountant.forget(stream, partition)
                self._health.let_go(partition)

    def _count(self, decided: Decided, outcome: Outcome) -> None:
        self._measures.count(decided.plan.batch, outcome)


def now_ms() -> int:
    """Unix milliseconds UTC."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """Milliseconds of a clock that never goes back."""
    return time.monotonic_ns() // 1_000_000


@cache
def _stop_before_step() -> Callable[[int], None] | None:
    """For fault tests: `METERLINE_KILL_BEFORE_STEP=2:5` kills at step 2 of the fifth flush.

    `METERLINE_FREEZE_BEFORE_STEP` makes it stand still there (SIGSTOP) until it is woken. Flushes
    are counted over the life of the process, at step 1 rows that go ahead of one as well.
    """
    for variable, number in _FAULTS.items():
        if wanted := os.environ.get(variable):
            return _signal_at(wanted, number)
    return None


def _signal_at(wanted: str, number: signal.Signals) -> Callable[[int], None]:
    step, _, nth = wanted.partition(":")
    left = {"flushes": int(nth or 1)}

    def before(reached: int) -> None:
        if reached != int(step):
            return
        left["flushes"] -= 1
        if left["flushes"] == 0:
            # To this thread, which stops inside the call: a signal to the process may be taken by
            # another one, while this one goes on for a moment.
            signal.pthread_kill(threading.get_ident(), number)

    return before

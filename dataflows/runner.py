"""Runs workers one after the other until told to stop: the only place that acts on errors.

A transient error ends the worker; when the servers answer again the next one resumes from what
is durable. A permanent one ends the process with its message.
"""

import ctypes
import gc
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pyarrow as pa
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from dataflows.catalog_watch import CatalogWatch, fingerprint, store_versions
from dataflows.health import Health
from dataflows.kafka_reader import topic_id
from dataflows.pipeline import EPOCH_INTERVAL, build_flow
from dataflows.worker import Worker
from metering.errors import MeterlineError, TransientError
from metering.settings import Settings
from rating_engine.price_book.load import load_price_book
from sinks.clickhouse import connect_clickhouse
from sinks.progress import Progress

log = logging.getLogger("meterline")

_WAIT_S_FIRST = 0.2
_WAIT_S_MAX = 5.0
_GIVE_BACK_S = 60.0
_OBSERVE_S = 2.0
_SWITCH_S = 0.0005
#: Parameters of glibc's `mallopt`, and the largest block that is kept.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX, _KEPT_BYTES = -1, -3, -8, 16 << 20


class Runner:
    """Keeps one worker going in this process."""

    def __init__(
        self, settings: Settings, health: Health, *,
        accept_topic: str | None = None, accepted_gaps: dict[int, int] | None = None,
    ) -> None:  # fmt: skip
        """Load the catalog; nothing is connected before `run`. Raises `SettingsInvalid`."""
        self._settings = settings
        seen = fingerprint(settings.catalog)
        self._book = load_price_book(settings.catalog)
        #: Once is enough: later this one may be behind what another worker has stored.
        self._is_stored = False
        self._watch = CatalogWatch(
            settings, self._book, seen=seen, say_refused=health.metrics.catalog_refused.set
        )
        self._health = health
        self._accept_topic = accept_topic
        self._accepted_gaps = accepted_gaps
        self._stop = threading.Event()

    def stop(self) -> None:
        """Finish what is in flight, write it, commit it, and return from `run`."""
        self._stop.set()

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT stop gracefully; a second one ends at once."""

        def handle(_number: int, _frame: object) -> None:
            if self._stop.is_set():
                raise KeyboardInterrupt
            self.stop()

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)

    def run(self) -> bool:
        """Run until stopped. Raises `PermanentError` and whatever is a bug.

        Returns whether everything read was written; else the next worker reads it again.
        """
        wait_s = _WAIT_S_FIRST
        tune_memory()
        is_drained = True
        self._watch.start()
        while not self._stop.is_set():
            if self._watch.has_news:
                self._book, self._is_stored = self._watch.take(), True
            began = time.monotonic()
            try:
                is_drained = False
                self._run_once()
                is_drained = True
            except TransientError as error:
                self._health.fail(error)
                log.warning("%s: %s", type(error).__name__, error)
                wait_s = _WAIT_S_FIRST if time.monotonic() - began > _WAIT_S_MAX else wait_s * 2
                self._stop.wait(min(wait_s, _WAIT_S_MAX))
        return is_drained

    def _run_once(self) -> None:
        if not self._is_stored:
            store_versions(self._settings, self._book)
            self._is_stored = True
        stream = open_stream(self._settings, accepted=self._accept_topic)
        worker = Worker(
            self._settings, self._book, stream, self._health,
            is_stopping=lambda: self._stop.is_set() or self._watch.has_news,
            accepted_gaps=self._accepted_gaps,
        )  # fmt: skip
        done = threading.Event()
        observer = threading.Thread(
            target=_observe, args=(worker.observe, self._health, done), daemon=True, name="observe"
        )
        try:
            self._health.flow()
            observer.start()
            run_flow(build_flow(worker))
            if worker.failure is not None:
                raise worker.failure
        finally:
            done.set()
            observer.join(timeout=10)
            worker.close()
            gc.collect()


def open_stream(settings: Settings, *, accepted: str | None = None) -> str:
    """Name of the stream to read, once its topic is fit for it.

    Raises `TopicUnfit` (unless the id of a topic created again is `accepted`), `DependencyDown`.
    """
    client = connect_clickhouse(settings)
    try:
        identity = topic_id(settings)
        return Progress(client).live_stream(settings.events_topic, identity, accepted=accepted)
    finally:
        client.close()


def run_flow(flow: Dataflow) -> None:
    """Run a flow to its end in this thread, with one worker and no recovery store."""
    run_main(flow, epoch_interval=EPOCH_INTERVAL)


def _observe(observe: Callable[[], None], health: Health, done: threading.Event) -> None:
    given_back_s = time.monotonic()
    while not done.wait(_OBSERVE_S):
        if time.monotonic() - given_back_s >= _GIVE_BACK_S:
            give_back_memory()
            given_back_s = time.monotonic()
        try:
            with health.asking_kafka():
                observe()
        except MeterlineError as error:
            log.warning("observing: %s", error)


def tune_memory() -> None:
    """Leave memory to reference counts, keep large blocks, and let threads take turns sooner.

    Scanning all that is in flight over and over costs time, and the steps make no cycles. Batches
    of megabytes that go back to the system after each step cost a twelfth, in pages touched anew.
    Few arenas, since each thread's own would keep its peak (glibc only; elsewhere nothing is
    changed). A thread that has got its answer from a server must not wait long for the one that
    decodes, or the server stands idle.
    """
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.disable()
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_ARENA_MAX, 2)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back_memory() -> None:
    """Return what a peak left behind, and nobody uses, to the system (glibc and Arrow only).

    After each step it would cost more than it is worth (`tune_memory`); without it a worker stays
    for good as large as its largest moment, such as a minute without ClickHouse, made it.
    """
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)

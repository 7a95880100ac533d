"""Keeps the archive up with the log: reads both topics whole, and writes them file by file.

    source   every message as it was received, of the events topic and of the rejected topic
    buffer   what waits, per partition; cut by size and by age
    writer   file, entry, head (`sinks/archive_writer.py`)

One thread does all of it: while a file is written nothing is read, which is the back-pressure. A
server that is away ends the turn; the next one goes on where the manifest ends.
"""

import logging
import threading
import time
from collections.abc import Callable

from dataflows.archive_buffer import ArchiveBuffer
from dataflows.archive_source import ArchiveSource, topic_ids
from dataflows.health import Health
from metering.archive_metrics import ArchiveMetrics
from metering.errors import MeterlineError, TransientError
from metering.settings import Settings
from sinks.archive_entry import ArchivedLog, ArchiveEntry, Kind
from sinks.archive_store import ArchiveStore
from sinks.archive_writer import BeforeStep, LogWriter
from sinks.progress import stream_name

log = logging.getLogger("meterline")

_POLL_S = 0.2
_OBSERVE_S = 5.0
_WAIT_S_FIRST, _WAIT_S_MAX = 0.2, 5.0
_DEPENDENCIES = ("kafka", "archive")


class Archiver:
    """One process that archives."""

    def __init__(
        self, settings: Settings, store: ArchiveStore, health: Health, *,
        gaps: dict[tuple[str, int], int] | None = None, before_step: BeforeStep | None = None,
    ) -> None:  # fmt: skip
        """Nothing is connected before it runs. `gaps`: where a log may begin later, accepted."""
        self._settings = settings
        self._store = store
        self._health = health
        self._gaps = gaps or {}
        self._before_step = before_step
        self._metrics = ArchiveMetrics()
        health.served = self._metrics.registry
        for topic in (settings.events_topic, settings.rejected_topic):
            self._metrics.files.labels(topic)  # from the start, so that none is seen as none
        self._stop = threading.Event()
        self._written: list[ArchiveEntry] | None = None
        #: Writing failed, and nothing has shown yet that it works again.
        self._is_doubted = False

    def stop(self) -> None:
        """Write what was read, and return."""
        self._stop.set()

    def run(self) -> None:
        """Archive until stopped; waits while a server is away. Raises `PermanentError`."""
        wait_s = _WAIT_S_FIRST
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._turn(self._follow, joins=True)
            except TransientError as error:
                self._health.fail(error)
                self._say_down(error)
                log.warning("%s: %s", type(error).__name__, error)
                wait_s = _WAIT_S_FIRST if time.monotonic() - began > _WAIT_S_MAX else wait_s * 2
                self._stop.wait(min(wait_s, _WAIT_S_MAX))

    def run_once(self) -> list[ArchiveEntry]:
        """Archive what the log holds now; the entries that were written. Raises `MeterlineError`.

        No other process may archive meanwhile.
        """
        written: list[ArchiveEntry] = []
        self._written = written
        self._turn(self._catch_up, joins=False)
        return written

    def _turn(self, read: Callable[[ArchiveSource, ArchiveBuffer], None], *, joins: bool) -> None:
        settings = self._settings
        topics = [settings.events_topic, settings.rejected_topic]
        ids = topic_ids(settings, topics)
        self._store.names("")  # is it there at all?
        buffer = ArchiveBuffer(
            file_bytes_max=settings.archive_file_bytes_max,
            bytes_max=settings.archive_waiting_bytes_max,
            wait_s=settings.archive_file_wait.total_seconds(), clock_s=time.monotonic,
            on_written=self._on_written,
        )  # fmt: skip
        source = ArchiveSource(
            settings, topics, buffer,
            lambda topic, partition: self._open(topic, ids[topic], partition=partition),
            gaps=self._gaps, joins=joins,
        )  # fmt: skip
        try:
            if not self._is_doubted:
                self._trust()
            read(source, buffer)
            buffer.drain()
        finally:
            source.close()

    def _follow(self, source: ArchiveSource, buffer: ArchiveBuffer) -> None:
        observed_s = 0.0
        while not self._stop.is_set():
            is_idle = not source.poll(_POLL_S)
            buffer.poll()
            if self._is_doubted:
                buffer.drain()  # sooner than its time: does it work again?
                if is_idle and source.partitions:
                    self._trust()
            self._health.beat(source.partitions)
            self._health.kafka_answers = source.is_answering
            self._metrics.waiting_bytes.set(buffer.bytes)
            if time.monotonic() - observed_s >= _OBSERVE_S:
                observed_s = time.monotonic()
                self._observe(source, buffer)

    def _catch_up(self, source: ArchiveSource, buffer: ArchiveBuffer) -> None:
        ends = source.ends()
        while any(source.ended.get(place, 0) < end for place, end in ends.items() if end):
            source.poll(_POLL_S)
            buffer.poll()
            if not source.is_answering:
                source.ends()

    def _observe(self, source: ArchiveSource, buffer: ArchiveBuffer) -> None:
        try:
            with self._health.asking_kafka():
                ends = source.ends()
        except MeterlineError as error:
            log.warning("observing: %s", error)
            return
        self._metrics.lag.clear()  # what is somebody else's now is not ours to show
        for place, archived in buffer.archived.items():
            lag = max(ends.get(place, archived) - archived, 0)
            self._metrics.lag.labels(*place).set(lag)

    def _open(self, topic: str, topic_id: str, *, partition: int) -> LogWriter:
        kind: Kind = "events" if topic == self._settings.events_topic else "rejected"
        stream = stream_name(topic, topic_id)
        archived = ArchivedLog(stream, partition, kind, topic, topic_id)
        return LogWriter(self._store, archived, before_step=self._before_step)

    def _on_written(self, entry: ArchiveEntry, seconds: float) -> None:
        topic = entry.log.topic
        self._metrics.files.labels(topic).inc()
        self._metrics.rows.labels(topic).inc(entry.rows)
        self._metrics.bytes.labels(topic).inc(entry.size_bytes)
        self._metrics.write_seconds.observe(seconds)
        if self._is_doubted:
            self._trust()
        if self._written is not None:
            self._written.append(entry)

    def _trust(self) -> None:
        self._is_doubted = False
        self._health.waiting_for, self._health.is_flowing = "", True
        for name in _DEPENDENCIES:
            self._metrics.dependency_up.labels(name).set(1)

    def _say_down(self, error: TransientError) -> None:
        server = str(getattr(error, "server", ""))
        if server in _DEPENDENCIES:
            self._metrics.dependency_up.labels(server).set(0)
        self._is_doubted = self._is_doubted or server == "archive"

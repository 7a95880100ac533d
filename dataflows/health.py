"""What a worker says of itself: `/metrics`, `/healthz`, `/readyz`.

Healthy means the process makes progress or knowingly waits; ready means that it counts: every
server answers and it holds its partitions.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

import uvicorn
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from metering.errors import DependencyDown, RowsLost, SettingsInvalid, TransientError
from metering.metrics import DEPENDENCIES, WorkerMetrics

_STUCK_S = 60.0
#: Kafka does not answer when a question has been open for this long.
_ANSWER_S = 5.0
#: A worker without a partition is unhealthy after this long.
NO_ASSIGNMENT_S = 30.0


@dataclass(slots=True)
class Health:
    """Written by the worker, read by the HTTP thread. Times are `time.monotonic` seconds."""

    metrics: WorkerMetrics
    waiting_for: str = "the flow to start"
    beat_s: float = field(default_factory=time.monotonic)
    partitions: int = 0
    unassigned_since_s: float | None = None
    is_flowing: bool = False
    kafka_answers: bool = True
    kafka_asked_s: float | None = None
    #: What `/metrics` serves in the place of the worker's, in a process that is none.
    served: CollectorRegistry | None = None

    def __post_init__(self) -> None:
        """What goes by the clock is worked out when it is asked for."""
        self.metrics.unassigned.set_function(self._unassigned_s)

    @property
    def registry(self) -> CollectorRegistry:
        """Where its metrics are."""
        return self.metrics.registry if self.served is None else self.served

    def beat(self, partitions: int) -> None:
        """The flow made a turn while holding so many partitions."""
        now = time.monotonic()
        self.beat_s = now
        self.partitions = partitions
        self.metrics.partitions.set(partitions)
        if partitions:
            self.unassigned_since_s = None
        elif self.unassigned_since_s is None:
            self.unassigned_since_s = now

    def wait(self, reason: str) -> None:
        """The worker waits, knowingly; that is progress too."""
        self.waiting_for = reason
        self.is_flowing = False
        self.partitions = 0
        self.metrics.partitions.set(0)
        self.metrics.flowing.set(0)
        self.metrics.lag.clear()
        self.beat_s = time.monotonic()

    def fail(self, error: TransientError) -> None:
        """The flow ended; a server that is down shows in its metric until the flow runs again."""
        self.wait(str(error))
        self.metrics.restarts.labels(type(error).__name__).inc()
        if isinstance(error, RowsLost):
            self.lose_rows()
        if isinstance(error, DependencyDown) and error.server in DEPENDENCIES:
            self.metrics.dependency_up.labels(error.server).set(0)

    def lose_rows(self) -> None:
        """ClickHouse holds less than it had acknowledged."""
        self.metrics.rows_lost.set_to_current_time()

    def say_kafka(self, *, is_answering: bool) -> None:
        """Kafka was asked."""
        self.kafka_answers = is_answering
        self.metrics.dependency_up.labels("kafka").set(int(is_answering))

    @contextmanager
    def asking_kafka(self) -> Iterator[None]:
        """Around a question to Kafka, whose client may wait for far longer than it was told."""
        self.kafka_asked_s = time.monotonic()
        try:
            yield
        finally:
            self.kafka_asked_s = None

    def let_go(self, partition: int) -> None:
        """The partition is another worker's now: its numbers are not ours to show."""
        for gauge in (self.metrics.lag, self.metrics.watermark, self.metrics.queryable):
            with suppress(KeyError):
                gauge.remove(partition)

    def flow(self) -> None:
        """The flow runs."""
        self.waiting_for = ""
        self.is_flowing = True
        self.metrics.flowing.set(1)
        self.unassigned_since_s = None
        for server in DEPENDENCIES:
            self.metrics.dependency_up.labels(server).set(1)

    def _unassigned_s(self) -> float:
        since = self.unassigned_since_s
        return time.monotonic() - since if self.is_flowing and since is not None else 0.0

    def faults(self) -> list[str]:
        """Why the worker is not healthy; empty when it is."""
        now, found = time.monotonic(), []
        if now - self.beat_s > _STUCK_S:
            found.append(f"no turn of the flow for {now - self.beat_s:.0f} s")
        since = self.unassigned_since_s
        if self.is_flowing and since is not None and now - since > NO_ASSIGNMENT_S:
            found.append(f"no partition assigned for {now - since:.0f} s")
        return found

    def obstacles(self) -> list[str]:
        """Why the worker does not count now; empty when it does."""
        found = self.faults()
        if not self.is_flowing:
            found.append(f"waiting for {self.waiting_for}")
        elif not self.partitions:
            found.append("no partition assigned yet")
        asked = self.kafka_asked_s
        is_overdue = asked is not None and time.monotonic() - asked > _ANSWER_S
        if is_overdue or not self.kafka_answers:
            found.append("Kafka does not answer")
        return found


class Reporting(Protocol):
    """A process that says of itself what the pages show."""

    @property
    def registry(self) -> CollectorRegistry:
        """Its metrics."""
        ...

    def faults(self) -> list[str]:
        """Why it is not healthy; empty when it is."""
        ...

    def obstacles(self) -> list[str]:
        """Why it does not do its work now; empty when it does."""
        ...


def health_app(health: Reporting) -> FastAPI:
    """The three pages."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(health.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    def healthz() -> Response:
        return _verdict(health.faults())

    @app.get("/readyz")
    def readyz() -> Response:
        return _verdict(health.obstacles())

    return app


class HealthServer:
    """Serves the pages from a thread of its own; `port` is the one really bound."""

    def __init__(self, health: Reporting, host: str, port: int) -> None:
        """Bind and start. Raises `SettingsInvalid` when the address cannot be bound."""
        config = uvicorn.Config(
            health_app(health), host=host, port=port, log_level="warning", access_log=False
        )
        self._server = uvicorn.Server(config)
        self._socket = _bound(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True, name="http"
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(timeout=5)


def _bound(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        msg = (
            f"expected to serve /metrics on {host}:{port}, got: {error.strerror}; set "
            "METERLINE_HTTP_PORT to a free port, or to 0 to take any"
        )
        raise SettingsInvalid([msg]) from error


def _verdict(reasons: list[str]) -> Response:
    text = "\n".join(reasons) if reasons else "ok"
    return Response(text + "\n", status_code=503 if reasons else 200, media_type="text/plain")

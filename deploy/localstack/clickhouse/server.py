"""The listening side: a thread for each connection, and an orderly end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import ThreadingHTTPServer

from deploy.localstack.clickhouse.engine import Engine
from deploy.localstack.clickhouse.handler import ClickHouseHandler


class ClickHouseHttpServer(ThreadingHTTPServer):
    """Serves one engine on one loopback port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, engine: Engine, *, host: str, port: int) -> None:
        self.engine = engine
        self._active = 0
        self._idle = threading.Condition()
        super().__init__((host, port), ClickHouseHandler)

    @contextlib.contextmanager
    def counting_requests(self) -> Iterator[None]:
        """Around each request, so that `wait_idle` knows when none is running."""
        with self._idle:
            self._active += 1
        try:
            yield
        finally:
            with self._idle:
                self._active -= 1
                self._idle.notify_all()

    def wait_idle(self, patience: timedelta) -> bool:
        """Wait until no request is running; False when one still is after `patience`."""
        with self._idle:
            return self._idle.wait_for(lambda: self._active == 0, patience.total_seconds())

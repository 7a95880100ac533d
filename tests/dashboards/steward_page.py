"""A steward's page of metrics, as after a day on which little went wrong."""

from __future__ import annotations

import time

from prometheus_client import start_http_server

from metering.metrics import CONSERVATION_CHECKS, StewardMetrics

_JOBS = ("conservation", "rejects", "detection")


def serve(port: int) -> None:
    """Serve it on loopback until the process ends."""
    metrics = StewardMetrics()
    now = time.time()
    for name in _JOBS:
        metrics.job_done.labels(name).set(now)
    for check in CONSERVATION_CHECKS:
        metrics.conservation.labels(check).set(0)
    metrics.rejects_waiting.labels("subject_must_be_bound").set(12)
    start_http_server(port, "127.0.0.1", metrics.registry)

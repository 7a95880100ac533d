"""Says where Prometheus finds the metrics of this process: a file that it discovers by itself.

For machines without a discovery of their own; on Kubernetes nothing is set and nothing written.
"""

import json
import os
from pathlib import Path

import psutil

from metering.settings import Settings


class MetricsTarget:
    """One file `<job>-<pid>.json` in the folder `METERLINE_METRICS_TARGETS`, while it is announced.

    A process that is killed leaves its file, so that Prometheus sees it missing; the next process
    on this machine takes away what dead ones left.
    """

    def __init__(self, settings: Settings, *, job: str, port: int) -> None:
        """Announce `job` (meterline-worker, -steward or -archive) at the port that it serves."""
        self._file: Path | None = None
        folder = settings.metrics_targets
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.json"):
            pid = left.stem.rpartition("-")[2]
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                left.unlink(missing_ok=True)
        labels = {"job": job, "deployment": settings.namespace or "default"}
        found = [{"targets": [f"{settings.http_host}:{port}"], "labels": labels}]
        self._file = folder / f"{job}-{os.getpid()}.json"
        # Written aside and renamed, so that nobody reads half of it.
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(found), encoding="utf-8")
        fresh.replace(self._file)

    def withdraw(self) -> None:
        """It ends on purpose."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)

"""A real Prometheus that scrapes workers, started for a test."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import yaml

DEPLOYMENT = "live"
_RULES = Path(__file__).resolve().parents[2] / "alerts" / "rules"
_PATIENCE_S = 60.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Series = tuple[dict[str, str], list[tuple[float, float]]]


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class MetricsServer:
    """Scrapes `targets` (ports of loopback by job) every second; its data is in `folder`."""

    def __init__(self, folder: Path, targets: Mapping[str, int]) -> None:
        """Not started yet. Fails where `prometheus` is not installed."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._address = f"127.0.0.1:{free_port()}"
        command = shutil.which("prometheus")
        assert command, "expected the program prometheus: run `make setup`"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in self._rules()],
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [
                        {"targets": [f"127.0.0.1:{port}"], "labels": {"deployment": DEPLOYMENT}}
                    ],
                }
                for job, port in targets.items()
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
        self._command = [
            command,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={self._address}",
            "--log.level=warn",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + _PATIENCE_S
        while not self._is_ready():
            assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
            assert time.monotonic() < deadline, "waited in vain for Prometheus"
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def _rules(self) -> Iterator[Path]:
        """Copies of the rules that are evaluated at once, also those with an interval."""
        for path in sorted(_RULES.glob("*.yml")):
            rules = yaml.safe_load(path.read_text(encoding="utf-8"))
            for group in rules["groups"]:
                group.pop("interval", None)
            copy = self._folder / path.name
            copy.write_text(yaml.safe_dump(rules), encoding="utf-8")
            yield copy

    def now(self, expression: str, moment: datetime) -> list[Series]:
        """Values of an expression at a moment."""
        found = self._ask("query", query=expression, time=moment.timestamp())
        if found["resultType"] == "scalar":
            return [({}, [(found["result"][0], float(found["result"][1]))])]
        return [(each["metric"], _values([each["value"]])) for each in found["result"]]

    def range(
        self, expression: str, between: tuple[datetime, datetime], *, step_s: int
    ) -> list[Series]:
        """Values of an expression over time."""
        start, end = (each.timestamp() for each in between)
        found = self._ask("query_range", query=expression, start=start, end=end, step=step_s)
        return [(each["metric"], _values(each["values"])) for each in found["result"]]

    def label_values(self, label: str, metric: str) -> list[str]:
        """Values that a label of a metric has."""
        found: list[str] = self._ask(f"label/{label}/values", **{"match[]": metric})
        return found

    def _ask(self, what: str, **parameters: Any) -> Any:
        asked = urllib.parse.urlencode(parameters)
        with _DIRECT.open(f"http://{self._address}/api/v1/{what}?{asked}", timeout=30) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def _is_ready(self) -> bool:
        try:
            with _DIRECT.open(f"http://{self._address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _values(found: Sequence[Sequence[Any]]) -> list[tuple[float, float]]:
    return [(float(moment), float(value)) for moment, value in found]

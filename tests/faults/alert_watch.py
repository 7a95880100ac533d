"""What an operator would hear: a webhook, and questions to a real Prometheus."""

from __future__ import annotations

import json
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from worker_process import wait_for

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Told(NamedTuple):
    """One alert of one message: to whom, what, and with which labels."""

    receiver: str
    status: str
    name: str
    labels: dict[str, str]
    summary: str


class Webhook:
    """Listens for Alertmanager's messages on a free port of loopback."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                message = json.loads(self.rfile.read(size))
                for alert in message["alerts"]:
                    labels = alert["labels"]
                    webhook.told.append(
                        Told(
                            self.path.strip("/"),
                            alert["status"],
                            labels["alertname"],
                            labels,
                            alert["annotations"]["summary"],
                        )
                    )
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait(self, name: str, status: str, *, receiver: str) -> Told:
        """Wait for an alert; the last message that says so."""

        def found() -> list[Told]:
            return [t for t in self.told if (t.name, t.status, t.receiver) == wanted]

        wanted = (name, status, receiver)
        wait_for(f"{name} {status} at {receiver}; heard {self.told}", lambda: bool(found()))
        return found()[-1]

    def fired(self) -> set[str]:
        """Names of alerts that fired, but those of objectives, which follow from any of them."""
        return {t.name for t in self.told if t.status == "firing" and t.labels["area"] != "slo"}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Prometheus:
    """Questions to a running one."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer."""
        query = urllib.parse.urlencode(parameters)
        with _DIRECT.open(f"{self._url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def samples(self, series: str) -> list[tuple[float, float]]:
        """(time, value) of everything that a selector holds of the last hour, by time."""
        found = self.ask("query", query=f"{series}[1h]")["result"]
        return sorted((float(t), float(v)) for each in found for t, v in each["values"])

    def evaluations(self) -> list[float]:
        """Times at which rules were evaluated, as far as a worker was up."""
        return [at for at, _ in self.samples("meterline:workers:count")]

    def firing(self) -> set[str]:
        """Names of alerts that fire now, but those of objectives."""
        alerts = self.ask("alerts")["alerts"]
        return {
            a["labels"]["alertname"]
            for a in alerts
            if a["state"] == "firing" and a["labels"]["area"] != "slo"
        }

    def evaluations_until_firing(self, name: str, *, since: float) -> int:
        """Evaluations after `since` up to the one at which an alert fired first after it."""
        series = f'ALERTS{{alertname="{name}", alertstate="firing"}}'
        fired = min(at for at, _ in self.samples(series) if at > since)
        return sum(since < at <= fired for at in self.evaluations())

"""What an operator would hear: a webhook, and questions to a real Prometheus."""

from __future__ import annotations

import json
import math
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from worker_process import wait_for

#: Everything that waits, in the rules and in the configurations of this project, is divided by it:
#: 30 s between evaluations become 2.
SQUEEZE = 15
#: How long a page may take to be read.
SCRAPE_S_MAX = 10 / SQUEEZE
_FIRING = ', alertstate="firing"'
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

    def jobs_up(self) -> set[str]:
        """Jobs of which something answered when it was asked last."""
        up = self.ask("query", query="up == 1")["result"]
        return {found["metric"]["job"] for found in up}

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

    def assert_fired_soon(
        self, name: str, *, cause: str, since: float, above: float = -1, below: float = math.inf
    ) -> None:
        """An alert is active at the first evaluation that can see its cause, and fires then or at
        the second.

        The cause is the first sample of a series after `since` that is above one number and below
        another; its time is that at which a page began to be read, so an evaluation that begins
        meanwhile need not see it. An alert is sent before its own samples can be asked for.
        """
        active, firing = (f'ALERTS{{alertname="{name}"{state}}}' for state in ("", _FIRING))
        caused = min(at for at, v in self.samples(cause) if at > since and above < v < below)
        wait_for(f"a sample of {firing}", lambda: bool(self._after(firing, caused)))
        seen, fired = self._after(active, caused)[0], self._after(firing, caused)[0]
        evaluations = self.evaluations()
        until_seen = sum(caused + SCRAPE_S_MAX < at <= seen for at in evaluations)
        until_fired = sum(seen < at <= fired for at in evaluations)
        told = f"{name}: {until_seen} evaluations until it was active, {until_fired} until it fired"
        assert until_seen <= 1, told
        assert until_fired <= 1, told

    def _after(self, series: str, moment: float) -> list[float]:
        """Times of samples after a moment, the first one first."""
        return [at for at, _ in self.samples(series) if at > moment]

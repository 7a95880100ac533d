"""ClickHouse's own engine behind its own HTTP interface, as one process of ours."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

from deploy.localstack.ports import LOOPBACK
from deploy.localstack.service import Progress, Service

_REPOSITORY = Path(__file__).resolve().parents[2]


class ClickHouseService(Service):
    """One `deploy.localstack.clickhouse_server`."""

    name = "clickhouse"
    variable = "CLICKHOUSE_URL"
    port_count = 1

    def prepare(self, progress: Progress) -> None:
        """Do nothing: the engine comes with Python's packages."""
        progress(self.name, "preparing")

    def command(self) -> list[str]:
        """Run the server with this interpreter."""
        module = "deploy.localstack.clickhouse_server"
        arguments = ["--data", str(self.folder / "data"), "--port", str(self.port)]
        return [sys.executable, "-m", module, *arguments]

    def process_environment(self) -> dict[str, str]:
        """Let the server find this package, and live in UTC."""
        # The engine takes its time zone from TZ; servers run in UTC.
        return super().process_environment() | {"PYTHONPATH": str(_REPOSITORY), "TZ": "UTC"}

    def is_healthy(self) -> bool:
        """SELECT 1."""
        url = f"http://{LOOPBACK}:{self.port}/?query=SELECT+1"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=1.0) as response:
                return bool(response.read() == b"1\n")
        except (urllib.error.URLError, OSError):
            return False

    def own_address(self) -> str:
        """Return an `http://` URL of user `default`."""
        return f"http://default:@{LOOPBACK}:{self.port}/"

"""Alertmanager, on the routes of this project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from deploy.localstack.ports import LOOPBACK
from deploy.localstack.prometheus_service import answers, find_program
from deploy.localstack.service import Progress, Service
from deploy.localstack.squeezed import squeezed

_CONFIG = Path(__file__).resolve().parents[1] / "alertmanager" / "alertmanager.yml"
_WEBHOOK = "http://127.0.0.1:9099"


class AlertmanagerService(Service):
    """One Alertmanager. Tests divide what waits by `squeeze` and listen at `webhook`."""

    name = "alertmanager"
    variable = "ALERTMANAGER_URL"
    port_count = 1
    squeeze: ClassVar[int] = 1
    webhook: ClassVar[str] = _WEBHOOK

    def prepare(self, progress: Progress) -> None:
        """Find the program; write its configuration, and where Prometheus finds it."""
        progress(self.name, "preparing")
        find_program("prometheus-alertmanager", "alertmanager")
        text = squeezed(_CONFIG.read_text(encoding="utf-8"), self.squeeze)
        config = text.replace(_WEBHOOK, self.webhook)
        (self.folder / "alertmanager.yml").write_text(config, encoding="utf-8")
        found = [{"targets": [f"{LOOPBACK}:{self.port}"]}]
        (self.folder / "targets.json").write_text(json.dumps(found), encoding="utf-8")

    def command(self) -> list[str]:
        """Run it on loopback, without peers."""
        return [
            find_program("prometheus-alertmanager", "alertmanager"),
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def is_healthy(self) -> bool:
        """Ask whether it takes alerts."""
        return answers(f"{self.own_address()}/-/ready")

    def own_address(self) -> str:
        """Return an `http://` URL without a slash at its end."""
        return f"http://{LOOPBACK}:{self.port}"

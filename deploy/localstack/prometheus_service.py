"""Prometheus, on the rules of this project, for the processes that announce themselves."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

import yaml

from deploy.localstack.errors import ProgramMissingError
from deploy.localstack.ports import LOOPBACK
from deploy.localstack.service import Progress, Service
from deploy.localstack.squeezed import squeezed

_REPOSITORY = Path(__file__).resolve().parents[2]
_CONFIG = _REPOSITORY / "deploy" / "prometheus" / "prometheus.yml"
_RULES = _REPOSITORY / "alerts" / "rules"


class PrometheusService(Service):
    """One Prometheus. Tests divide what waits by `squeeze`."""

    name = "prometheus"
    variable = "PROMETHEUS_URL"
    port_count = 1
    squeeze: ClassVar[int] = 1

    @property
    def targets(self) -> Path:
        """Folder in which processes say where they are."""
        return self.folder / "targets"

    def prepare(self, progress: Progress) -> None:
        """Find the program; write its configuration and rules from those of this project."""
        progress(self.name, "preparing")
        find_program("prometheus")
        self.targets.mkdir(exist_ok=True)
        rules = self.folder / "rules"
        shutil.rmtree(rules, ignore_errors=True)
        rules.mkdir()
        for path in sorted(_RULES.glob("*.yml")):
            text = squeezed(path.read_text(encoding="utf-8"), self.squeeze)
            (rules / path.name).write_text(text, encoding="utf-8")
        text = squeezed(_CONFIG.read_text(encoding="utf-8"), self.squeeze)
        config: dict[str, Any] = yaml.safe_load(text)
        config["rule_files"] = [str(rules / "*.yml")]
        beside = str(self.folder.parent / "alertmanager" / "targets.json")
        config["alerting"] = {"alertmanagers": [{"file_sd_configs": [{"files": [beside]}]}]}
        for scrape in config["scrape_configs"]:
            for discovery in scrape["file_sd_configs"]:
                discovery["files"] = [str(self.targets / "*.json")]
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def command(self) -> list[str]:
        """Run it on loopback."""
        return [
            find_program("prometheus"),
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
            "--log.level=warn",
        ]

    def is_healthy(self) -> bool:
        """Ask whether it serves queries."""
        return answers(f"{self.own_address()}/-/ready")

    def own_address(self) -> str:
        """Return an `http://` URL without a slash at its end."""
        return f"http://{LOOPBACK}:{self.port}"

    def further_variables(self) -> dict[str, str]:
        """Return where processes announce themselves."""
        return {"METERLINE_METRICS_TARGETS": str(self.targets)}


def find_program(*names: str) -> str:
    """Find the first of these programs that is installed. Raises ProgramMissingError."""
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    message = (
        f"{names[0]} is not on PATH: run `bash deploy/localstack/ensure_servers.sh`, or install "
        "the packages prometheus and prometheus-alertmanager (Debian and Ubuntu)"
    )
    raise ProgramMissingError(message)


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered with 200 within a second."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=1.0) as response:
            return bool(response.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False

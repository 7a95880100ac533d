"""The dashboards as files: `deploy/grafana/dashboards/*.json`, generated and committed."""

from __future__ import annotations

from pathlib import Path

from alerts.dashboards.assembly import to_json
from alerts.dashboards.finance import finance
from alerts.dashboards.pipeline import pipeline
from alerts.dashboards.usage import usage

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "dashboards"


def texts() -> dict[str, str]:
    """Every dashboard by the name of its file."""
    return {f"{name}.json": to_json(make()) for name, make in _DASHBOARDS.items()}


def write(folder: Path = FOLDER) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (folder / name).write_text(text, encoding="utf-8")


_DASHBOARDS = {"pipeline": pipeline, "usage": usage, "finance": finance}

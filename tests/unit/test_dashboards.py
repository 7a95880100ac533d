"""Dashboards are generated and committed; every panel says what it shows, in which unit."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.dashboards.files import FOLDER, texts, write

_REPOSITORY = Path(__file__).resolve().parents[2]
_SQL = _REPOSITORY / "alerts" / "dashboards" / "sql"
_PROVISIONING = _REPOSITORY / "deploy" / "grafana" / "provisioning"
_COLUMNS = 24
_WITH_LEGEND = {"timeseries", "barchart", "state-timeline"}
Fields = dict[str, Any]

TEXTS = texts()
DASHBOARDS: dict[str, Fields] = {name: json.loads(text) for name, text in TEXTS.items()}


def faults(dashboard: Fields) -> list[str]:
    """What a reader would miss in a dashboard, by panel."""
    found = []
    offered = {each["name"] for each in dashboard["templating"]["list"]}
    for panel in dashboard["panels"]:
        title = panel["title"]
        found += [f"{title}: unknown variable {name}" for name in _variables(panel) - offered]
        if panel["type"] == "row":
            continue
        defaults = panel["fieldConfig"]["defaults"]
        wanted = {
            "a description of a sentence": len(panel.get("description", "")) > 20,
            "a description that ends": panel.get("description", "").endswith("."),
            "a unit": bool(defaults.get("unit")),
            "limits": bool(defaults.get("thresholds", {}).get("steps")),
            "what to say without data": bool(defaults.get("noValue")),
            "a query": bool(panel["targets"]),
            "a legend": panel["type"] not in _WITH_LEGEND
            or panel["options"]["legend"]["showLegend"] is True,
            "a name for each series": all(
                each.get("legendFormat", "-") for each in panel["targets"]
            ),
            "queries that can be told apart": _distinct(t["refId"] for t in panel["targets"]),
            "one data source": {t["datasource"]["uid"] for t in panel["targets"]}
            == {panel["datasource"]["uid"]},
        }
        found += [f"{title}: expected {what}" for what, is_there in wanted.items() if not is_there]
    return found + _places(dashboard)


def _places(dashboard: Fields) -> list[str]:
    """Panels that lie on each other, or beside the page; ids and titles that stand twice."""
    taken: Counter[tuple[int, int]] = Counter()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        taken.update(
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        )
    found = [f"{place}: expected one panel" for place, count in taken.items() if count > 1]
    found += [f"{x}: expected no more than {_COLUMNS} columns" for x, _ in taken if x >= _COLUMNS]
    for what in ("id", "title"):
        if not _distinct(panel[what] for panel in dashboard["panels"]):
            found.append(f"expected every {what} once")
    return found


def _distinct(values: Any) -> bool:
    listed = list(values)
    return len(listed) == len(set(listed))


def _variables(panel: Fields) -> set[str]:
    text = json.dumps(panel)
    return {
        name
        for name in re.findall(r"\$\{?([a-z]\w*)", text)
        if not name.startswith(("__", "interval"))
    } | {each for each in [panel.get("repeat")] if each}


@pytest.mark.parametrize("name", TEXTS)
def test_the_committed_file_is_what_the_code_makes(name: str) -> None:
    committed = (FOLDER / name).read_text(encoding="utf-8")
    assert committed == TEXTS[name], "run: make dashboards"


def test_no_file_is_left_over(tmp_path: Path) -> None:
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in FOLDER.iterdir()}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_says_what_it_shows(name: str) -> None:
    assert len(DASHBOARDS[name]["panels"]) > 10
    assert faults(DASHBOARDS[name]) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda panel: panel.update(description=""),
        lambda panel: panel["fieldConfig"]["defaults"].pop("unit"),
        lambda panel: panel["fieldConfig"]["defaults"].pop("thresholds"),
        lambda panel: panel["options"]["legend"].update(showLegend=False),
        lambda panel: panel["gridPos"].update(x=20),
        lambda panel: panel["targets"][0].update(expr="up{job='$deploymen'}"),
        lambda panel: panel["targets"][0].update(legendFormat=""),
        lambda panel: panel.update(id=1),
        lambda panel: panel["targets"].append(panel["targets"][0]),
    ],
)
def test_a_planted_fault_is_found(change: Any) -> None:
    broken = json.loads(TEXTS["pipeline.json"])
    change(next(panel for panel in broken["panels"] if panel["title"] == "Events by outcome"))
    assert faults(broken)


def test_every_file_of_sql_is_of_a_panel_or_a_variable() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in _SQL.parent.glob("*.py"))
    names = [path.relative_to(_SQL).with_suffix("").as_posix() for path in _SQL.rglob("*.sql")]
    variables = {
        each["name"] for found in DASHBOARDS.values() for each in found["templating"]["list"]
    }
    unused = {
        name
        for name in names
        if f'"{name}"' not in code and name.removeprefix("variables/") not in variables
    }
    assert len(names) > 30
    assert unused == set()


def test_every_table_of_finance_shows_what_it_is_complete_to() -> None:
    for panel in DASHBOARDS["finance.json"]["panels"]:
        if panel["type"] in ("stat", "table") and panel["title"] != "Unbound subjects":
            assert "complete to" in panel["targets"][0]["rawSql"], panel["title"]


def test_grafana_is_provisioned_with_the_folder_and_both_data_sources() -> None:
    (provider,) = _provisioned("dashboards/meterline.yaml")["providers"]
    assert provider["type"] == "file"
    assert not provider["allowUiUpdates"]
    sources = _provisioned("datasources/meterline.yaml")["datasources"]
    used = {
        target["datasource"]["type"]
        for dashboard in DASHBOARDS.values()
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    }
    assert {source["type"] for source in sources} == used
    for source in sources:
        for secret in source.get("secureJsonData", {}).values():
            assert re.fullmatch(r"\$\{?[A-Z_]+\}?", secret), "expected a variable, no password"


def _provisioned(place: str) -> Fields:
    found: Fields = yaml.safe_load((_PROVISIONING / place).read_text(encoding="utf-8"))
    return found

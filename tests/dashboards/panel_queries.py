"""The queries of panels, taken from the committed JSON and asked of real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client
from grafana_text import Choice, promql_of, sql_of
from metrics_server import MetricsServer

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "dashboards"
DASHBOARDS = ("pipeline", "usage", "finance")
CLICKHOUSE = "grafana-clickhouse-datasource"


class Point(NamedTuple):
    """One value of one series; `time_s` is Unix seconds."""

    series: str
    time_s: float
    value: float


class Answer(NamedTuple):
    """Rows of a table, or the points of series."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    points: list[Point]

    @property
    def is_empty(self) -> bool:
        """Whether a reader would see nothing."""
        return not self.points and not any(value is not None for row in self.rows for value in row)


@dataclass(frozen=True)
class Panel:
    """A panel of a dashboard, and the row that it is in."""

    dashboard: str
    row: str
    fields: Mapping[str, Any]

    @property
    def title(self) -> str:
        """As it is written, with variables."""
        return str(self.fields["title"])

    @property
    def kind(self) -> str:
        """Its plugin: timeseries, stat, table, barchart, state-timeline."""
        return str(self.fields["type"])

    @property
    def targets(self) -> list[dict[str, Any]]:
        """Its queries."""
        return list(self.fields["targets"])

    @property
    def unit(self) -> str:
        """Of values without an override."""
        return str(self.fields["fieldConfig"]["defaults"]["unit"])


def load(name: str) -> dict[str, Any]:
    """A committed dashboard."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def panels(name: str) -> Iterator[Panel]:
    """Its panels in order, without the headings of rows."""
    row = ""
    for each in load(name)["panels"]:
        if each["type"] == "row":
            row = each["title"]
        else:
            yield Panel(name, row, each)


@dataclass(frozen=True)
class Servers:
    """Whom to ask."""

    clickhouse: Client
    prometheus: MetricsServer

    def answer(self, panel: Panel, choice: Choice) -> Answer:
        """What all queries of a panel answer together."""
        answers = [self._ask(target, choice) for target in panel.targets]
        return Answer(
            answers[0].columns,
            [row for each in answers for row in each.rows],
            [point for each in answers for point in each.points],
        )

    def _ask(self, target: Mapping[str, Any], choice: Choice) -> Answer:
        if target["datasource"]["type"] == CLICKHOUSE:
            return self._ask_clickhouse(target, choice)
        expression = promql_of(target["expr"], choice)
        legend = target["legendFormat"]
        if target.get("instant"):
            found = self.prometheus.now(expression, choice.end)
        else:
            found = self.prometheus.range(
                expression, (choice.start, choice.end), step_s=choice.interval_s
            )
        points = [
            Point(_named(legend, labels), time_s, value)
            for labels, values in found
            for time_s, value in values
            if value == value  # noqa: PLR0124 - NaN is drawn as nothing
        ]
        return Answer([], [], points)

    def _ask_clickhouse(self, target: Mapping[str, Any], choice: Choice) -> Answer:
        answer = self.clickhouse.query(sql_of(target["rawSql"], choice), tz_mode="aware")
        columns = list(answer.column_names)
        rows = [tuple(row) for row in answer.result_rows]
        if target["queryType"] != "timeseries":
            return Answer(columns, rows, [])
        assert columns[0] == "time", f"expected time first, got {columns}"
        return Answer(columns, [], list(_points(columns, rows)))


def _points(columns: list[str], rows: list[tuple[Any, ...]]) -> Iterator[Point]:
    for row in rows:
        fields = dict(zip(columns, row, strict=True))
        time_s = fields.pop("time").timestamp()
        series = fields.pop("series", None)
        for name, value in fields.items():
            if isinstance(value, list | tuple) or value is None:
                continue
            yield Point(series if series is not None else name, time_s, float(value))


def _named(legend: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    return legend

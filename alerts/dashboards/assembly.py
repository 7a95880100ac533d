"""A dashboard put together from rows of panels, and the JSON that Grafana reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableModel,
)

from alerts.dashboards.panels import Panel

#: Links every dashboard of ours to the others.
_TAG = "meterline"


@dataclass(frozen=True)
class Row:
    """A heading and its panels, left to right; they wrap after 24 columns.

    `repeat` is a variable: the row stands once for each of its values.
    """

    title: str
    panels: Sequence[Panel]
    repeat: str = ""


@dataclass(frozen=True)
class Contents:
    """One dashboard. `range_from` is relative (`now-3h`), `refresh` a duration (`10s`)."""

    uid: str
    title: str
    description: str
    range_from: str
    refresh: str
    variables: Sequence[Builder[VariableModel]]
    rows: Sequence[Row]


def to_json(contents: Contents) -> str:
    """The file that Grafana is provisioned with; the same contents give the same text."""
    return json.dumps(_built(contents).build(), cls=JSONEncoder, indent=1) + "\n"


def _built(contents: Contents) -> dashboard.Dashboard:
    found = (
        dashboard.Dashboard(contents.title)
        .uid(contents.uid)
        .description(contents.description)
        .tags([_TAG])
        .timezone("utc")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time(contents.range_from, "now")
        .refresh(contents.refresh)
        .variables(list(contents.variables))
        .link(
            dashboard.DashboardLink("Meterline")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .as_dropdown(as_dropdown=False)
            .keep_time(keep_time=True)
            .include_vars(include_vars=True)
        )
    )
    number = 0
    for row in contents.rows:
        number += 1
        heading = dashboard.Row(row.title).id(number)
        found.with_row(heading.repeat(row.repeat) if row.repeat else heading)
        for panel in row.panels:
            number += 1
            panel.build().id_val = number
            found.with_panel(panel)
    return found

"""Panels in one style: each has a title, a description, a unit, a legend and limits.

`span` is a panel's width, of the 24 columns of a dashboard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import barchart, common, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, MatcherConfig
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue as Property
from grafana_foundation_sdk.models.dashboard import Panel as PanelModel

from alerts.dashboards.fields import (
    Override,
    by_limits,
    legend,
    limits,
    palette,
    state_names,
)
from alerts.dashboards.queries import CLICKHOUSE, PROMETHEUS, SERIES_COLUMN, SqlQuery

Query = Builder[Dataquery]
Panel = Builder[PanelModel]

_P = TypeVar("_P", bound="_Overridable")

_NUMBER_HEIGHT, _GRAPH_HEIGHT, _TABLE_HEIGHT = 4, 8, 9


class _Overridable(Protocol):
    def with_override(self, matcher: MatcherConfig, properties: list[Property]) -> Self: ...


def _source(query: Query) -> DataSourceRef:
    return CLICKHOUSE if isinstance(query, SqlQuery) else PROMETHEUS


def graph(
    title: str, description: str, *, unit: str, queries: Sequence[Query], span: int = 12
) -> timeseries.Panel:
    """Lines over time, with the newest and the highest value in the legend."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(_source(queries[0]))
        .targets(list(queries))
        .unit(unit)
        .span(span)
        .height(_GRAPH_HEIGHT)
        .line_width(2)
        .fill_opacity(8)
        .show_points(VisibilityMode.NEVER)
        .axis_soft_min(0)
        .no_value("no data")
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
        .legend(legend(["lastNotNull", "max"]))
        .color_scheme(palette())
        .thresholds(limits())
    )
    if any(isinstance(each, SqlQuery) and SERIES_COLUMN in each.sql for each in queries):
        panel.display_name(f"${{__field.labels.{SERIES_COLUMN}}}")
    return panel


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """The same with series on top of each other."""
    panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    return panel.fill_opacity(45).line_width(1)


def columns(panel: timeseries.Panel) -> timeseries.Panel:
    """The same with stacked bars, for what is counted by hour or day; the legend has the sums."""
    stacked(panel).draw_style(GraphDrawStyle.BARS).fill_opacity(80)
    return panel.interval("1h").legend(legend(["sum"]))


def shares(panel: timeseries.Panel) -> timeseries.Panel:
    """The same with series as parts of a whole."""
    panel.stacking(common.StackingConfig().mode(StackingMode.PERCENT)).fill_opacity(60)
    return panel.line_width(1).legend(legend(["mean"]))


def bounded(panel: timeseries.Panel, *, warning: float, bad: float) -> timeseries.Panel:
    """The same with lines where it becomes a warning, and where it is bad."""
    style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(limits(warning, bad)).thresholds_style(style)


def number(title: str, description: str, *, unit: str, query: Query, span: int = 4) -> stat.Panel:
    """One number now. From SQL, further columns stand beside it with their names."""
    is_sql = isinstance(query, SqlQuery)
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(_source(query))
        .with_target(query)
        .unit(unit)
        .span(span)
        .height(_NUMBER_HEIGHT)
        .reduce_options(
            common.ReduceDataOptions().calcs(["lastNotNull"]).fields("/.*/" if is_sql else "")
        )
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if is_sql else BigValueTextMode.VALUE)
        .orientation(VizOrientation.HORIZONTAL)
        .no_value("no data")
        .color_scheme(by_limits())
        .thresholds(limits())
    )


def listing(
    title: str, description: str, *, unit: str, query: SqlQuery, span: int = 24
) -> table.Panel:
    """A table; `unit` is that of every number without an override."""
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(_source(query))
        .with_target(query)
        .unit(unit)
        .span(span)
        .height(_TABLE_HEIGHT)
        .filterable(filterable=True)
        .no_value("none")
        .color_scheme(by_limits())
        .thresholds(limits())
    )


def bars(
    title: str, description: str, *, unit: str, query: SqlQuery, span: int = 12
) -> barchart.Panel:
    """A bar for each row: the first column names it, the numbers are stacked."""
    return (
        barchart.Panel()
        .title(title)
        .description(description)
        .datasource(CLICKHOUSE)
        .with_target(query)
        .unit(unit)
        .span(span)
        .height(_GRAPH_HEIGHT)
        .stacking(StackingMode.NORMAL)
        .orientation(VizOrientation.VERTICAL)
        .show_value(VisibilityMode.NEVER)
        .fill_opacity(80)
        .no_value("no data")
        .legend(legend(["sum"]))
        .color_scheme(palette())
        .thresholds(limits())
    )


def timeline(
    title: str,
    description: str,
    *,
    states: Mapping[str, tuple[str, str]],
    query: Query,
    span: int = 12,
) -> statetimeline.Panel:
    """In which state something was; `states` are text and colour by value."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(_source(query))
        .with_target(query)
        .unit("none")
        .span(span)
        .height(_GRAPH_HEIGHT)
        .mappings([state_names(states)])
        .legend(legend([]))
        .no_value("no data")
        .color_scheme(by_limits())
        .thresholds(limits())
    )


def overridden(panel: _P, overrides: Sequence[Override]) -> _P:
    """The same with another look for some of its series or columns."""
    for each in overrides:
        panel.with_override(each.matcher, each.properties)
    return panel

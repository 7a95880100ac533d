"""How values look: limits, colours, legends, units of columns, names of states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import common, dashboard
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DashboardFieldConfigSourceOverrides,
    DynamicConfigValue,
    FieldColorModeId,
    MatcherConfig,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

#: What becomes of an event has the same colour on every dashboard, by the name of the series.
OUTCOME_COLORS = {
    "accepted": "#3a8f5c",
    "duplicate": "#4878a8",
    "duplicates": "#4878a8",
    "late": "#c9a227",
    "conflict": "#d9792b",
    "rejected": "#c0392b",
    "suppressed": "#8e6bb0",
    "absorbed": "#8a8f94",
}
#: Units of tables: every digit, with separators. Grafana's units of money would say 12.3K.
COUNT = MONEY = "locale"
_MONEY_DIGITS = 2
GOOD, WARNING, BAD = "green", "orange", "red"

Override = DashboardFieldConfigSourceOverrides


def limits(warning: float | None = None, bad: float | None = None) -> dashboard.ThresholdsConfig:
    """Good below `warning`, bad from `bad` on; without them a value is just a value."""
    bounds = [(None, GOOD if bad is not None else "text"), (warning, WARNING), (bad, BAD)]
    steps = [
        Threshold(value=value, color=color)
        for at, (value, color) in enumerate(bounds)
        if not at or value is not None
    ]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def limits_below(warning: float, bad: float) -> dashboard.ThresholdsConfig:
    """Good from `warning` on, bad below `bad`."""
    steps = [Threshold(None, BAD), Threshold(bad, WARNING), Threshold(warning, GOOD)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def palette() -> dashboard.FieldColor:
    """A series has the colour of its name, on every panel."""
    return dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME)


def by_limits() -> dashboard.FieldColor:
    """A value has the colour of the limit that it passed."""
    return dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS)


def legend(calculations: Sequence[str]) -> common.VizLegendOptions:
    """A table below the panel, with these calculations of each series."""
    return (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs(list(calculations))
    )


def outcome_colors() -> list[Override]:
    """The colours of outcomes, as overrides by name."""
    return [
        _override(name, color={"mode": "fixed", "fixedColor": color})
        for name, color in OUTCOME_COLORS.items()
    ]


def column_units(
    units: Mapping[str, str], *, money: Sequence[str] = (), whole: Sequence[str] = ()
) -> list[Override]:
    """Units of columns by their name, where it is not the panel's.

    `money` are amounts, `whole` are numbers without digits behind the point.
    """
    amounts = [_override(name, unit=MONEY, decimals=_MONEY_DIGITS) for name in money]
    counts = [_override(name, unit=COUNT, decimals=0) for name in whole]
    return [*(_override(name, unit=unit) for name, unit in units.items()), *amounts, *counts]


def times(*names: str) -> dict[str, str]:
    """The unit of columns that hold moments."""
    return dict.fromkeys(names, "dateTimeAsIso")


def column_limits(name: str, *, warning: float | None = None, bad: float | None = None) -> Override:
    """Limits of one column of a table, shown by the colour of its text."""
    found = _override(name, thresholds=limits(warning, bad).build())
    found.properties.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    return found


def state_names(states: Mapping[str, tuple[str, str]]) -> ValueMap:
    """Text and colour of each value."""
    return ValueMap(
        {
            value: ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(states.items())
        }
    )


def _override(name: str, **looks: object) -> Override:
    return Override(
        matcher=MatcherConfig(id_val="byName", options=name),
        properties=[DynamicConfigValue(what, value) for what, value in looks.items()],
    )

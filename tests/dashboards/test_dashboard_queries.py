"""Every query of every dashboard runs on real servers and shows something."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from grafana_text import ALL, Choice
from observed import Observed
from panel_queries import DASHBOARDS, Answer, Panel, panels

from deploy.localstack.stack import LocalStack

_PANELS = [panel for name in DASHBOARDS for panel in panels(name)]
#: Rows that have nothing to show for the period that is open.
CLOSED = ("Invoices", "Adjustments and runs", "Reconciliation")
_BURSTS, _BURST_EVENTS, _BURST_S = 6, 150, 1.5


@pytest.fixture(scope="module")
def observed(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A deployment with three months of usage, a minute of it live."""
    folder = tmp_path_factory.mktemp("observed")
    found = Observed(folder, stack.env(), f"o{uuid.uuid4().hex[:10]}")
    found.backfill(found.usage.history(days=80, hours_apart=31))
    found.backfill(found.usage.history(days=9, hours_apart=3))
    with found:
        for _ in range(_BURSTS):
            found.produce(_BURST_EVENTS)
            time.sleep(_BURST_S)
        found.wait_committed()
        found.issue_invoices()
        time.sleep(_BURST_S)
        yield found


@pytest.fixture(scope="module")
def choices(observed: Observed) -> dict[str, Choice]:
    """What a reader of each dashboard sees at first."""
    found = {name: observed.choice(name) for name in DASHBOARDS}
    found["pipeline"] = observed.choice("pipeline", minutes=2)
    return found


def answers(observed: Observed, panel: Panel, choice: Choice) -> list[Answer]:
    """What a panel shows; one that is repeated, for each value of its variable."""
    if panel.row in CLOSED:
        choice = choice.given(period=observed.closed_period(choice))
    if "$meter" not in panel.title:
        return [observed.servers.answer(panel, choice)]
    meters = ["api_requests", "storage_gb", "agent_minutes", "seats"]
    return [observed.servers.answer(panel, choice.given(meter=meter)) for meter in meters]


@pytest.mark.parametrize("panel", _PANELS, ids=lambda panel: f"{panel.dashboard}-{panel.title}")
def test_a_panel_shows_something(
    panel: Panel, observed: Observed, choices: dict[str, Choice]
) -> None:
    for answer in answers(observed, panel, choices[panel.dashboard]):
        assert not answer.is_empty, panel.targets
        if panel.kind in ("stat", "table", "barchart") and answer.columns:
            assert overridden_columns(panel) <= set(answer.columns) | OUTCOMES, answer.columns


OUTCOMES = {
    *("accepted", "duplicate", "duplicates", "late", "conflict", "rejected", "suppressed"),
    "absorbed",
}


def overridden_columns(panel: Panel) -> set[str]:
    """Columns that a panel shows in another way."""
    overrides = panel.fields["fieldConfig"]["overrides"] or []
    return {each["matcher"]["options"] for each in overrides}


@pytest.mark.parametrize("name", ["usage", "finance"])
def test_a_chosen_customer_and_meter_narrow_every_panel(
    name: str, observed: Observed, choices: dict[str, Choice]
) -> None:
    chosen = choices[name].given(customer=["acme-robotics", "o'hara"], meter=["api_requests"])
    for panel in panels(name):
        one = chosen.given(meter="api_requests") if "$meter" in panel.title else chosen
        answer = observed.servers.answer(panel, one)
        if "customer" in answer.columns:
            at = answer.columns.index("customer")
            assert {row[at] for row in answer.rows} <= {"acme-robotics"}, panel.title
        if "meter" in answer.columns:
            at = answer.columns.index("meter")
            assert {row[at] for row in answer.rows} <= {"api_requests"}, panel.title


def test_finance_shows_the_exact_sum_of_its_lines(
    observed: Observed, choices: dict[str, Choice]
) -> None:
    choice = choices["finance"]
    found = {panel.title: panel for panel in panels("finance")}
    charged = observed.servers.answer(found["Usage charged so far"], choice)
    lines = observed.servers.answer(found["Lines (${currency})"], choice)
    amounts = [row[lines.columns.index("amount")] for row in lines.rows]
    assert charged.rows[0][0] == sum(amounts) > 0
    assert choice.values["customer"] == ALL


def test_a_query_that_names_no_such_column_is_found(observed: Observed, tmp_path: Path) -> None:
    del tmp_path
    panel = next(panel for panel in _PANELS if panel.title == "Counted")
    target = {**panel.targets[0], "rawSql": panel.targets[0]["rawSql"].replace("events", "evnts")}
    broken = Panel(panel.dashboard, panel.row, {**panel.fields, "targets": [target]})
    with pytest.raises(Exception, match="evnts"):
        observed.servers.answer(broken, observed.choice("usage"))

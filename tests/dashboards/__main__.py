"""`make picture`: draw the main panels of every dashboard from real servers into docs/images.

A stack of its own, three months of made usage, some minutes of it live with one server away for a
while; then what every panel's query answers, drawn where the dashboard has it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_REPOSITORY))

from drawing import draw  # noqa: E402
from grafana_text import Choice, text_of  # noqa: E402
from observed import Observed  # noqa: E402
from panel_queries import DASHBOARDS, Panel, load, panels  # noqa: E402

from deploy.localstack.stack import LocalStack  # noqa: E402

_IMAGES = _REPOSITORY / "docs" / "images"
_LIVE_S, _AWAY_AT_S, _AWAY_S = 180, 90, 10
_EVENTS_PER_S = 8
_CLOSED = ("Invoices", "Adjustments and runs", "Reconciliation")
#: Panels that the picture leaves out, to stay on a page.
_LEFT_OUT = {
    "pipeline": {"Partitions by worker", "Restarts by error"},
    "usage": {"Late by", "Rejected events by code", "Why, and an example"},
    "finance": {"Usage without a price", "Unbound subjects", "Closes and adjustment runs"},
}


def main() -> None:
    """Draw all dashboards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stack = LocalStack(folder / "stack")
        stack.up()
        try:
            _observe(folder, stack)
        finally:
            stack.down()


def _observe(folder: Path, stack: LocalStack) -> None:
    observed = Observed(folder, stack.env(), "live")
    print("counting three months of usage")  # noqa: T201
    observed.backfill(observed.usage.history(days=80, until=8, hours_apart=5))
    observed.backfill(observed.usage.history(days=8, density=12))
    # A file arrives long after its events: here, it shall look as if they had come in time.
    observed.clickhouse.command(
        "ALTER TABLE usage_totals UPDATE late_events = intDiv(late_events, 15) WHERE true",
        settings={"mutations_sync": 2},
    )
    with observed:
        print(f"counting live for {_LIVE_S} s")  # noqa: T201
        _live(observed, stack)
        live = observed.choice("pipeline", minutes=_LIVE_S // 60)
        observed.wait_committed()
        observed.issue_invoices()
        time.sleep(3)
        _IMAGES.mkdir(exist_ok=True)
        for dashboard in DASHBOARDS:
            _draw(
                observed, dashboard, live if dashboard == "pipeline" else observed.choice(dashboard)
            )


def _live(observed: Observed, stack: LocalStack) -> None:
    """Send usage in waves; in the middle, Redis is away for some seconds."""
    began = time.monotonic()
    second, is_away, was_away = 0, False, False
    while second < _LIVE_S:
        wave = 1 + 0.6 * ((second // 30) % 3)
        observed.produce(int(_EVENTS_PER_S * wave))
        if second >= _AWAY_AT_S and not was_away:
            stack.service("redis").stop()
            is_away = was_away = True
        if is_away and second >= _AWAY_AT_S + _AWAY_S:
            stack.up(["redis"])
            is_away = False
        second += 1
        time.sleep(max(began + second - time.monotonic(), 0))


def _draw(observed: Observed, dashboard: str, choice: Choice) -> None:
    shown = [
        (panel, observed.servers.answer(panel, chosen), text_of(panel.title, chosen))
        for panel in panels(dashboard)
        if panel.title not in _LEFT_OUT[dashboard]
        for chosen in [_chosen(observed, panel, choice)]
    ]
    file = _IMAGES / f"dashboard-{dashboard}.png"
    draw(load(dashboard)["title"], shown, file)
    print(f"{file} {file.stat().st_size // 1024} KiB")  # noqa: T201


def _chosen(observed: Observed, panel: Panel, choice: Choice) -> Choice:
    if panel.row in _CLOSED:
        choice = choice.given(period=observed.closed_period(choice))
    return choice.given(meter="api_requests") if "$meter" in panel.title else choice


if __name__ == "__main__":
    main()

"""Hours of a synthetic year cut short, and what the production SQL says of them.

Most pairs use evenly within an hour. Others tick every five minutes, run one batch (on the hour or
at half past), or use most of it in the first ten minutes and a trickle after, which neither the
first nor the last second of their hours gives away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
from baselines import Fired
from clickhouse_connect.driver.client import Client
from load_year import START, insert_hours, moment
from numpy.typing import NDArray
from synthetic_year import HOURS, WEEK, SyntheticYear

from alerts.begun_hours import begun_breaches
from alerts.breaches import BREACHES, meter_parameters
from alerts.detection import BREACHES_MAX, Detection
from metering.catalog import Catalog

#: How many of 100 pairs use so within an hour.
SPREADS = {"even": 64, "ticks": 12, "on the hour": 6, "half past": 6, "front-loaded": 12}
_TICK_S, _BATCH_S, _FRONT_S, _FRONT_SHARE = 300, 120, 600, 0.7
#: Events come in clumps of about so many: these come or do not come together.
_CLUMP = 2
_SALT = 7


def with_spreads(year: SyntheticYear) -> SyntheticYear:
    """The year with the first and last seconds that go with how each pair spreads."""
    first, last = year.first_s.copy(), year.last_s.copy()
    spreads = _spreads(year)[year.pair]
    for name, begins, ends in (
        ("ticks", 0, 3600 - _TICK_S), ("on the hour", 0, _BATCH_S - 1),
        ("half past", 1800, 1800 + _BATCH_S - 1), ("front-loaded", 0, 3599),
    ):  # fmt: skip
        first[spreads == name], last[spreads == name] = begins, ends
    return replace(year, first_s=first, last_s=last)


def cut_short(year: SyntheticYear, elapsed_s: int) -> SyntheticYear:
    """What is there of every hour after so many seconds; seeded."""
    random = np.random.default_rng([year.seed, elapsed_s, _SALT])
    spreads = _spreads(year)[year.pair]
    even = (elapsed_s - year.first_s) / np.maximum(year.last_s - year.first_s, 1)
    due = np.clip(even, 0, 1)
    due[spreads == "ticks"] = min(elapsed_s // _TICK_S + 1, 12) / 12
    front = _FRONT_SHARE * min(elapsed_s / _FRONT_S, 1)
    due[spreads == "front-loaded"] = front + (1 - _FRONT_SHARE) * elapsed_s / 3600
    clumps = random.binomial(year.events // _CLUMP, due) * _CLUMP
    events = clumps + random.binomial(year.events % _CLUMP, due)
    there = events > 0
    return replace(
        year, pair=year.pair[there], hour=year.hour[there], events=events[there],
        quantity=(year.quantity * events / year.events)[there], first_s=year.first_s[there],
        last_s=np.minimum(year.last_s, elapsed_s - 1)[there],
    )  # fmt: skip


def begun_hours(
    client: Client, catalog: Catalog, years: Iterable[SyntheticYear], *, elapsed_s: int
) -> dict[str, Fired]:
    """What is told of in hours of which so many seconds are complete, at these moments."""
    table = f"usage_begun_{elapsed_s}"
    client.command(f"CREATE TABLE IF NOT EXISTS {table} AS usage_hours")
    client.command(f"ALTER TABLE {table} REMOVE TTL")
    for year in years:
        insert_hours(client, table, cut_short(year, elapsed_s))
    detection = Detection(client, catalog)
    statement = begun_breaches(table)
    found: dict[str, tuple[list[float], list[float]]] = {}
    for mark in _candidates(client, catalog):
        elapsed = timedelta(seconds=elapsed_s)
        for each in detection.begun(mark, elapsed=elapsed, statement=statement):
            up, down = found.setdefault(each.customer_id, ([], []))
            hour = (mark + elapsed - START) / timedelta(hours=1)
            (up if each.is_up else down).append(hour)
    return {name: Fired(np.array(up), np.array(down)) for name, (up, down) in found.items()}


def together(*told: Mapping[str, Fired]) -> dict[str, Fired]:
    """What one or the other told of, by customer."""
    nothing = Fired(np.array([]), np.array([]))
    return {
        name: Fired(
            *(np.concatenate([each.get(name, nothing)[at] for each in told]) for at in (0, 1))
        )
        for name in set().union(*told)
    }


def _candidates(client: Client, catalog: Catalog) -> list[Any]:
    """Marks at which a pair breaches that did not at the mark before."""
    every = BREACHES.replace("(is_new OR", "(is_new OR fired OR")
    assert every != BREACHES
    marks = set()
    for first in range(8 * WEEK, HOURS, 24):
        parameters = {
            "first": moment(first + 1), "last": moment(min(first + 24, HOURS - 1)),
            "limit": BREACHES_MAX, **meter_parameters(catalog.meters.values()),
        }  # fmt: skip
        rows = client.query(every, parameters=parameters).result_rows
        marks |= {row[0].replace(tzinfo=START.tzinfo) for row in rows if not row[5]}
    return sorted(marks)


def _spreads(year: SyntheticYear) -> NDArray[np.str_]:
    """How each pair of a year uses within an hour."""
    names, parts = list(SPREADS), np.array(list(SPREADS.values()), np.float64)
    random = np.random.default_rng([year.seed, _SALT])
    return random.choice(np.array(names), len(year.shapes), p=parts / parts.sum())

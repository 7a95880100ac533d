"""Hours of a synthetic year cut short, and what the production SQL says of them.

Most pairs use evenly within an hour. Others tick every five minutes, run one batch (on the hour or
at half past), or use most of it in the first ten minutes and a trickle after, which neither the
first nor the last second of their hours gives away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from baselines import Fired
from clickhouse_connect.driver.client import Client
from load_year import START, insert_hours, moment
from numpy.typing import NDArray
from synthetic_year import HOURS, WEEK, SyntheticYear

from alerts.begun_hours import begun_breaches
from alerts.breaches import BREACHES, meter_parameters
from alerts.detection import Detection
from alerts.progress import in_utc
from metering.catalog import Catalog
from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse

#: The mark to which what is judged is copied, and how a row gets there from table `s`.
_AT = moment(40 * WEEK)
_NAMED = "concat(c.customer_id, '#', toString(toUnixTimestamp(c.mark)))"
_PAIR = f"cityHash64({_NAMED}, 'requests') AS pair"
_MOVED = (
    f"s.{{0}} + dateDiff('second', c.mark, toDateTime('{_AT:%Y-%m-%d %H:%M:%S}', 'UTC')) AS {{0}}"
)
_CANDIDATE = "(mark DateTime('UTC'), customer_id String)"
_OF_PAIR = (
    "(SELECT mark, customer_id, cityHash64(customer_id, 'requests') AS of FROM {beside}.candidates)"
    " AS c ON s.pair = c.of"
)
_OF_NAME = "{beside}.candidates AS c ON s.customer_id = c.customer_id"
_BY_MARK = f"SELECT s.* REPLACE ({_MOVED.format('mark')}, {_PAIR})"
_BY_HOUR = f"SELECT s.* REPLACE ({_MOVED.format('window_start')}, {_NAMED} AS customer_id)"
_COPIES = {
    "usage_deviations": f"{_BY_MARK} FROM usage_deviations AS s FINAL INNER JOIN {_OF_PAIR}"
    " WHERE s.mark = c.mark",
    "usage_marks": f"{_BY_MARK} FROM usage_marks AS s FINAL INNER JOIN {_OF_PAIR}"
    " WHERE s.mark = c.mark",
    "usage_profiles": f"{_BY_MARK} FROM usage_profiles AS s FINAL INNER JOIN {_OF_PAIR}"
    " WHERE s.mark = c.mark + INTERVAL 1 HOUR - INTERVAL 1 WEEK",
    "usage_hours": f"{_BY_HOUR} FROM usage_hours AS s FINAL INNER JOIN {_OF_NAME}"
    " WHERE s.window_start >= c.mark - INTERVAL 4 WEEK AND s.window_start < c.mark"
    " AND dateDiff('hour', s.window_start, c.mark) % 168 = 0",
    "usage_pairs": f"SELECT {_PAIR}, {_NAMED}, 'requests', now(), now() FROM usage_pairs AS s"
    f" INNER JOIN {_OF_NAME}",
    "alert_findings": "SELECT * FROM alert_findings",
}
_BEGUN = (
    f"{_BY_HOUR} FROM {{beside}}.cut_short AS s INNER JOIN {_OF_NAME} WHERE s.window_start = c.mark"
)

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
    settings: Settings, catalog: Catalog, years: Sequence[SyntheticYear], *, elapsed_s: list[int]
) -> dict[int, dict[str, Fired]]:
    """What is told of in hours of which so many seconds are complete, at these moments; by them.

    Every pair of interest, at each of its marks, is copied to one mark of a database beside, as a
    pair of its own: one question judges them all.
    """
    beside = f"{settings.database}_begun"
    client = connect_clickhouse(settings, answer_s=600)
    client.command(f"DROP DATABASE IF EXISTS {beside}")
    client.command(f"CREATE DATABASE {beside}")
    client.command(f"CREATE TABLE {beside}.candidates {_CANDIDATE} ENGINE = Memory")
    candidates = _candidates(client, catalog)
    client.insert(f"{beside}.candidates", candidates, column_names=["mark", "customer_id"])
    for table, select in _COPIES.items():
        client.command(f"CREATE TABLE {beside}.{table} AS {table}")
        client.command(f"INSERT INTO {beside}.{table} {select.replace('{beside}', beside)}")
    found = {}
    for each in elapsed_s:
        for table in ("cut_short", "begun"):
            client.command(f"DROP TABLE IF EXISTS {beside}.{table}")
            client.command(f"CREATE TABLE {beside}.{table} AS usage_hours")
        for year in years:
            insert_hours(client, f"{beside}.cut_short", cut_short(year, each))
        client.command(f"INSERT INTO {beside}.begun {_BEGUN.replace('{beside}', beside)}")
        found[each] = _told(settings, catalog, beside=beside, elapsed_s=each)
    client.close()
    return found


def _told(settings: Settings, catalog: Catalog, *, beside: str, elapsed_s: int) -> dict[str, Fired]:
    client = connect_clickhouse(settings, database=beside, answer_s=600)
    elapsed, statement = timedelta(seconds=elapsed_s), begun_breaches("begun")
    told: dict[str, tuple[list[float], list[float]]] = {}
    for each in Detection(client, catalog).begun(_AT, elapsed=elapsed, statement=statement):
        customer, _, began_s = each.customer_id.partition("#")
        hour = (int(began_s) + elapsed_s - START.timestamp()) / 3600
        told.setdefault(customer, ([], []))[0 if each.is_up else 1].append(hour)
    client.close()
    return {name: Fired(np.array(up), np.array(down)) for name, (up, down) in told.items()}


def together(*told: Mapping[str, Fired]) -> dict[str, Fired]:
    """What one or the other told of, by customer."""
    nothing = Fired(np.array([]), np.array([]))
    return {
        name: Fired(
            *(np.concatenate([each.get(name, nothing)[at] for each in told]) for at in (0, 1))
        )
        for name in set().union(*told)
    }


def _candidates(client: Client, catalog: Catalog) -> list[tuple[datetime, str]]:
    """Marks and customers that breach there and did not at the mark before."""
    every = BREACHES.replace("(is_new OR", "(is_new OR fired OR").replace("is_new DESC", "is_new")
    assert every.count("fired OR") == 1
    found = set()
    for first in range(8 * WEEK, HOURS, WEEK):
        parameters = {
            "first": moment(first + 1), "last": moment(min(first + WEEK, HOURS - 1)),
            "limit": 1_000_000, **meter_parameters(catalog.meters.values()),
        }  # fmt: skip
        rows = client.query(every, parameters=parameters).result_rows
        found |= {(in_utc(row[0]), row[1]) for row in rows if not row[5]}
    return sorted(found)


def _spreads(year: SyntheticYear) -> NDArray[np.str_]:
    """How each pair of a year uses within an hour."""
    names, parts = list(SPREADS), np.array(list(SPREADS.values()), np.float64)
    random = np.random.default_rng([year.seed, _SALT])
    return random.choice(np.array(names), len(year.shapes), p=parts / parts.sum())

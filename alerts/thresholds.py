"""Thresholds of billing periods: how far allowance, commit and budget are used up, and deltas.

One row for everything that is at half of its limit or more, or is projected to exceed it, in
billing periods that are not over; what it says comes from the views that finance reads. Exact
numbers stay Decimal.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client

from metering.alert import PROJECTED, Finding, FindingKey, FindingKind
from metering.catalog_alerts import Budgets
from sinks.clickhouse import clickhouse_errors

#: Per cent of a limit that are told of.
THRESHOLDS = (50, 80, 100)
#: Part of a period that has to have passed before its end is projected: a day says little.
_PROJECT_FROM = "0.1"

_PERIODS = """
    SELECT customer_id, period_start, period_end, plan, currency, base_fee
    FROM billing_periods FINAL
    WHERE period_start <= {now:DateTime('UTC')} AND period_end > {since:DateTime('UTC')}
"""
#: By how much what was used until now grows until the period ends; a level stays.
_GROWS = (
    "if(level, 1, dateDiff('second', b.period_start, b.period_end)"
    " / greatest(dateDiff('second', b.period_start,"
    " least({now:DateTime('UTC')}, b.period_end)), 1))"
)
_MAY_PROJECT = f"{_GROWS} < 1 / {_PROJECT_FROM}"

_ALLOWANCE = f"""
SELECT
    'allowance' AS kind, customer_id, meter, `group`, b.period_start AS started,
    toString(used) AS observed, toString(limit_units) AS expected,
    toInt64(used * 100 / limit_units) AS percent,
    if({_MAY_PROJECT}, toInt64(floor(percent * {_GROWS})), 0) AS percent_at_end, '' AS unit
FROM
(
    SELECT
        p.customer_id AS customer_id, p.meter AS meter, p.`group` AS `group`,
        p.period_start AS period_start,
        sum(greatest(p.quantity, toDecimal256(0, 12))) AS used,
        if(max(k.carries_s) > 0, argMax(p.allowance, p.part_start), sum(p.allowance))
            AS limit_units,
        any(p.aggregation) IN ('max', 'latest') AS level
    FROM rated_parts AS p
    LEFT JOIN (SELECT card, carries_s FROM rate_cards FINAL) AS k ON k.card = p.card
    WHERE p.period_start IN (SELECT period_start FROM ({_PERIODS}))
    GROUP BY p.customer_id, p.meter, p.`group`, p.period_start
    HAVING limit_units > 0 AND used > 0
) AS u
INNER JOIN ({_PERIODS}) AS b USING (customer_id, period_start)
WHERE percent >= 50 OR percent_at_end > 100
"""
_COMMIT = """
SELECT
    'commit' AS kind, customer_id, meter, `group`, period_start AS started,
    toString(if(c.kind = 'plan', used, toDecimal256(used_units, 24))) AS observed,
    toString(if(c.kind = 'plan', commit, toDecimal256(commit_units, 24))) AS expected,
    toInt64(floor(toFloat64(percent_of_commit))) AS percent,
    if(period_start + (period_end - period_start) / 10 < {now:DateTime('UTC')},
        toInt64(floor(toFloat64(ifNull(projected_percent_of_commit, 0)))), 0) AS percent_at_end,
    if(c.kind = 'plan', currency, '') AS unit
FROM commit_position AS c
WHERE period_start <= {now:DateTime('UTC')} AND period_end > {since:DateTime('UTC')}
    AND (percent >= 50 OR percent_at_end > 100)
"""
_BUDGET = f"""
SELECT
    'budget' AS kind, customer_id, '' AS meter, '' AS `group`, b.period_start AS started,
    toString(used) AS observed, toString(amount) AS expected,
    toInt64(used * 100 / amount) AS percent,
    if({_MAY_PROJECT},
        toInt64(floor((toFloat64(steady) + toFloat64(used - steady) * {_GROWS})
            / toFloat64(amount) * 100)), 0) AS percent_at_end, currency AS unit
FROM
(
    SELECT
        b.customer_id AS customer_id, b.period_start AS period_start, b.period_end AS period_end,
        b.currency AS currency, b.base_fee + r.charged AS used, b.base_fee + r.of_levels AS steady,
        false AS level,
        toDecimal256OrZero(if(
            has({{customers:Array(String)}}, b.customer_id),
            {{customer_amounts:Array(String)}}[indexOf({{customers:Array(String)}}, b.customer_id)],
            {{plan_amounts:Array(String)}}[indexOf({{plans:Array(String)}}, b.plan)]), 12)
            AS amount
    FROM ({_PERIODS}) AS b
    LEFT JOIN
    (
        SELECT customer_id, period_start, sum(charge) AS charged,
            sumIf(charge, aggregation IN ('max', 'latest')) AS of_levels
        FROM rated_parts
        WHERE period_start IN (SELECT period_start FROM ({_PERIODS}))
        GROUP BY customer_id, period_start
    ) AS r ON r.customer_id = b.customer_id AND r.period_start = b.period_start
) AS b
WHERE amount > 0 AND (percent >= 50 OR percent_at_end > 100)
"""


class Position(NamedTuple):
    """How far a limit is used up; `percent` are whole, rounded down."""

    kind: str
    customer_id: str
    meter: str
    group: str
    period_start: datetime
    observed: str
    expected: str
    percent: int
    percent_at_end: int
    unit: str


def positions(
    client: Client, budgets: Budgets, *, now: datetime, since: datetime | None = None
) -> list[Position]:
    """Limits that are half used up, or will be exceeded, in periods that hold `now`.

    `now` is the moment that usage is complete to; with `since`, what it was complete to when this
    was asked last, also in periods that ended in between. Raises `DependencyDown`.
    """
    parameters: dict[str, Any] = {
        "now": now,
        "since": now if since is None else min(since, now),
        "customers": list(budgets.of_customers),
        "customer_amounts": [f"{each:f}" for each in budgets.of_customers.values()],
        "plans": list(budgets.of_plans),
        "plan_amounts": [f"{each:f}" for each in budgets.of_plans.values()],
    }
    statements = [_ALLOWANCE, _COMMIT]
    if budgets.of_customers or budgets.of_plans:
        statements.append(_BUDGET)
    found = []
    for statement in statements:
        with clickhouse_errors("reading how far limits are used up"):
            rows = client.query(statement, parameters=parameters).result_rows
        found += [_position(row) for row in rows]
    return found


def crossed(position: Position, *, complete_to: datetime) -> list[Finding]:
    """Every threshold that the position has reached, the lowest first; none twice for a period."""
    names = [str(each) for each in THRESHOLDS if position.percent >= each]
    if position.percent < THRESHOLDS[-1] < position.percent_at_end:
        names.append(PROJECTED)
    limit = Decimal(position.expected)
    return [
        Finding(
            FindingKey(
                FindingKind(position.kind), position.customer_id, position.meter, position.group,
                name,
            ),
            position.period_start,
            0,
            observed=(
                limit * position.percent_at_end / 100
                if name == PROJECTED
                else Decimal(position.observed)
            ),
            expected=limit,
            unit=position.unit,
            complete_to=complete_to,
        )
        for name in names
    ]  # fmt: skip


def _position(row: Sequence[Any]) -> Position:
    kind, customer, meter, group, started, observed, expected, percent, at_end, unit = row
    return Position(
        kind, customer, meter, group, _utc(started), observed, expected, percent, at_end, unit
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

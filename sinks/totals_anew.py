"""Totals of some customers, written anew from raw history after it was rated anew.

One absolute row for each window that is not what raw adds up to, absorbed up to the partition's
cut; where raw has nothing any more, a row without events, which a worker goes on from. For
partitions that stand still, like the repair of `verify`.
"""

from collections.abc import Sequence
from typing import Any

from clickhouse_connect.driver.client import Client

from metering.catalog import Meter
from metering.period import WINDOW_SECONDS, hour_of
from sinks.clickhouse import INSERT_SETTINGS, clickhouse_errors
from sinks.conservation.aggregates import WINDOW_START
from sinks.conservation.cuts import CUTS, cut_parameters
from sinks.conservation.findings import Cut
from sinks.rated_rows import Scope

_KEY = "customer_id, meter, `group`, window_start, stream, partition"
_ZERO = "toDecimal256(0, 12)"
#: First and last of no event: the first one that comes moves both.
_AFTER = "toDateTime64(window_start + 3600, 6, 'UTC')"
_BEFORE = "toDateTime64(window_start, 6, 'UTC')"
_VALUES = "quantity, events, late, first, last, identity, included, overage, charge, card, ps, pp"
#: Each side of a window as one tuple; what it was absorbed up to is no part of it.
_SIDES = f"""
    SELECT {_KEY}, 1 AS is_total, toString(aggregation) AS how, quantity, events,
           late_events AS late, first_occurred_at AS first, last_occurred_at AS last,
           if(aggregation = 'latest', last_identity, toFixedString('', 16)) AS identity,
           included, overage, charge, card, period_start AS ps, part_start AS pp
    FROM usage_totals FINAL
    WHERE {{customers}} AND window_start >= toDateTime(%(first)s, 'UTC')
      AND window_start < toDateTime(%(next)s, 'UTC')
      AND (stream, partition) IN (SELECT stream, partition FROM cuts)
    UNION ALL
    SELECT {_KEY}, 0, transform(toString(meter), %(names)s, %(aggregations)s, 'sum') AS stated,
           multiIf(stated = 'count', toDecimal256(count(), 12),
                   stated = 'unique_count', toDecimal256(countIf(counted), 12),
                   stated = 'max', toDecimal256(max(units), 12),
                   stated = 'latest', toDecimal256(argMax(units, (occurred_at, e.identity)), 12),
                   sum(toDecimal256(units, 12))),
           count(), countIf(e.late), min(occurred_at), max(occurred_at),
           if(stated = 'latest', argMax(e.identity, (occurred_at, e.identity)),
              toFixedString('', 16)),
           sum(included), sum(overage), sum(charge),
           argMax(card, offset * 1024 + `index`), argMax(period_start, offset * 1024 + `index`),
           argMax(part_start, offset * 1024 + `index`)
    FROM
    (
        SELECT * EXCEPT quantity, quantity AS units, {WINDOW_START} AS window_start
        FROM billable_events WHERE {{customers}}
    ) AS e
    INNER JOIN cuts USING (stream, partition)
    WHERE offset < next_offset AND toUnixTimestamp(window_start) >= %(first)s
      AND toUnixTimestamp(window_start) < %(next)s
    GROUP BY {_KEY}
"""
_DIFFERING = f"""
WITH cuts AS ({CUTS})
SELECT {_KEY}, any(how) AS aggregation,
       groupArrayIf(({_VALUES}), is_total = 1) AS stored,
       groupArrayIf(({_VALUES}), is_total = 0) AS expected
FROM ({_SIDES})
GROUP BY {_KEY}
HAVING stored != expected
   AND NOT (empty(expected) AND tupleElement(stored[1], 2) = 0
            AND tupleElement(stored[1], 1) = 0 AND tupleElement(stored[1], 9) = 0)
"""
_REWRITE = f"""
INSERT INTO usage_totals
    ({_KEY}, aggregation, quantity, events, late_events, first_occurred_at, last_occurred_at,
     last_identity, included, overage, charge, card, period_start, part_start, absorbed_offset)
WITH cuts AS ({CUTS})
SELECT {_KEY}, aggregation, v.1, v.2, v.3, v.4, v.5, v.6, v.7, v.8, v.9, v.10, v.11, v.12,
       cuts.next_offset - 1
FROM
(
    SELECT *, if(empty(expected),
                 ({_ZERO}, toUInt64(0), toUInt64(0), {_AFTER}, {_BEFORE}, toFixedString('', 16),
                  {_ZERO}, {_ZERO}, toDecimal256(0, 24), stored[1].10, stored[1].11,
                  stored[1].12), expected[1]) AS v
    FROM ({_DIFFERING})
) AS d
INNER JOIN cuts USING (stream, partition)
"""


class TotalsAnew:
    """Compares and writes the totals of a scope. Every call may raise `DependencyDown`."""

    def __init__(self, client: Client, meters: Sequence[Meter]) -> None:
        """`meters` say how windows aggregate; what is not among them adds up."""
        self._client = client
        self._meters = meters

    def write(self, scope: Scope, cuts: list[Cut]) -> None:
        """Write every window that is not what raw adds up to below its cut."""
        if cuts:
            self._ask(_REWRITE, scope, cuts=cuts)

    def differing(self, scope: Scope, cuts: list[Cut]) -> int:
        """How many windows are not what raw adds up to below its cut."""
        if not cuts:
            return 0
        return int(self._ask(f"SELECT count() FROM ({_DIFFERING})", scope, cuts=cuts))

    def _ask(self, sql: str, scope: Scope, *, cuts: list[Cut]) -> Any:
        customers = "customer_id IN %(customers)s"
        if scope.meters:
            customers += " AND meter IN %(meters)s"
        parameters = {
            **cut_parameters(cuts),
            "customers": list(scope.customers),
            "meters": list(scope.meters),
            "names": [meter.key for meter in self._meters] or [""],
            "aggregations": [str(meter.aggregation) for meter in self._meters] or [""],
            "first": hour_of(scope.start),
            "next": hour_of(scope.end + WINDOW_SECONDS - 1),
        }
        with clickhouse_errors("writing totals anew"):
            return self._client.command(
                sql.replace("{customers}", customers), parameters=parameters,
                settings=INSERT_SETTINGS if sql is _REWRITE else None,
            )  # fmt: skip

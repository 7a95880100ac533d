"""Are the stored totals what raw history adds up to? Exact while workers are running.

Cuts are read first, and a total is compared with raw up to its partition's cut. A flush writes
raw, then totals, then the cut, so whatever is before the cut is in both. What came after it shows
as a difference only in rows whose own `absorbed_offset` is at or beyond the cut. Those are looked
at again one by one (`recheck`): first the row, then raw up to that row's `absorbed_offset`, which
raw must hold by then. So the order of the reads makes it exact, not a pause.

Everything is added up in ClickHouse, customers in ranges, so that memory is bounded. Raw is what is
billable: what a correction took back is not in totals.
"""

from collections.abc import Callable, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client

from metering.catalog import Aggregation, Catalog
from sinks.clickhouse import clickhouse_errors
from sinks.conservation.aggregates import (
    LATEST_COLUMNS,
    RAW_COLUMNS,
    WINDOW_START,
    expected_quantity,
)
from sinks.conservation.cuts import CUTS, cut_parameters
from sinks.conservation.findings import Amount, Cut, TotalDifference, TotalsResult
from sinks.conservation.recheck import MovingTotal, recheck

#: Raw rows that one query adds up.
RANGE_ROWS = 2_000_000
#: Differing totals that are moving and are looked at again; what is beyond is not compared.
_MOVING_MAX = 20_000

_RANGES = """
SELECT max(customer_id) FROM
(
    SELECT customer_id, sum(events) OVER (ORDER BY customer_id ROWS UNBOUNDED PRECEDING) AS upto
    FROM (SELECT customer_id, count() AS events FROM usage_events GROUP BY customer_id)
)
GROUP BY intDiv(upto, %(rows)s) ORDER BY 1
"""
_LATEST = "SELECT DISTINCT toString(meter) FROM usage_totals WHERE aggregation = 'latest'"
_KEY = "customer_id, meter, `group`, window_start, stream, partition"
_WINDOW_KEY = _KEY.replace("window_start", f"{WINDOW_START} AS window_start")
_NO_TIME = "toDateTime64(0, 6, 'UTC')"
_NO_DATE = "toDateTime(0, 'UTC')"
_NO_CHARGE = "toDecimal256(0, 12) AS i, toDecimal256(0, 12) AS o, toDecimal256(0, 24) AS c"
_NO_TOTAL = (
    f"0, '', toDecimal256(0, 12), 0, 0, {_NO_TIME}, {_NO_TIME}, toFixedString('', 16), 0, "
    f"toDecimal256(0, 12), toDecimal256(0, 12), toDecimal256(0, 24), {_NO_DATE}, 0, {_NO_DATE}, "
    f"{_NO_DATE}"
)
_NO_SUMS = (
    "toDecimal256(0, 12) AS s, toUInt64(0) AS n, toUInt64(0) AS l, toUInt64(0) AS u, "
    f"toDecimal256(0, 12) AS m, {_NO_TIME} AS f, {_NO_TIME} AS t, {_NO_CHARGE}, "
    f"{_NO_DATE} AS w, toUInt64(0) AS k, {_NO_DATE} AS ps, {_NO_DATE} AS pp"
)
_NO_LATEST = "toDecimal256(0, 12) AS v, toFixedString('', 16) AS vi"
#: One row for every window that is in totals, in raw, or in both; `is_right` compares the two.
COMPARED = f"""
    SELECT customer_id, meter, `group`, window_start, sides.stream AS stream,
           sides.partition AS partition, next_offset, absorbed, t_quantity, t_events, t_late,
           t_first, t_last,
           if(stated = '', transform(meter, %(meters)s, %(aggregations)s, 'sum'), stated)
               AS aggregation,
           {expected_quantity("aggregation")} AS r_quantity, r_events, r_late, r_first, r_last,
           r_latest_identity, r_included, r_overage, r_charge, r_card, r_period, r_part, r_written,
           t_rows, t_included, t_overage, t_charge, t_card, t_period, t_part, t_updated,
           t_quantity = r_quantity AND t_events = r_events AND t_late = r_late
           AND t_included = r_included AND t_overage = r_overage AND t_charge = r_charge
           AND (r_events = 0 OR (t_first = r_first AND t_last = r_last AND t_card = r_card
                                 AND t_period = r_period AND t_part = r_part))
           AND (r_events = 0 OR aggregation != 'latest' OR t_identity = r_latest_identity)
               AS is_right,
           NOT is_right AND t_rows > 0 AND absorbed >= next_offset AS is_moving
    FROM
    (
        SELECT {_KEY},
               sum(is_total) AS t_rows, max(aggregation) AS stated, sum(quantity) AS t_quantity,
               sum(events) AS t_events, sum(late_events) AS t_late,
               max(first_occurred_at) AS t_first, max(last_occurred_at) AS t_last,
               max(last_identity) AS t_identity, max(absorbed_offset) AS absorbed,
               sum(included) AS t_included, sum(overage) AS t_overage, sum(charge) AS t_charge,
               sum(i) AS r_included, sum(o) AS r_overage, sum(c) AS r_charge,
               max(updated_at) AS t_updated, max(card) AS t_card, max(period_start) AS t_period,
               max(part_start) AS t_part, max(w) AS r_written, max(k) AS r_card,
               max(ps) AS r_period, max(pp) AS r_part,
               sum(s) AS r_sum, max(n) AS r_events, max(l) AS r_late, max(u) AS r_counted,
               sum(m) AS r_max, sum(v) AS r_latest, max(f) AS r_first, max(t) AS r_last,
               max(vi) AS r_latest_identity
        FROM
        (
            SELECT {_KEY}, 1 AS is_total, aggregation, quantity, events, late_events,
                   first_occurred_at, last_occurred_at, last_identity, absorbed_offset,
                   included, overage, charge, updated_at, card, period_start, part_start,
                   {_NO_SUMS}, {_NO_LATEST}
            FROM usage_totals FINAL WHERE {{range}}
            UNION ALL
            SELECT {_WINDOW_KEY}, {_NO_TOTAL}, {RAW_COLUMNS}, {_NO_LATEST}
            FROM (SELECT * FROM billable_events WHERE {{range}}) AS e
            INNER JOIN cuts USING (stream, partition)
            WHERE offset < next_offset GROUP BY {_KEY}
            UNION ALL
            SELECT {_WINDOW_KEY}, {_NO_TOTAL}, {_NO_SUMS}, {LATEST_COLUMNS}
            FROM
            (
                SELECT * FROM billable_events WHERE meter IN %(latest)s AND {{range}}
            ) AS e
            INNER JOIN cuts USING (stream, partition)
            WHERE offset < next_offset GROUP BY {_KEY}
        )
        GROUP BY {_KEY}
    ) AS sides
    LEFT JOIN cuts USING (stream, partition)
"""
_SHOWN = (
    "toString(customer_id), toString(meter), `group`, toString(window_start), toString(stream), "
    "partition, toString(aggregation), "
    "(toString(r_quantity), r_events, r_late, toString(r_first), toString(r_last), "
    "toString(r_included), toString(r_overage), toString(r_charge), toString(r_card), "
    "toString(r_period), toString(r_part)), "
    "(toString(t_quantity), t_events, t_late, toString(t_first), toString(t_last), "
    "toString(t_included), toString(t_overage), toString(t_charge), toString(t_card), "
    "toString(t_period), toString(t_part))"
)
_SUMMARY = f"""
WITH cuts AS ({CUTS})
SELECT count(), countIf(NOT is_right AND NOT is_moving),
       groupUniqArrayIf((toString(stream), partition), NOT is_right AND NOT is_moving),
       groupArrayIf(%(shown)s)(({_SHOWN}), NOT is_right AND NOT is_moving),
       countIf(is_moving),
       groupArrayIf(%(moving)s)((toString(customer_id), toString(meter), `group`,
           toUnixTimestamp(window_start), toString(stream), partition), is_moving)
FROM ({COMPARED})
"""


def customer_ranges(client: Client) -> list[tuple[str | None, str | None]]:
    """Ranges of customers (above the first, up to the second) of some `RANGE_ROWS` raw rows."""
    with clickhouse_errors("counting raw history"):
        rows = client.query(_RANGES, parameters={"rows": RANGE_ROWS}).result_rows
    borders: list[str | None] = [str(row[0]) for row in rows[:-1]]
    return list(zip([None, *borders], [*borders, None], strict=True))


def compare_totals(
    client: Client, catalog: Catalog, *, cuts: list[Cut], shown_max: int,
    only_cuts: bool = False, say: Callable[[int, int], None] = lambda _done, _of: None,
) -> TotalsResult:  # fmt: skip
    """Compare every window up to its cut; `say` hears how many ranges of how many are done.

    Totals of partitions without a cut are looked at as well, unless `only_cuts`. Raises
    `DependencyDown`.
    """
    found = TotalsResult()
    if not cuts:
        return found
    ranges = customer_ranges(client)
    bound = comparison_parameters(client, catalog, cuts=cuts)
    for done, customers in enumerate(ranges):
        say(done, len(ranges))
        compare_range(
            client, found, customers=customers, bound=bound, shown_max=shown_max,
            only_cuts=only_cuts,
        )  # fmt: skip
    say(len(ranges), len(ranges))
    return found


def compare_range(
    client: Client, found: TotalsResult, *, customers: tuple[str | None, str | None],
    bound: dict[str, Any], shown_max: int, only_cuts: bool = False,
) -> None:  # fmt: skip
    """Compare the windows of one range of customers; `bound` is of `comparison_parameters`."""
    parameters = {
        **bound, "above": customers[0], "upto": customers[1], "shown": shown_max,
        "moving": _MOVING_MAX,
    }  # fmt: skip
    sql = _SUMMARY.replace("{range}", range_condition(customers, only_cuts=only_cuts))
    with clickhouse_errors("comparing totals with raw history"):
        row = client.query(sql, parameters=parameters).result_rows[0]
    _take(client, row, found=found, shown_max=shown_max)


def comparison_parameters(client: Client, catalog: Catalog, *, cuts: list[Cut]) -> dict[str, Any]:
    """Parameters of `COMPARED`, but those of its `range_condition` (`above`, `upto`)."""
    with clickhouse_errors("asking which meters keep the latest value"):
        latest = {str(row[0]) for row in client.query(_LATEST).result_rows}
    meters = catalog.meters.values()
    latest |= {meter.key for meter in meters if meter.aggregation is Aggregation.LATEST}
    return {
        **cut_parameters(cuts),
        "latest": sorted(latest) or [""],
        "meters": [meter.key for meter in meters],
        "aggregations": [str(meter.aggregation) for meter in meters],
    }  # fmt: skip


def range_condition(customers: tuple[str | None, str | None], *, only_cuts: bool) -> str:
    """SQL condition that keeps a range of customers, and with `only_cuts` partitions of `CUTS`."""
    conditions = [
        "" if customers[0] is None else "customer_id > %(above)s",
        "" if customers[1] is None else "customer_id <= %(upto)s",
        "(stream, partition) IN (SELECT stream, partition FROM cuts)" if only_cuts else "",
    ]
    return " AND ".join(filter(None, conditions)) or "1"


def _take(client: Client, row: Sequence[Any], *, found: TotalsResult, shown_max: int) -> None:
    compared, differing, partitions, shown, moving_count, moving = row
    differences = [_difference(entry) for entry in shown]
    if moving:
        again = recheck(client, [MovingTotal(*key) for key in moving])
        differing += len(again)
        differences += again
        partitions += [(each.stream, each.partition) for each in again]
    found.compared += int(compared)
    found.differing += int(differing)
    found.moving += int(moving_count) - len(moving)
    found.partitions.update((str(stream), int(number)) for stream, number in partitions)
    found.shown.extend(differences[: max(shown_max - len(found.shown), 0)])


def _difference(entry: tuple[Any, ...]) -> TotalDifference:
    customer_id, meter, group, window_start, stream, partition, aggregation, *amounts = entry
    expected, got = (Amount(*amount) for amount in amounts)
    return TotalDifference(
        customer_id, meter, group, window_start, stream, partition, aggregation, expected, got
    )

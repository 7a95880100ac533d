"""How raw events add up to one window, in SQL: the same folds as the ledger's, written anew.

Sums are taken in 256 bits: ClickHouse adds Decimal(38) in 128 bits and wraps around silently.
"""

#: The window of an event: `DateTime` in UTC; an hour, cut where a part of a period begins.
WINDOW_START = "greatest(toDateTime(toStartOfHour(occurred_at, 'UTC'), 'UTC'), part_start)"

#: Which event of a partition is newer: a message holds at most 1000. One number, as that is what
#: ClickHouse compares fastest.
_NEWEST = "offset * 1024 + `index`"

#: s sum, n events, l late, u counted once, m max, f first, t last, i included, o overage, c charge,
#: w when it was written; k card, ps and pp the starts of period and part, all of the newest event:
#: an edited catalog leaves several in one window, and its total has those of the last one.
RAW_COLUMNS = f"""
                   sum(toDecimal256(quantity, 12)) AS s, count() AS n, countIf(late) AS l,
                   countIf(counted) AS u, toDecimal256(max(quantity), 12) AS m,
                   min(occurred_at) AS f, max(occurred_at) AS t,
                   sum(included) AS i, sum(overage) AS o, sum(charge) AS c,
                   max(ingested_at) AS w, argMax(card, {_NEWEST}) AS k,
                   argMax(period_start, {_NEWEST}) AS ps, argMax(part_start, {_NEWEST}) AS pp"""

#: v latest, vi its identity: dear, so that large queries ask it only for meters that need it.
LATEST_COLUMNS = """
                   toDecimal256(argMax(quantity, (occurred_at, identity)), 12) AS v,
                   argMax(identity, (occurred_at, identity)) AS vi"""


def expected_quantity(aggregation: str) -> str:
    """SQL for the window's quantity by the aggregation that the expression names."""
    return f"""multiIf(
               {aggregation} = 'count', toDecimal256(r_events, 12),
               {aggregation} = 'unique_count', toDecimal256(r_counted, 12),
               {aggregation} = 'max', r_max, {aggregation} = 'latest', r_latest, r_sum)"""

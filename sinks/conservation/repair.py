"""Writes totals anew from raw history where they differ, while workers may be running.

    1  fence    a new generation for every partition concerned: its worker is refused at its next
                check, drops what it holds and starts anew from what is stored
    2  wait     for a write that had passed its check before
    3  rewrite  one absolute row for each differing window, absorbed up to the partition's end of
                totals; where raw has nothing, a row of 0
    4  fence    what a worker read between 1 and 3 is void as well
    5  compare  and begin again if a write slipped in between after all
    A crash anywhere leaves right or wrong totals, never lost ones: raw is not touched, and the
    rows are absolute. Repeat the command.

Raw is complete up to where totals are absorbed, since a flush writes it first. The new rows say
that they are absorbed up to there, so what is replayed below it is not added again. They keep the
time of the last update: by it `period_usage` knows which of two cards is the newer.
"""

import time
from collections.abc import Callable

from clickhouse_connect.driver.client import Client

from metering.catalog import Catalog
from metering.claims import DedupStore
from sinks.clickhouse import INSERT_SETTINGS, clickhouse_errors
from sinks.conservation.cuts import CUTS, absorbed_cuts
from sinks.conservation.findings import Balance, Cut
from sinks.conservation.offsets import missing_offsets
from sinks.conservation.totals import (
    COMPARED,
    compare_totals,
    comparison_parameters,
    customer_ranges,
    range_condition,
)

_ROUNDS_MAX = 3
_SETTLE_S = 1.0
_SUPERSEDED_MAX = 65_536

_REWRITE = f"""
INSERT INTO usage_totals
    (customer_id, meter, `group`, window_start, stream, partition, aggregation, quantity, events,
     late_events, first_occurred_at, last_occurred_at, last_identity, absorbed_offset, included,
     overage, charge, card, period_start, part_start, updated_at)
WITH cuts AS ({CUTS})
SELECT customer_id, meter, `group`, window_start, stream, partition, aggregation, r_quantity,
       r_events, r_late,
       if(r_events = 0, toDateTime64(window_start + 3600, 6, 'UTC'), r_first),
       if(r_events = 0, toDateTime64(window_start, 6, 'UTC'), r_last),
       if(aggregation = 'latest', r_latest_identity, toFixedString('', 16)), next_offset - 1,
       r_included, r_overage, r_charge, if(r_events = 0, t_card, r_card),
       if(r_events = 0, t_period, r_period), if(r_events = 0, t_part, r_part),
       if(t_rows > 0, t_updated, r_written)
FROM ({COMPARED})
WHERE NOT is_right
"""
_RECORD_SUPERSEDED = """
INSERT INTO duplicate_events
    (stream, partition, offset, `index`, customer_id, meter, id, identity, occurred_at,
     record_time, owner_partition, owner_offset, owner_index)
SELECT lost.stream, lost.partition, lost.offset, lost.`index`, lost.customer_id, lost.meter,
       lost.id, lost.identity, lost.occurred_at, lost.record_time,
       if(won.stream = lost.stream, toInt32(won.partition), -1), won.offset, won.`index`
FROM usage_events AS lost
INNER JOIN
(
    SELECT customer_id, meter, identity, stream, partition, offset, `index`
    FROM usage_events FINAL
) AS won USING (customer_id, meter, identity)
WHERE lost.stream = %(stream)s AND lost.partition = %(partition)s AND lost.offset IN %(offsets)s
  AND (won.stream, won.partition, won.offset, won.`index`)
      != (lost.stream, lost.partition, lost.offset, lost.`index`)
"""


def repair_totals(
    client: Client, catalog: Catalog, *, store: DedupStore, partitions: set[tuple[str, int]],
    settle_s: float = _SETTLE_S, say: Callable[[str], None] = lambda _text: None,
) -> int:  # fmt: skip
    """Write the wrong totals of `partitions` anew; the number of windows still wrong (0, mostly).

    Raises `DependencyDown`, `DedupMemoryLost`.
    """
    for number in range(1, _ROUNDS_MAX + 1):
        _fence(store, partitions)
        time.sleep(settle_s)
        cuts = _cuts_of(client, partitions)
        say(f"round {number}: writing totals of {len(cuts)} partitions anew from raw history")
        rewrite_totals(client, catalog, cuts=cuts)
        _fence(store, partitions)
        wrong = compare_totals(
            client, catalog, cuts=_cuts_of(client, partitions), shown_max=1, only_cuts=True
        )
        if not wrong.differing:
            return 0
    return wrong.differing


def rewrite_totals(client: Client, catalog: Catalog, *, cuts: list[Cut]) -> None:
    """One row for every window that differs from raw up to its cut, absorbed up to there."""
    if not cuts:
        return
    bound = comparison_parameters(client, catalog, cuts=cuts)
    for customers in customer_ranges(client):
        sql = _REWRITE.replace("{range}", range_condition(customers, only_cuts=True))
        parameters = {**bound, "above": customers[0], "upto": customers[1]}
        with clickhouse_errors("writing totals anew"):
            client.command(sql, parameters=parameters, settings=INSERT_SETTINGS)


def record_superseded(client: Client, balance: Balance) -> None:
    """Record as duplicates the raw rows whose identity another coordinate holds first.

    A merge may drop such a row at any time; then nothing would account for its offset.
    """
    offsets = missing_offsets(client, balance.cut, count_max=_SUPERSEDED_MAX)
    parameters = {
        "stream": balance.cut.stream, "partition": balance.cut.partition, "offsets": offsets,
    }  # fmt: skip
    with clickhouse_errors("recording duplicates"):
        client.command(_RECORD_SUPERSEDED, parameters=parameters, settings=INSERT_SETTINGS)


def _fence(store: DedupStore, partitions: set[tuple[str, int]]) -> None:
    for stream, partition in sorted(partitions):
        store.begin(stream, partition)


def _cuts_of(client: Client, partitions: set[tuple[str, int]]) -> list[Cut]:
    return [cut for cut in absorbed_cuts(client) if (cut.stream, cut.partition) in partitions]

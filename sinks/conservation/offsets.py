"""Is every offset accounted for? Sets of offsets as compressed bitmaps, one scan of each table.

A coordinate is packed as offset * 1024 + index (a message holds at most 1000 events), which takes
about two bytes an event. A coordinate that is in several tables counts once, as what comes first
of: accepted, duplicate, conflict, rejected, suppressed. (A rejected event whose subject was bound
later and that was read again is in two of them.) Rows at or beyond the cut are in flight.
"""

from dataclasses import replace
from typing import Any

from clickhouse_connect.driver.client import Client

from metering.rejection import RejectionCode
from sinks.clickhouse import clickhouse_errors
from sinks.conservation.cuts import CUTS, cut_parameters
from sinks.conservation.findings import Balance, Cut

_CONFLICT = str(RejectionCode.IDENTITY_MUST_NOT_REPEAT_WITH_OTHER_PAYLOAD)
_BLOCK = 65_536
#: Ranges of missing offsets that a balance names.
RANGES_SHOWN_MAX = 20

_ROWS = f"""
    SELECT stream, partition, 'a' AS outcome, offset, `index` FROM usage_events FINAL
    UNION ALL SELECT stream, partition, 'd', offset, `index` FROM duplicate_events FINAL
    UNION ALL SELECT stream, partition, if(code = '{_CONFLICT}', 'k', 'r'), offset, `index`
              FROM rejected_events FINAL
    UNION ALL SELECT stream, partition, 's', offset, `index` FROM suppressed_events FINAL
    UNION ALL SELECT stream, partition, if(reason = 'lost', 'l', 'g'),
              arrayJoin(range(first_offset, next_offset)), 0
              FROM offset_gaps FINAL
"""
_BALANCES = f"""
WITH cuts AS ({CUTS}),
    outcomes AS
    (
        SELECT stream, partition, outcome, count() AS n, groupBitmapState(offset) AS o,
               groupBitmapState(offset * 1024 + `index`) AS c
        FROM ({_ROWS}) GROUP BY stream, partition, outcome
    ),
    partitions AS
    (
        SELECT stream, partition,
               sumIf(n, outcome = 'a') AS raw,
               groupBitmapMergeStateIf(c, outcome = 'a') AS a,
               groupBitmapMergeStateIf(c, outcome = 'd') AS d,
               groupBitmapMergeStateIf(c, outcome = 'k') AS k,
               groupBitmapMergeStateIf(c, outcome = 'r') AS r,
               groupBitmapMergeStateIf(c, outcome = 's') AS s,
               groupBitmapMergeStateIf(o, outcome = 'g') AS gaps,
               groupBitmapMergeStateIf(o, outcome = 'l') AS lost,
               groupBitmapMergeStateIf(o, outcome NOT IN ('g', 'l')) AS records
        FROM outcomes GROUP BY stream, partition
    ),
    (x -> bitmapCardinality(bitmapSubsetInRange(x, first_offset * 1024, next_offset * 1024)))
        AS events,
    (x -> bitmapCardinality(bitmapSubsetInRange(x, first_offset, next_offset))) AS offsets
SELECT cuts.stream, cuts.partition, events(a), events(bitmapOr(a, d)),
       events(bitmapOr(bitmapOr(a, d), k)), events(bitmapOr(bitmapOr(bitmapOr(a, d), k), r)),
       events(bitmapOr(bitmapOr(bitmapOr(bitmapOr(a, d), k), r), s)),
       offsets(records), offsets(bitmapOr(records, gaps)),
       offsets(bitmapOr(bitmapOr(records, gaps), lost)), raw - bitmapCardinality(a),
       bitmapCardinality(bitmapSubsetInRange(records, next_offset, toUInt64(-1)))
FROM partitions INNER JOIN cuts USING (stream, partition)
"""
_ONE_PARTITION = f"""
    SELECT outcome, offset FROM ({_ROWS})
    WHERE stream = %(stream)s AND partition = %(partition)s
      AND offset >= %(first)s AND offset < %(next)s
"""
_BLOCKS = f"""
SELECT intDiv(offset, {_BLOCK}) AS block, groupBitmap(offset)
FROM ({_ONE_PARTITION}) GROUP BY block ORDER BY block
"""
_MISSING = f"""
SELECT bitmapToArray(bitmapAndnot(
    bitmapBuild(range(toUInt64(%(first)s), toUInt64(%(next)s))), groupBitmapState(offset)))
FROM ({_ONE_PARTITION})
"""
_SUPERSEDED = """
SELECT uniqExact(offset) FROM usage_events
WHERE stream = %(stream)s AND partition = %(partition)s AND offset IN %(offsets)s
"""


def balances(client: Client, cuts: list[Cut]) -> list[Balance]:
    """The balance of every partition up to its cut, in order. Raises `DependencyDown`."""
    if not cuts:
        return []
    with clickhouse_errors("accounting for every offset"):
        rows = client.query(_BALANCES, parameters=cut_parameters(cuts)).result_rows
    found = {(row[0], row[1]): row[2:] for row in rows}
    return [_balance(client, cut, row=found.get((cut.stream, cut.partition))) for cut in cuts]


def missing_offsets(client: Client, cut: Cut, *, count_max: int) -> list[int]:
    """The first offsets that nothing accounts for, ascending."""
    found: list[int] = []
    for first in _blocks_with_holes(client, cut):
        low, high = max(first, cut.first_offset), min(first + _BLOCK, cut.next_offset)
        with clickhouse_errors("naming missing offsets"):
            rows = client.query(
                _MISSING, parameters=_range(cut, first=low, following=high)
            ).result_rows
        found.extend(rows[0][0])
        if len(found) >= count_max:
            break
    return found[:count_max]


def _balance(client: Client, cut: Cut, *, row: Any | None) -> Balance:
    if row is None:
        row = (0,) * 10
    a, ad, adk, adkr, adkrs, records, with_gaps, covered, doubled, in_flight = (
        int(each) for each in row
    )
    missing = cut.next_offset - cut.first_offset - covered
    balance = Balance(
        cut, accepted=a, duplicates=ad - a, conflicts=adk - ad, rejected=adkr - adk,
        suppressed=adkrs - adkr, control=with_gaps - records, lost=covered - with_gaps,
        missing=missing, doubled=doubled,
        in_flight=in_flight,
    )  # fmt: skip
    if not missing:
        return balance
    offsets = missing_offsets(client, cut, count_max=_BLOCK)
    with clickhouse_errors("looking at missing offsets"):
        parameters = {"stream": cut.stream, "partition": cut.partition, "offsets": offsets}
        superseded = client.query(_SUPERSEDED, parameters=parameters).result_rows[0][0]
    ranges = tuple(_ranges(offsets)[:RANGES_SHOWN_MAX])
    return replace(balance, missing_ranges=ranges, superseded=int(superseded))


def _blocks_with_holes(client: Client, cut: Cut) -> list[int]:
    """First offsets of the blocks of offsets that are not complete, ascending."""
    with clickhouse_errors("looking for missing offsets"):
        rows = client.query(
            _BLOCKS, parameters=_range(cut, first=cut.first_offset, following=cut.next_offset)
        ).result_rows
    held = {int(block): int(count) for block, count in rows}
    found = []
    for block in range(cut.first_offset // _BLOCK, (cut.next_offset - 1) // _BLOCK + 1):
        low = max(block * _BLOCK, cut.first_offset)
        high = min((block + 1) * _BLOCK, cut.next_offset)
        if held.get(block, 0) < high - low:
            found.append(block * _BLOCK)
    return found


def _range(cut: Cut, *, first: int, following: int) -> dict[str, Any]:
    return {
        "stream": cut.stream, "partition": cut.partition, "first": first, "next": following,
    }  # fmt: skip


def _ranges(offsets: list[int]) -> list[tuple[int, int]]:
    """Ascending offsets as half-open ranges."""
    found: list[tuple[int, int]] = []
    for offset in offsets:
        if found and found[-1][1] == offset:
            found[-1] = (found[-1][0], offset + 1)
        else:
            found.append((offset, offset + 1))
    return found

"""How far each partition is durable, read before everything that is compared up to there."""

from typing import Any

from clickhouse_connect.driver.client import Client

from sinks.clickhouse import clickhouse_errors
from sinks.conservation.findings import Cut

_CUTS = """
SELECT stream, partition, min(first_offset), max(next_offset)
FROM watermarks GROUP BY stream, partition ORDER BY stream, partition
"""
_ABSORBED = """
SELECT stream, partition, max(absorbed_offset) + 1 FROM usage_totals
GROUP BY stream, partition ORDER BY stream, partition
"""

#: A table expression of cuts; `cut_parameters` binds it.
CUTS = """
    SELECT tupleElement(c, 1) AS stream, toUInt32(tupleElement(c, 2)) AS partition,
           toUInt64(tupleElement(c, 3)) AS first_offset, toUInt64(tupleElement(c, 4)) AS next_offset
    FROM (SELECT arrayJoin(%(cuts)s) AS c)
"""


def read_cuts(client: Client) -> list[Cut]:
    """The cut of every partition that was ever written, in order. Raises `DependencyDown`."""
    with clickhouse_errors("reading how far each partition is durable"):
        rows = client.query(_CUTS).result_rows
    return [Cut(*row) for row in rows]


def absorbed_cuts(client: Client) -> list[Cut]:
    """The same, but never before what totals hold already; only for partitions that stand still.

    Raw is written before totals, so it is complete up to such a cut as well.
    """
    found = {(cut.stream, cut.partition): cut for cut in read_cuts(client)}
    with clickhouse_errors("reading how far totals are absorbed"):
        rows = client.query(_ABSORBED).result_rows
    for stream, partition, absorbed in rows:
        cut = found.get((stream, partition))
        if cut is None:
            found[stream, partition] = Cut(stream, partition, 0, absorbed)
        elif absorbed > cut.next_offset:
            found[stream, partition] = Cut(stream, partition, cut.first_offset, absorbed)
    return [found[key] for key in sorted(found)]


def cut_parameters(cuts: list[Cut]) -> dict[str, Any]:
    """Parameters of `CUTS`; there must be at least one cut."""
    assert cuts, "an empty array has no type"
    return {"cuts": [(c.stream, c.partition, c.first_offset, c.next_offset) for c in cuts]}

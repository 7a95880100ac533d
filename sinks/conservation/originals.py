"""Every recorded duplicate has its original in raw history; where it has none, an event is lost."""

from clickhouse_connect.driver.client import Client

from sinks.clickhouse import clickhouse_errors
from sinks.conservation.cuts import CUTS, cut_parameters
from sinks.conservation.findings import Cut, Findings, LostOriginal

#: No more are counted.
_LOOKED_AT_MAX = 100_000

#: Originals at or beyond the cut may still be on their way; older than raw history, they are gone.
_SUSPECTS = f"""
SELECT toString(d.stream), d.partition, d.offset, d.`index`, d.customer_id, toString(d.meter), d.id,
       hex(d.identity)
FROM duplicate_events AS d FINAL
INNER JOIN ({CUTS}) AS cut ON cut.stream = d.stream AND cut.partition = d.owner_partition
WHERE d.owner_offset < cut.next_offset
  AND d.occurred_at >= (SELECT min(toStartOfMonth(occurred_at)) FROM usage_events)
  AND (d.customer_id, d.meter, d.identity) NOT IN
  (
      SELECT customer_id, meter, identity FROM usage_events
      WHERE (customer_id, meter, identity) IN
          (SELECT customer_id, meter, identity FROM duplicate_events)
  )
ORDER BY d.stream, d.partition, d.offset, d.`index` LIMIT %(most)s
"""
#: A subject that was bound anew has its original under another customer.
_ELSEWHERE = """
SELECT DISTINCT hex(identity) FROM usage_events
WHERE identity IN (SELECT toFixedString(unhex(arrayJoin(%(identities)s)), 16))
"""


def check_originals(client: Client, cuts: list[Cut], *, found: Findings, shown_max: int) -> None:
    """Look for copies of what raw history does not hold. Raises `DependencyDown`."""
    if not cuts:
        return
    parameters = {**cut_parameters(cuts), "most": _LOOKED_AT_MAX}
    with clickhouse_errors("looking for the originals of duplicates"):
        suspects = client.query(_SUSPECTS, parameters=parameters).result_rows
        if not suspects:
            return
        wanted = {"identities": sorted({row[-1] for row in suspects})}
        known = {row[0] for row in client.query(_ELSEWHERE, parameters=wanted).result_rows}
    lost = [LostOriginal(*row) for row in suspects if row[-1] not in known]
    found.originals_lost = len(lost)
    found.lost = lost[:shown_max]

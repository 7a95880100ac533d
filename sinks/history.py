"""Raw history in ClickHouse, for identities that the dedup memory may have forgotten."""

from clickhouse_connect.driver.client import Client

from metering.batch import Source
from metering.history import Owner
from sinks.clickhouse import clickhouse_errors

#: Typed as the column is: a set of plain strings never holds an identity that ends in a zero byte.
_OWNERS = """
SELECT identity, stream, partition, offset, `index`, digest
FROM usage_events FINAL
WHERE customer_id IN %(customers)s AND meter IN %(meters)s
  AND identity IN (SELECT toFixedString(unhex(arrayJoin(%(identities)s)), 16))
"""
_COPIES = """
SELECT offset, `index` FROM {table}
WHERE stream = %(stream)s AND partition = %(partition)s
  AND offset >= %(first)s AND offset < %(next)s
"""
_VALUES = """
SELECT customer_id, meter, `group`, JSONExtractString(dimensions, %(dimension)s) AS value,
       argMin((stream, partition, offset, `index`), (record_time, partition, offset, `index`))
FROM billable_events
WHERE meter = %(meter)s AND customer_id IN %(customers)s AND counted
  AND part_start = toDateTime(%(period)s, 'UTC')
  AND (customer_id, `group`, value) IN %(keys)s
GROUP BY customer_id, meter, `group`, value
"""

ValueKey = tuple[str, str, str, int, str]


class ClickHouseHistory:
    """A `History` over the table `usage_events`."""

    def __init__(self, client: Client) -> None:
        """Read through `client`, whose database is the deployment's."""
        self._client = client

    def owners(self, wanted: list[tuple[str, str, bytes]]) -> dict[bytes, Owner]:
        """Owners by identity, in one query."""
        parameters = {
            "customers": sorted({customer for customer, _, _ in wanted}),
            "meters": sorted({meter for _, meter, _ in wanted}),
            "identities": [identity.hex() for _, _, identity in wanted],
        }
        with clickhouse_errors("looking old events up in raw history"):
            found = self._client.query_arrow(_OWNERS, parameters=parameters, use_strings=True)
        return {
            bytes(row["identity"]): Owner(
                row["stream"], row["partition"], row["offset"], row["index"], row["digest"]
            )
            for row in found.to_pylist()
        }

    def copies(
        self, source: Source, *, first_offset: int, next_offset: int
    ) -> set[tuple[int, int]]:
        """Coordinates of duplicates and rejections, in one query by key."""
        sql = " UNION ALL ".join(
            _COPIES.format(table=table) for table in ("duplicate_events", "rejected_events")
        )
        parameters = {
            "stream": source.stream, "partition": source.partition,
            "first": first_offset, "next": next_offset,
        }  # fmt: skip
        with clickhouse_errors("looking up what was recorded as a copy"):
            return {(row[0], row[1]) for row in self._client.query(sql, parameters).result_rows}

    def counted_values(
        self, wanted: list[ValueKey], dimensions: dict[str, str]
    ) -> dict[ValueKey, Owner]:
        """Who was counted for a distinct value; one query per meter and part."""
        found: dict[ValueKey, Owner] = {}
        for meter, period in sorted({(key[1], key[3]) for key in wanted}):
            keys = [key for key in wanted if (key[1], key[3]) == (meter, period)]
            parameters = {
                "meter": meter, "period": period, "dimension": dimensions[meter],
                "customers": sorted({key[0] for key in keys}),
                "keys": [(key[0], key[2], key[4]) for key in keys],
            }  # fmt: skip
            with clickhouse_errors("looking old distinct values up in raw history"):
                rows = self._client.query(_VALUES, parameters=parameters).result_rows
            for customer, _, group, value, owner in rows:
                found[(customer, meter, group, period, value)] = Owner(
                    owner[0], owner[1], owner[2], owner[3], digest=0
                )
        return found

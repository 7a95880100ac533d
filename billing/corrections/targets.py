"""The events that a correction is about, as raw history holds them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from billing.corrections.policy import NotAllowed
from metering.decimals import units_of
from metering.quantity import written
from sinks.clickhouse import clickhouse_errors
from sinks.corrections import TakenBack
from sinks.rejects import Coordinate

#: First by place, without FINAL: the key is not known yet. Then by key, with it.
_KEYS_AT = """
SELECT DISTINCT customer_id, toString(meter), hex(identity) FROM usage_events
WHERE stream = %(stream)s AND partition = %(partition)s AND offset = %(offset)s
  AND `index` = %(index)s
"""
_KEYS_OF = """
SELECT DISTINCT customer_id, toString(meter), hex(identity) FROM usage_events
WHERE customer_id = %(customer)s AND meter = %(meter)s AND id = %(id)s
"""
_EVENTS = """
SELECT customer_id, toString(meter) AS meter, `group`, identity, id, quantity,
       toUnixTimestamp64Micro(occurred_at) AS at_us, dimensions,
       toString(stream) AS stream, partition, offset, `index`, disregarded,
       (customer_id, meter, identity) IN
           (SELECT customer_id, meter, identity FROM retracted_events FINAL WHERE is_retracted)
           AS is_retracted
FROM usage_events FINAL
WHERE (customer_id, toString(meter), hex(identity)) IN %(keys)s AND customer_id IN %(customers)s
ORDER BY stream, partition, offset, `index`
"""


class Target(NamedTuple):
    """One event; `quantity` is 10^-12 units, `at_us` Unix microseconds, `group` canonical JSON."""

    customer_id: str
    meter: str
    group: str
    identity: bytes
    id: str
    quantity: int
    at_us: int
    dimensions: str
    place: Coordinate
    disregarded: bool
    is_retracted: bool

    @property
    def key(self) -> TakenBack:
        """What names it among the events that are taken back."""
        return TakenBack(self.customer_id, self.meter, self.identity)

    def document(self) -> dict[str, object]:
        """As the payload of a correction keeps it."""
        return {
            "customer_id": self.customer_id, "meter": self.meter, "group": self.group,
            "identity": self.identity.hex(), "id": self.id, "quantity": written(self.quantity),
            "at_us": self.at_us, "place": str(self.place),
        }  # fmt: skip


class Targets:
    """Looks events up. Raises `NotAllowed` for what is not there, `DependencyDown`."""

    def __init__(self, client: Client) -> None:
        """Through `client`, whose database is the deployment's."""
        self._client = client

    def at(self, places: Sequence[Coordinate]) -> list[Target]:
        """The events at these places; one that a copy elsewhere holds first is not there."""
        keys = [key for place in places for key in self._keys(_KEYS_AT, place._asdict())]
        found = self.by_key(keys)
        missing = set(places) - {each.place for each in found}
        if missing:
            msg = (
                f"--event: expected places of accepted events, got {_listed(missing)}; see "
                "`meterline explain`"
            )
            raise NotAllowed(msg)
        return [each for each in found if each.place in places]

    def of(self, customer_id: str, meter: str, *, ids: Sequence[str]) -> list[Target]:
        """The events with these ids of a customer and meter."""
        keys = []
        for each in ids:
            found = self._keys(_KEYS_OF, {"customer": customer_id, "meter": meter, "id": each})
            if not found:
                msg = f"--id: expected an accepted event of {customer_id} and {meter}, got {each!r}"
                raise NotAllowed(msg)
            keys += found
        return self.by_key(keys)

    def by_key(self, keys: Sequence[tuple[str, str, str]]) -> list[Target]:
        """Events by (customer, meter, identity as hexadecimal digits)."""
        if not keys:
            return []
        parameters = {
            "keys": [(customer, meter, name.upper()) for customer, meter, name in keys],
            "customers": sorted({key[0] for key in keys}),
        }
        with clickhouse_errors("looking events up"):
            table = self._client.query_arrow(_EVENTS, parameters=parameters, use_strings=True)
        found = []
        for batch in table.to_batches():
            quantities = units_of(batch.column("quantity"))
            for row, quantity in zip(batch.to_pylist(), quantities, strict=True):
                place = Coordinate(row["stream"], row["partition"], row["offset"], row["index"])
                found.append(
                    Target(
                        row["customer_id"], row["meter"], row["group"], row["identity"], row["id"],
                        quantity, row["at_us"], row["dimensions"], place,
                        bool(row["disregarded"]), bool(row["is_retracted"]),
                    )
                )  # fmt: skip
        return found

    def _keys(self, sql: str, parameters: dict[str, object]) -> list[tuple[str, str, str]]:
        with clickhouse_errors("looking an event up"):
            rows = self._client.query(sql, parameters=parameters).result_rows
        return [(str(row[0]), str(row[1]), str(row[2])) for row in rows]


def require_retractable(found: Sequence[Target]) -> None:
    """Raise `NotAllowed` unless these are billable events of one customer."""
    customers = {each.customer_id for each in found}
    if len(customers) != 1:
        msg = f"expected events of one customer, got those of {_listed(customers) or 'nobody'}"
        raise NotAllowed(msg)
    gone = [each.place for each in found if each.is_retracted or each.disregarded]
    if gone:
        msg = f"expected events that count, got some that do not (any more): {_listed(gone)}"
        raise NotAllowed(msg)


def _listed(found: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, found)))

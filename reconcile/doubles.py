"""One piece of usage counted in two places, which no dedup window has caught.

Two ways past the identity, which is of (customer or subject, meter, id):

- the subject was bound to another customer in between: one identity, two customers;
- it was sent once with the customer and once with a subject of that customer: the same customer,
  meter and id, payload and moment, and two identities.

The first to arrive is the one that counts; the others are doubles. That two subjects of a customer
use the same ids is no double: ids are theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client

from reconcile.query import READ_SETTINGS
from reconcile.spans import Span
from reconcile.usage import History

_PLACES = """
SELECT %(why)s, toString(place.6), toString(place.7), place.8, toString(place.9),
       place.2, place.3, place.4, place.5
FROM
(
    SELECT arraySlice(arraySort(groupArray((
               record_time, toString(stream), partition, offset, `index`,
               customer_id, toString(meter), id, hex(identity)))), 2) AS later
    FROM {events} FINAL
    WHERE NOT disregarded AND {which} AND (customer_id, meter, identity) NOT IN
        (SELECT customer_id, meter, identity FROM retracted_events FINAL WHERE is_retracted)
    GROUP BY {group}
) ARRAY JOIN later AS place
"""
#: Looked for without FINAL: a row that is there twice is still of one customer.
_MOVED = """SELECT meter, identity FROM {events} WHERE subject != ''
    GROUP BY meter, identity HAVING min(customer_id) != max(customer_id)"""
#: Customers of which some usage came with a subject, and some without.
_MIXED = """SELECT customer_id FROM {events} WHERE {customers}
    GROUP BY customer_id HAVING countIf(subject = '') > 0 AND countIf(subject != '') > 0"""
_SENT_TWICE = """{customers} AND customer_id IN ({mixed}) AND (customer_id, meter, id) IN
    (
        SELECT customer_id, meter, id FROM {events} WHERE subject = '' AND {customers}
        AND customer_id IN ({mixed}) AND (customer_id, meter, id) IN
            (SELECT customer_id, meter, id FROM {events} WHERE subject != '' AND {customers}
             AND customer_id IN ({mixed}))
    )"""


@dataclass(frozen=True, slots=True)
class Double:
    """An event that ought not to count where it does: why, whose, and where it stands.

    `why` is identity or subject for one that counts beside another one, period for one that
    occurred in another period, or part of it, than it counts in (see `placement.py`).
    """

    why: str
    customer_id: str
    meter: str
    id: str
    identity: str
    place: tuple[str, int, int, int]

    @property
    def reason(self) -> str:
        """For people."""
        where = "/".join(map(str, self.place))
        if self.why == "period":
            return f"id {self.id} at {where}: did not occur in the part of the period it counts in"
        if self.why == "identity":
            return f"id {self.id} at {where}: its subject's usage counts for another customer too"
        return f"id {self.id} at {where}: sent with the customer, and again with a subject of it"


def read_moved(history: History) -> list[Double]:
    """Identities of two customers, in all of raw history: the other may lie in any period."""
    events = history.events
    moved = _MOVED.format(events=events)
    if not _has_rows(history.client, moved, parameters={}):
        return []
    sql = _PLACES.format(
        events=events, which=f"subject != '' AND (meter, identity) IN ({moved})",
        group="meter, identity HAVING uniqExact(customer_id) > 1",
    )  # fmt: skip
    return _doubles(history.client, sql, parameters={"why": "identity"})


def read_sent_twice(history: History, customers: Span) -> list[Double]:
    """Usage sent with the customer and with a subject of it, in all of its raw history."""
    words = {"events": history.events, "customers": customers.condition}
    mixed = _MIXED.format(**words)
    if not _has_rows(history.client, mixed, parameters=customers.parameters):
        return []
    sql = _PLACES.format(
        events=history.events, which=_SENT_TWICE.format(**words, mixed=mixed),
        group="customer_id, meter, id, quantity, digest, occurred_at "
        "HAVING uniqExact(identity) > 1 AND countIf(subject = '') > 0",
    )  # fmt: skip
    bound = {"why": "subject", **customers.parameters}
    return _doubles(history.client, sql, parameters=bound)


def places_of(doubles: Sequence[Double]) -> list[tuple[str, int, int, int]]:
    """Where they stand."""
    return [each.place for each in doubles]


def _has_rows(client: Client, sql: str, *, parameters: dict[str, Any]) -> bool:
    rows = client.query(
        f"SELECT 1 FROM ({sql}) LIMIT 1", parameters=parameters, settings=READ_SETTINGS
    ).result_rows
    return bool(rows)


def _doubles(client: Client, sql: str, *, parameters: dict[str, Any]) -> list[Double]:
    rows = client.query(sql, parameters=parameters, settings=READ_SETTINGS).result_rows
    return sorted(
        (
            Double(why, customer, meter, id_, identity, (str(stream), int(part), int(at), int(ix)))
            for why, customer, meter, id_, identity, stream, part, at, ix in rows
        ),
        key=lambda each: (each.customer_id, each.meter, each.id, each.place),
    )

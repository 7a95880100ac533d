"""One piece of usage counted in two places, which no dedup window has caught.

Two ways past the identity, which is of (customer or subject, meter, id):

- the subject was bound to another customer in between: one identity, two customers;
- it was sent once with the customer and once with a subject of that customer: the same customer,
  meter and id, payload and moment, and two identities.

The first to arrive is the one that counts; the others are doubles. That two subjects of a customer
use the same ids is no double: ids are theirs.
"""

from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from reconcile.query import READ_SETTINGS

_SHARED = """
SELECT 'identity', toString(place.6), toString(place.7), place.8, toString(place.9),
       place.2, place.3, place.4, place.5
FROM
(
    SELECT arraySlice(arraySort(groupArray((
               record_time, toString(stream), partition, offset, `index`,
               customer_id, toString(meter), id, hex(identity)))), 2) AS later
    FROM billable_events WHERE subject != ''
    GROUP BY meter, identity HAVING uniqExact(customer_id) > 1
) ARRAY JOIN later AS place
UNION ALL
SELECT 'subject', toString(place.6), toString(place.7), place.8, toString(place.9),
       place.2, place.3, place.4, place.5
FROM
(
    SELECT arraySlice(arraySort(groupArray((
               record_time, toString(stream), partition, offset, `index`,
               customer_id, toString(meter), id, hex(identity)))), 2) AS later
    FROM billable_events
    WHERE (customer_id, meter, id) IN
    (
        SELECT customer_id, meter, id FROM usage_events WHERE subject = ''
        AND (customer_id, meter, id) IN
            (SELECT customer_id, meter, id FROM usage_events WHERE subject != '')
    )
    GROUP BY customer_id, meter, id, quantity, digest, occurred_at
    HAVING uniqExact(identity) > 1 AND countIf(subject = '') > 0
) ARRAY JOIN later AS place
"""


@dataclass(frozen=True, slots=True)
class Double:
    """An event that counts beside another one: why, whose, and where it stands."""

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
        if self.why == "identity":
            return f"id {self.id} at {where}: its subject's usage counts for another customer too"
        return f"id {self.id} at {where}: sent with the customer, and again with a subject of it"


def read_doubles(client: Client) -> list[Double]:
    """All of raw history, since the other one may lie in any period."""
    rows = client.query(_SHARED, settings=READ_SETTINGS).result_rows
    return sorted(
        (
            Double(why, customer, meter, id_, identity, (str(stream), int(part), int(at), int(ix)))
            for why, customer, meter, id_, identity, stream, part, at, ix in rows
        ),
        key=lambda each: (each.customer_id, each.meter, each.id, each.place),
    )

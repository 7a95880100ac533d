"""The identity of one distinct value of a unique-count meter, claimed as events are."""

import xxhash


def value_identity(
    seed: int, customer_id: str, meter: str, group: str, period_start: int, value: str
) -> bytes:
    """16 bytes for a value of a (customer, meter, group) in the period that starts then.

    `seed` is `identity_seed`; parts are length-prefixed. The first letter keeps it apart from
    the identities of events.
    """
    parts = (customer_id, meter, group, str(period_start), value)
    text = "v" + "".join(f"{len(part)}:{part}" for part in parts)
    return xxhash.xxh3_128_digest(text.encode(), seed)

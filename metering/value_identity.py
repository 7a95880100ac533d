"""The identity of one distinct value of a unique-count meter, claimed as events are."""

import xxhash

#: Customer, meter, group, start of the billing period (Unix seconds), value.
ValueKey = tuple[str, str, str, int, str]


def value_identity(seed: int, key: ValueKey) -> bytes:
    """16 bytes for a distinct value; `seed` is `identity_seed`.

    Parts are length-prefixed. The first letter keeps it apart from the identities of events.
    """
    parts = (key[0], key[1], key[2], str(key[3]), key[4])
    text = "v" + "".join(f"{len(part)}:{part}" for part in parts)
    return xxhash.xxh3_128_digest(text.encode(), seed)

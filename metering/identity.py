"""Who an event is, and what it says: the two hashes that dedup compares.

An identity says "the same event again", a digest says "with the same content". Neither knows a
time: a retry that stamps a new time is still the same event.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest, xxh3_128_digest

#: Bits of a payload digest that mean something; the rest are 0.
DIGEST_BITS = 26

#: First part of an identity: whether the customer or the subject follows.
CUSTOMER = "c"
SUBJECT = "s"

_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_MIX_3 = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(33)


def identity_seed(key: str) -> int:
    """Seed of all identities of a deployment, from `Settings.identity_key`."""
    return xxh3_64_intdigest(key.encode())


def identity(kind: str, value: str, *, meter: str, event_id: str, seed: int) -> bytes:
    """16 bytes that are the same for the same event only.

    `kind` is `CUSTOMER` or `SUBJECT` and `value` what the *event* said: the customer where it named
    one, else the subject, never what a binding made of it (a binding may be corrected). Parts are
    length-prefixed, so ("a-b", "c") and ("a", "b-c") differ. Texts are compared by code point.
    """
    return xxh3_128_digest(
        f"{kind}{len(value)}:{value}{len(meter)}:{meter}{event_id}".encode(), seed
    )


def identities(
    customers: Sequence[str | None],
    subjects: Sequence[str | None],
    *,
    meters: Sequence[str],
    event_ids: Sequence[str],
    seed: int,
) -> NDArray[np.uint64]:
    """`identity` of every event (n x 2 words); the subject stands in where the customer is None."""
    joined = b"".join(
        [
            identity(CUSTOMER, customer, meter=meter, event_id=event_id, seed=seed)
            if customer is not None
            else identity(SUBJECT, subject or "", meter=meter, event_id=event_id, seed=seed)
            for customer, subject, meter, event_id in zip(
                customers, subjects, meters, event_ids, strict=True
            )
        ]
    )
    return np.frombuffer(joined, np.uint64).reshape(-1, 2)


def digests_of_texts(texts: bytes, ends: NDArray[np.int64], *, seed: int) -> NDArray[np.uint64]:
    """Identities (n x 2 words) of what `identity` hashes, laid one after the other in `texts`."""
    digest, places = xxh3_128_digest, ends.tolist()
    joined = b"".join(
        [digest(texts[start:end], seed) for start, end in zip([0, *places], places, strict=False)]
    )
    return np.frombuffer(joined, np.uint64).reshape(-1, 2)


def cloudevent_id(source: str, event_id: str) -> str:
    """Source and id of a CloudEvent as one text, which stands for the id in its identity.

    It starts with a character that no id may hold, so no other event's id can equal it.
    """
    return f"\0{len(source)}:{source}{event_id}"


def dimensions_hash(canonical: str) -> int:
    """64-bit hash of canonical dimensions (JSON, keys sorted)."""
    return xxh3_64_intdigest(canonical.encode())


def payload_digests(
    lo: NDArray[np.int64], hi: NDArray[np.int64], hashes: NDArray[np.uint64]
) -> NDArray[np.uint32]:
    """Digest of each payload: quantity and dimensions, `DIGEST_BITS` bits.

    `lo` and `hi` are the words of the quantity as 128-bit number of 10^-12 units, so 1.0 and "1"
    are the same; `hashes` are `dimensions_hash` of the dimensions.
    """
    mixed = _mixed(hashes ^ _mixed(lo.view(np.uint64) + _MIX_3))
    mixed = _mixed(mixed ^ (hi.view(np.uint64) + _MIX_3))
    return (mixed >> np.uint64(64 - DIGEST_BITS)).astype(np.uint32)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix each word so that every bit reaches every bit (MurmurHash3's, public domain)."""
    words = (words ^ (words >> _HALF)) * _MIX_1
    words = (words ^ (words >> _HALF)) * _MIX_2
    return words ^ (words >> _HALF)

"""The wire form of claims: 24 bytes a claim out, 12 bytes an owner back.

    out    bucket (4, big endian) | field (8) | value (12)
    value  source (3) | offset and index (6) | digest (3)

The identity's 128 bits give shard and bucket (word 0) and the field (word 1): with 2^17 buckets,
81 bits tell two identities apart, and more with more of them. A source is the 24-bit hash of its
stream plus the partition, so that partitions of one stream always differ. The offset is kept
modulo 2^38. Little endian.
"""

import numpy as np
import xxhash
from numpy.typing import NDArray

from metering.claims import Claims
from metering.compiled import compiled

BUCKET_BYTES = 4
FIELD_BYTES = 8
VALUE_BYTES = 12
CLAIM_BYTES = BUCKET_BYTES + FIELD_BYTES + VALUE_BYTES

_INDEX_BITS = 10
_PARTITION_MAX = 4095
_OFFSET_MASK = (1 << 38) - 1
_SOURCE_MASK = 0xFFFFFF


def stream_number(stream: str) -> int:
    """24-bit number of a stream."""
    return xxhash.xxh32_intdigest(stream.encode()) & _SOURCE_MASK


def shard_of(identities: NDArray[np.uint64], *, shards: int) -> NDArray[np.uint16]:
    """Shard of each identity, 0 .. shards-1."""
    return (identities[:, 0] % np.uint64(shards)).astype(np.uint16)


def pack_claims(claims: Claims, *, shards: int, buckets: int) -> NDArray[np.void]:
    """The claims as `CLAIM_BYTES` bytes each, in their order; `buckets` is the number per shard."""
    packed = np.empty((len(claims), CLAIM_BYTES), np.uint8)
    source = (stream_number(claims.source.stream) + claims.source.partition) & _SOURCE_MASK
    _pack(
        claims.identities, claims.offsets, claims.indexes, claims.digests, source,
        np.uint64(shards), np.uint64(buckets), packed,
    )  # fmt: skip
    return packed.view(f"V{CLAIM_BYTES}").reshape(-1)


@compiled
def _pack(
    identities: NDArray[np.uint64], offsets: NDArray[np.int64], indexes: NDArray[np.int64],
    digests: NDArray[np.uint32], source: int, shards: np.uint64, buckets: np.uint64,
    packed: NDArray[np.uint8],
) -> None:  # fmt: skip
    for row in range(len(packed)):
        word, rest = identities[row, 0], identities[row, 1]
        bucket = word // shards % buckets
        for byte in range(4):
            packed[row, byte] = bucket >> np.uint64(24 - 8 * byte)
        for byte in range(8):
            packed[row, 4 + byte] = rest >> np.uint64(8 * byte)
        place = np.uint64((offsets[row] & _OFFSET_MASK) << _INDEX_BITS) | np.uint64(indexes[row])
        for byte in range(3):
            packed[row, 12 + byte] = source >> (8 * byte)
            packed[row, 21 + byte] = digests[row] >> (8 * byte)
        for byte in range(6):
            packed[row, 15 + byte] = place >> np.uint64(8 * byte)


def unpack_owners(
    values: NDArray[np.uint8], *, stream: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Partition (-1 if of another stream), offset and index from values of shape (n, 12).

    A partition is recognised up to `_PARTITION_MAX` of the asker's own stream.
    """
    partition = (_little_endian(values[:, 0:3]) - stream_number(stream)) & _SOURCE_MASK
    partition[partition > _PARTITION_MAX] = -1
    place = _little_endian(values[:, 3:9])
    return partition, place >> _INDEX_BITS, place & ((1 << _INDEX_BITS) - 1)


def _little_endian(columns: NDArray[np.uint8]) -> NDArray[np.int64]:
    wide = np.zeros((len(columns), 8), np.uint8)
    wide[:, : columns.shape[1]] = columns
    return wide.view("<i8").reshape(len(columns)).astype(np.int64)

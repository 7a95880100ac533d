"""The wire form of claims: 26 bytes a claim out, 12 bytes an owner back.

    out    bucket (4, big endian) | field (10) | value (12)
    value  source (3) | offset and index (6) | digest (3)

The identity's 128 bits give shard and bucket (low bits of word 0) and the field (word 1 and the
high 16 bits of word 0): with 2^17 buckets, 97 bits tell two identities apart. A source is the
24-bit hash of its stream plus the partition, so that partitions of one stream always differ. The
offset is kept modulo 2^38. Little endian, built column by column.
"""

import numpy as np
import xxhash
from numpy.typing import NDArray

from metering.claims import Claims

BUCKET_BYTES = 4
FIELD_BYTES = 10
VALUE_BYTES = 12
COORDINATE_BYTES = 9
CLAIM_BYTES = BUCKET_BYTES + FIELD_BYTES + VALUE_BYTES

_INDEX_BITS = 10
_PARTITION_MAX = 4095
_OFFSET_MASK = (1 << 38) - 1
_SOURCE_MASK = 0xFFFFFF


def stream_number(stream: str) -> int:
    """24-bit number of a stream."""
    return xxhash.xxh32_intdigest(stream.encode()) & _SOURCE_MASK


def shard_of(identities: NDArray[np.uint64], *, shards: int) -> NDArray[np.int64]:
    """Shard of each identity, 0 .. shards-1."""
    return (identities[:, 0] % np.uint64(shards)).astype(np.int64)


def pack_claims(claims: Claims, *, shards: int, buckets: int) -> NDArray[np.uint8]:
    """Shape (n, 26): the claims as bytes, in their order; `buckets` is the number per shard."""
    n = len(claims)
    packed = np.empty((n, CLAIM_BYTES), np.uint8)
    word = claims.identities[:, 0]
    bucket = (word // np.uint64(shards)) % np.uint64(buckets)
    packed[:, 0:4] = bucket.astype(">u4").view(np.uint8).reshape(n, 4)
    packed[:, 4:12] = np.ascontiguousarray(claims.identities[:, 1]).view(np.uint8).reshape(n, 8)
    high = (word >> np.uint64(48)).astype("<u2")
    packed[:, 12:14] = high.view(np.uint8).reshape(n, 2)
    packed[:, 14:26] = pack_values(claims)
    return packed


def pack_values(claims: Claims) -> NDArray[np.uint8]:
    """Shape (n, 12): owner coordinate and payload digest of each claim."""
    n = len(claims)
    values = np.empty((n, VALUE_BYTES), np.uint8)
    source = (stream_number(claims.source.stream) + claims.source.partition) & _SOURCE_MASK
    values[:, 0:3] = np.frombuffer(source.to_bytes(3, "little"), np.uint8)
    place = ((claims.offsets & _OFFSET_MASK) << _INDEX_BITS) | claims.indexes
    values[:, 3:9] = place.astype("<u8").view(np.uint8).reshape(n, 8)[:, :6]
    digest = (claims.digests & np.uint32(0xFFFFFF)).astype("<u4")
    values[:, 9:12] = digest.view(np.uint8).reshape(n, 4)[:, :3]
    return values


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

"""In which order the archived logs are counted, so that who came first is who came first then.

A batch is of one partition, and batches are counted one after the other. Which one comes first
matters only where an identity stands in two of them: its first copy by (record time, partition,
stream, offset, index) has to claim it. So all logs go on together, slice of time by slice of time,
and these first copies claim before any batch of their slice does: for themselves, so that they are
counted as their own when their batch comes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dataflows.rebuild_cursor import Key, LogCursor
from metering.batch import EventBatch, RawBatch
from metering.claims import Claims

Decode = Callable[[RawBatch], EventBatch]


@dataclass(frozen=True, slots=True)
class Slice:
    """Batches of distinct logs, and the claims that have to be made before all of theirs."""

    batches: list[EventBatch]
    firsts: list[Claims]


def in_order(
    cursors: Sequence[LogCursor], decode: Decode, *, size: int,
    before: Callable[[LogCursor], None] = lambda _cursor: None,
) -> Iterator[Slice]:  # fmt: skip
    """Every batch of every log, decoded, each of about `size` messages at most.

    `before` is called before the batches of a log in a slice are taken.
    """
    while True:
        for cursor in cursors:
            cursor.fill(size)
        ready = [cursor for cursor in cursors if len(cursor)]
        if not ready:
            return
        parts: list[tuple[list[Key], EventBatch]] = []
        for cursor, count in zip(ready, _counts(ready), strict=True):
            if count:
                before(cursor)
                keys = cursor.keys[:count]
                parts.append((keys, decode(cursor.take(count))))
        yield Slice([batch for _, batch in parts], _firsts(parts))


def _counts(ready: Sequence[LogCursor]) -> list[int]:
    """How many records of each come before all that is not at hand yet."""
    unknown = [cursor.keys[-1].time_ms for cursor in ready if cursor.has_more]
    if not unknown:
        return [len(cursor) for cursor in ready]
    border = min(unknown)
    counts = [cursor.count_before(border) for cursor in ready]
    if any(counts):
        return counts
    # A whole piece within one millisecond: it goes on, in the order of partitions.
    return [cursor.count_before(border + 1) for cursor in ready]


def _firsts(parts: list[tuple[list[Key], EventBatch]]) -> list[Claims]:
    """For each log, the first copies of identities that another log has in this slice as well."""
    if len(parts) < 2:  # noqa: PLR2004 - one log repeats itself in order
        return []
    words = np.concatenate([batch.identities[:, 0] for _, batch in parts])
    _, numbers, counts = np.unique(words, return_inverse=True, return_counts=True)
    first: dict[int, tuple[Key, int, int, int]] = {}
    logs: dict[int, set[int]] = {}
    begin = 0
    for log, (keys, batch) in enumerate(parts):
        mine = numbers[begin : begin + len(batch)]
        begin += len(batch)
        at = np.flatnonzero(counts[mine] > 1)
        assert batch.raw is not None, "it was decoded here"
        places = np.searchsorted(np.array(batch.raw.offsets), batch.offsets[at])
        for position, place, identity in zip(
            at.tolist(), places.tolist(), mine[at].tolist(), strict=True
        ):
            copy = (keys[place], int(batch.indexes[position]), log, position)
            first[identity] = min(copy, first.get(identity, copy))
            logs.setdefault(identity, set()).add(log)
    chosen: list[list[int]] = [[] for _ in parts]
    for identity, (_, _, log, position) in first.items():
        if len(logs[identity]) > 1:
            chosen[log].append(position)
    return [_claims(parts[log][1], sorted(at)) for log, at in enumerate(chosen) if at]


def _claims(batch: EventBatch, at: list[int]) -> Claims:
    return Claims(
        batch.source, batch.identities[at], batch.offsets[at], batch.indexes[at],
        batch.digests[at], int(batch.record_ms.max()),
    )  # fmt: skip

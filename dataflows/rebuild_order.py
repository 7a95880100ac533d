"""In which order the archived logs are counted, so that who came first is who came first then.

A batch is of one partition, and batches are counted one after the other. Which one comes first
matters only where an identity stands in two of them: its first copy by (record time, partition,
stream, offset, index) has to claim it. So all logs go on together, slice of time by slice of time,
and these first copies claim before any batch of their slice does: for themselves, so that they are
counted as their own when their batch comes. A slice lies within one generation of the dedup memory:
nothing that it claims may be forgotten before it is counted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows.rebuild_cursor import Key, LogCursor
from metering.batch import EventBatch, RawBatch

Decode = Callable[[RawBatch], EventBatch]
#: A batch and the positions of some of its events, ascending.
Chosen = tuple[EventBatch, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Slice:
    """Batches of distinct logs, and which of their events have to claim before all others.

    `began_ms` is when the slice's generation of the dedup memory begins, by record time.
    """

    began_ms: int
    batches: list[EventBatch]
    firsts: list[Chosen]


def in_order(
    cursors: Sequence[LogCursor], decode: Decode, *, size: int, window_ms: int,
    before: Callable[[LogCursor], None] = lambda _cursor: None,
) -> Iterator[Slice]:  # fmt: skip
    """Every batch of every log, decoded, each of about `size` messages at most.

    `window_ms` is the length of a generation of the dedup memory. `before` is called before the
    batches of a log in a slice are taken.
    """
    while True:
        for cursor in cursors:
            cursor.fill(size)
        ready = [cursor for cursor in cursors if len(cursor)]
        if not ready:
            return
        began_ms = min(cursor.keys[0].time_ms for cursor in ready) // window_ms * window_ms
        counts = _counts(ready, began_ms + window_ms)
        parts: list[tuple[list[Key], EventBatch]] = []
        for cursor, count in zip(ready, counts, strict=True):
            if count:
                before(cursor)
                keys = cursor.keys[:count]
                parts.append((keys, decode(cursor.take(count))))
        yield Slice(began_ms, [batch for _, batch in parts], _firsts(parts))


def _counts(ready: Sequence[LogCursor], end_ms: int) -> list[int]:
    """How many records of each come before `end_ms`, and before all that is not at hand yet."""
    unknown = [cursor.keys[-1].time_ms for cursor in ready if cursor.has_more]
    border = min([end_ms, *unknown])
    counts = [cursor.count_before(border) for cursor in ready]
    if any(counts):
        return counts
    # A whole piece within one millisecond: it goes on, in the order of partitions.
    return [cursor.count_before(border + 1) for cursor in ready]


def _firsts(parts: list[tuple[list[Key], EventBatch]]) -> list[Chosen]:
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
    return [
        (batch, np.array(sorted(at), np.int64))
        for (_, batch), at in zip(parts, chosen, strict=True)
        if at
    ]

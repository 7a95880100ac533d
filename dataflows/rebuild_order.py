"""In which order the archived logs are counted, so that who came first is who came first then.

A batch is of one partition, and batches are counted one after the other. Which one comes first
matters only where an identity stands in two of them: its first copy by (record time, partition,
stream, offset) has to be claimed before any other. So all logs go on together, slice of time by
slice of time, and a slice is cut right before the second copy where it would be counted too soon.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np

from dataflows.rebuild_cursor import Key, LogCursor
from metering.batch import EventBatch, RawBatch

Decode = Callable[[RawBatch], EventBatch]


def in_order(
    cursors: Sequence[LogCursor], decode: Decode, *, size: int,
    before: Callable[[LogCursor], None] = lambda _cursor: None,
) -> Iterator[EventBatch]:  # fmt: skip
    """Every batch of every log, decoded, each of about `size` messages at most.

    `before` is called before the batches of a log in a slice are taken.
    """
    while True:
        for cursor in cursors:
            cursor.fill(size)
        ready = [cursor for cursor in cursors if len(cursor)]
        if not ready:
            return
        counts = _slice(ready)
        parts: list[tuple[list[Key], EventBatch]] = []
        for cursor, count in zip(ready, counts, strict=True):
            if count:
                before(cursor)
                keys = cursor.keys[:count]
                parts.append((keys, decode(cursor.take(count))))
        yield from _cut(parts, decode)


def _slice(ready: Sequence[LogCursor]) -> list[int]:
    """How many records of each come before all that is not at hand yet."""
    unknown = [cursor.keys[-1].time_ms for cursor in ready if cursor.has_more]
    if not unknown:
        return [len(cursor) for cursor in ready]
    border = min(unknown)
    counts = [bisect_left(cursor.keys, (border,)) for cursor in ready]
    if any(counts):
        return counts
    # A whole piece within one millisecond: it goes on, in the order of partitions.
    return [bisect_left(cursor.keys, (border + 1,)) for cursor in ready]


def _cut(parts: list[tuple[list[Key], EventBatch]], decode: Decode) -> Iterator[EventBatch]:
    borders = _borders(parts)
    if not borders:
        yield from (batch for _, batch in parts)
        return
    starts = [0] * len(parts)
    for border in [*borders, None]:
        for number, (keys, batch) in enumerate(parts):
            stop = len(keys) if border is None else bisect_left(keys, border)
            if stop > starts[number]:
                assert batch.raw is not None, "it was decoded here"
                yield decode(_piece(batch.raw, starts[number], stop=stop))
                starts[number] = stop


def _borders(parts: list[tuple[list[Key], EventBatch]]) -> list[Key]:
    """Where to cut: right before a record with an identity that another log has in this slice."""
    if len(parts) < 2:  # noqa: PLR2004 - one log repeats itself in order
        return []
    words = np.concatenate([batch.identities[:, 0] for _, batch in parts])
    logs = np.repeat(np.arange(len(parts)), [len(batch) for _, batch in parts])
    _, number, counts = np.unique(words, return_inverse=True, return_counts=True)
    at = np.flatnonzero(counts[number] > 1)
    if not len(at):
        return []
    firsts = np.concatenate([[0], np.cumsum([len(batch) for _, batch in parts])])
    found: list[tuple[Key, int, int]] = []
    for i in at.tolist():
        log = int(logs[i])
        keys, batch = parts[log]
        offset = int(batch.offsets[i - firsts[log]])
        assert batch.raw is not None, "it was decoded here"
        found.append((keys[bisect_left(batch.raw.offsets, offset)], log, int(number[i])))
    borders: list[Key] = []
    seen: dict[int, int] = {}
    # A message goes as a whole: all of its identities are looked at before any is remembered.
    for (key, log), group in groupby(sorted(found), key=itemgetter(0, 1)):
        identities = [identity for _, _, identity in group]
        if any(seen.get(identity, log) != log for identity in identities):
            borders.append(key)
            seen = {}
        seen.update(dict.fromkeys(identities, log))
    return borders


def _piece(raw: RawBatch, start: int, *, stop: int) -> RawBatch:
    first = raw.first_offset if start == 0 else raw.offsets[start - 1] + 1
    return RawBatch(
        raw.source, raw.offsets[start:stop], raw.record_times_ms[start:stop],
        raw.values[start:stop], first, raw.offsets[stop - 1] + 1,
    )  # fmt: skip

"""Events that were made a moment ago, to be repeated: what duplicates and conflicts are copies of.

Only such as were made at most a minute ago: a copy of one that was on time is on time as well,
so that it does not matter which of the two a worker sees first.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_AGE_S_MAX = 60.0
_KEPT_OF_A_CHUNK = 256


class Original(NamedTuple):
    """One event, as it was sent."""

    value: bytes
    customer: int
    meter: int


class Originals:
    """A sample of the chunks of the last minute."""

    def __init__(self, random: np.random.Generator) -> None:
        """There are none yet."""
        self._random = random
        self._chunks: deque[tuple[float, Sequence[Original]]] = deque()

    def remember(self, due_s: float, originals: Sequence[Original]) -> None:
        """Take a chunk whose last event is due at `due_s`; forget what is older than a minute."""
        step = max(len(originals) // _KEPT_OF_A_CHUNK, 1)
        kept = originals[int(self._random.integers(0, step)) :: step]
        if kept:
            self._chunks.append((due_s, kept))
        while self._chunks and self._chunks[0][0] < due_s - _AGE_S_MAX:
            self._chunks.popleft()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._chunks)

    def pick(self, count: int) -> list[Original]:
        """Any `count` of them, some of them more than once."""
        chunks = list(self._chunks)
        places = self._random.integers(0, len(chunks), count).tolist()
        within = self._random.random(count).tolist()
        picked = ((chunks[place][1], share) for place, share in zip(places, within, strict=True))
        return [originals[int(share * len(originals))] for originals, share in picked]

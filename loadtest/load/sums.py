"""Exact sums by key, of which there may be as many as there are events."""

import numpy as np

from loadtest.templates import Integers

_LOOSE_MAX = 2_000_000


class Sums:
    """Adds whole numbers to keys (int64); what is loose is folded together now and then."""

    def __init__(self) -> None:
        """Nothing was added yet."""
        self._keys: list[Integers] = []
        self._values: list[Integers] = []
        self._counts: list[Integers] = []
        self._loose = 0

    def add(self, keys: Integers, values: Integers) -> None:
        """Add each value to its key, and one to the key's count."""
        self._keys.append(keys)
        self._values.append(values)
        self._counts.append(np.ones_like(keys))
        self._loose += len(keys)
        if self._loose > _LOOSE_MAX:
            self._fold()

    def columns(self) -> tuple[Integers, Integers, Integers]:
        """Keys, ascending, with the sum and the count of each."""
        self._fold()
        return self._keys[0], self._values[0], self._counts[0]

    def _fold(self) -> None:
        if not self._keys:
            self._keys, self._values, self._counts = ([np.empty(0, np.int64)] for _ in range(3))
        keys = np.concatenate(self._keys)
        order = np.argsort(keys, kind="stable")
        unique, first = np.unique(keys[order], return_index=True)
        self._keys = [unique]
        for column in (self._values, self._counts):
            loose = np.concatenate(column)[order]
            column[:] = [np.add.reduceat(loose, first) if len(unique) else loose]
        self._loose = 0

"""What the ledger remembers: units of a billing period and the windows in them.

Plain objects with slots, since there may be a million of each, and without cycles, so that what
is forgotten is freed at once. Every quantity is a whole number of 10^-12.
"""

from metering.totals import StoredUnit, StoredWindow

#: Windows that a unit keeps beside the current one before it forgets those that are stored.
WINDOWS_KEPT = 3
NEVER = -(2**63)
LATEST = 2**63 - 1


#: The fields of a `UnitKey` as a plain tuple: half the cost where ten thousand are made at once.
PlainKey = tuple[str, str, str, int]


class Cell:
    """One window of one unit. `flush` is the flush that must be durable before it is forgotten."""

    __slots__ = (
        "dirty", "events", "first_us", "flush", "last_identity", "last_us", "late", "quantity",
        "window",
    )  # fmt: skip

    def __init__(self, window: int, flush: int) -> None:
        """Empty; `window` is its start in Unix seconds."""
        self.window = window
        self.flush = flush
        self.dirty = False
        self.quantity = 0
        self.events = 0
        self.late = 0
        self.first_us = LATEST
        self.last_us = NEVER
        self.last_identity = b""

    def restore(self, stored: StoredWindow) -> None:
        """Take over what the store holds."""
        self.quantity = stored.units
        self.events = stored.events
        self.late = stored.late_events
        self.first_us = stored.first_us
        self.last_us = stored.last_us
        self.last_identity = stored.last_identity


class Unit:
    """A (customer, meter, group, period): its value so far and its newest windows.

    `absorbed` is the last offset already in it when it was loaded, -1 if it was not stored.
    """

    __slots__ = (
        "absorbed", "aggregation", "cell", "is_whole", "key", "latest_identity", "latest_us",
        "newest", "others", "total", "touched",
    )  # fmt: skip

    def __init__(self, key: PlainKey, aggregation: str, first: int, flush: int) -> None:
        """Empty, with one window that starts at `first`."""
        self.key = key
        self.aggregation = aggregation
        self.total = 0
        self.absorbed = -1
        self.is_whole = True  # every window of it is held
        self.newest = first
        self.latest_us = NEVER
        self.latest_identity = b""
        self.touched = flush
        self.cell = Cell(first, flush)
        self.others: dict[int, Cell] | None = None

    def restore(self, stored: StoredUnit) -> None:
        """Take over what the store holds of the period; windows are restored one by one."""
        self.absorbed = stored.absorbed_offset
        self.is_whole = False
        self.newest = max(self.newest, stored.newest_window)
        self.latest_us = stored.latest_us
        if self.aggregation == "max":
            self.total = stored.max_units
        elif self.aggregation == "latest":
            self.total = stored.latest_units
            self.latest_identity = stored.latest_identity
        else:
            self.total = stored.sum_units

    def find(self, window: int) -> Cell | None:
        """The window's cell if it is held."""
        if self.cell.window == window:
            return self.cell
        return self.others.get(window) if self.others else None

    def add(self, window: int, flush: int) -> Cell:
        """A new empty cell, which becomes the current one if it is the newest."""
        cell = Cell(window, flush)
        if self.others is None:
            self.others = {}
        if window > self.cell.window:
            self.others[self.cell.window] = self.cell
            self.cell = cell
        else:
            self.others[window] = cell
        self.newest = max(self.newest, window)
        return cell

    @property
    def is_crowded(self) -> bool:
        """True when it holds more windows than are kept."""
        return self.others is not None and len(self.others) > WINDOWS_KEPT

    def is_settled(self, durable: int) -> bool:
        """True when all of it is stored, so that it may be forgotten and read again."""
        cells = [self.cell, *(self.others or {}).values()]
        return all(not cell.dirty and cell.flush <= durable for cell in cells)

    def forget_windows(self, durable: int) -> int:
        """Forget old windows that are stored; not while a batch in flight may need one.

        Returns the start of the newest one forgotten, -1 if none was.
        """
        assert self.others is not None
        newest = -1
        for window in sorted(self.others)[:-WINDOWS_KEPT]:
            cell = self.others[window]
            if not cell.dirty and cell.flush <= durable:
                del self.others[window]
                self.is_whole = False
                newest = window
        return newest

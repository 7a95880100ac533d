"""Units of one partition as a table: finding, beginning, changing and forgetting them."""

import mmap
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataflows import ledger_columns as columns
from dataflows.ledger_columns import (
    CELL,
    HOW,
    MAX,
    NEWEST,
    RATED_WORDS,
    UNIT,
    Integers,
    Words,
)
from dataflows.ledger_customers import hash_texts, number_customers, place_customers
from dataflows.parts import Parts
from metering.batch import EventBatch
from metering.decimals import coded
from metering.totals import StoredUnit, StoredWindow, TotalColumns, UnitKey

_CAPACITY_FIRST = 1024
_BYTES_FIRST = 16_384
_WORD = (1 << 64) - 1
_UNITS, _CELLS, _FREE, _DIRTY, _FREED = range(5)

T = TypeVar("T", bound=np.generic)


class Series(NamedTuple):
    """What customers have units of."""

    meter: str
    group: str


class Folded(NamedTuple):
    """What folding a batch in gave: the unit's value around each event, and the cell it went to.

    `before` is n x 4 words, `after` n x 3; where nothing is billed both are 0 and `cells` is -1.
    """

    before: Words
    after: Words
    cells: NDArray[np.int32]
    fullest: int


class SeriesTable:
    """Numbers of the (meter, group) pairs that a worker has seen, and how each aggregates."""

    def __init__(self, aggregations: dict[str, str]) -> None:
        """Know none yet; `aggregations` are by meter."""
        self.aggregations = aggregations
        self._numbers: dict[Series, int] = {}
        self.every: list[Series] = []
        self.hows = np.zeros(64, np.uint8)

    def numbers(self, some: Sequence[tuple[str, str]]) -> NDArray[np.int32]:
        """Number of each pair; new ones get the next."""
        found = np.empty(len(some), np.int32)
        for at, pair in enumerate(some):
            series = Series(*pair)
            number = self._numbers.get(series)
            if number is None:
                number = self._numbers[series] = len(self.every)
                self.every.append(series)
                self.hows = _grown(self.hows, number + 1)
                self.hows[number] = HOW.index(self.aggregations[series.meter])
            found[at] = number
        return found


class UnitTable:
    """The units and their windows, by number; numbers hold until `keep` is called."""

    def __init__(self, series: SeriesTable, *, is_rated: bool = False) -> None:
        """Empty. `is_rated` says that windows keep what they were charged."""
        self._series = series
        self._is_rated = is_rated
        self.charges = np.zeros(0, np.uint64)
        self.units = np.zeros(_CAPACITY_FIRST, UNIT)
        self.cells = np.zeros(_CAPACITY_FIRST, CELL)
        self._slots = _empty_slots(_CAPACITY_FIRST)
        self._counts = np.array([0, 0, -1, 0, 0], np.int64)
        self._dirty = np.empty(_CAPACITY_FIRST, np.int32)
        self._texts = np.empty(_BYTES_FIRST, np.uint8)
        self._places = np.zeros(_CAPACITY_FIRST + 1, np.int64)
        self._customers = 0
        self._customer_slots = _empty_slots(_CAPACITY_FIRST)

    def __len__(self) -> int:
        """Number of units."""
        return int(self._counts[_UNITS])

    @property
    def windows(self) -> int:
        """Number of windows that are held."""
        return int(self._counts[_CELLS] - self._counts[_FREED])

    @property
    def changed(self) -> int:
        """Number of windows that changed since the last cut."""
        return int(self._counts[_DIRTY])

    def customers(self, texts: pa.StringArray) -> NDArray[np.int32]:
        """Number of each customer; new ones get the next."""
        numbers = np.empty(len(texts), np.int32)
        if not len(texts):
            return numbers
        ends = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1]
        data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
        hashes = hash_texts(data, ends)
        count = self._customers
        self._places = _grown(self._places, count + len(texts) + 1)
        self._texts = _grown(self._texts, int(self._places[count] + ends[-1] - ends[0]))
        if 2 * (count + len(texts)) > len(self._customer_slots):
            self._customer_slots = _empty_slots(count + len(texts))
            held = hash_texts(self._texts, self._places[: count + 1].astype(np.int32))
            place_customers(held, self._customer_slots)
        self._customers = number_customers(
            data, ends, hashes, self._customer_slots, self._texts, self._places, count, numbers
        )
        return numbers

    def find(
        self, customers: NDArray[np.int32], series: NDArray[np.int32], periods: Integers
    ) -> tuple[NDArray[np.int32], int]:
        """Number of each one's unit, -1 where it is not held, and how many are not."""
        found = np.empty(len(customers), np.int32)
        missing = columns.find_units(self.units, self._slots, customers, series, periods, found)
        return found, missing

    def add(
        self, customers: NDArray[np.int32], series: NDArray[np.int32], parts: Parts, *,
        windows: Integers, found: NDArray[np.int32], flush: int,
    ) -> int:  # fmt: skip
        """Begin the units that are missing in `found`, and put them there.

        New ones have the numbers from the returned one on, and a window that is pinned by `flush`.
        """
        before, most = len(self), int((found < 0).sum())
        self.units = _grown(self.units, before + most)
        self._reserve_cells(most)
        if 2 * (before + most) > len(self._slots):
            self._slots = _empty_slots(len(self.units))
            columns.place_units(self.units, self._slots, before)
        columns.add_units(
            self.units, self.cells, self._slots, customers, series, *parts, windows,
            self._series.hows, found, self._counts, flush,
        )  # fmt: skip
        return before

    def lacking(
        self, found: NDArray[np.int32], windows: Integers, *, until: int, created: int
    ) -> list[int]:
        """Rows whose window, `until` at most, may be stored but is not held.

        Units from `created` on are new, and their first window is only begun.
        """
        lacks = columns.lacking(self.units, self.cells, found, windows, until, created)
        rows: list[int] = np.flatnonzero(lacks).tolist()
        return rows

    def fold(
        self, batch: EventBatch, chosen: Integers, *, at: tuple[NDArray[np.int32], Integers],
        late: NDArray[np.bool_], counted: NDArray[np.bool_], flush: int,
    ) -> Folded:  # fmt: skip
        """Fold in the events at positions `chosen`; `at` are the units and windows of all."""
        self._reserve_cells(len(chosen))
        self._dirty = _grown(self._dirty, int(self._counts[_DIRTY]) + len(chosen))
        before = np.empty((len(chosen), 4), np.uint64)
        after = np.empty((len(chosen), 3), np.uint64)
        cells = np.empty(len(chosen), np.int32)
        fullest = columns.fold(
            self.units, self.cells, self._counts, chosen, *at, batch.occurred_us, batch.quantities,
            batch.identities, late, counted, flush, before, after, cells, self._dirty,
        )  # fmt: skip
        return Folded(before, after, cells, fullest)

    def restore_unit(self, number: int, stored: StoredUnit) -> None:
        """Take over what the store holds of a unit; windows are restored one by one."""
        unit = self.units[number]
        unit["absorbed"] = stored.absorbed_offset
        if stored.newest_window < 0:
            return
        unit["is_whole"] = False
        unit["newest"] = max(int(unit["newest"]), stored.newest_window)
        unit["latest_us"] = stored.latest_us
        if unit["how"] == MAX:
            _put(unit, stored.max_units)
        elif unit["how"] == NEWEST:
            _put(unit, stored.latest_units)
            _put_identity(unit, stored.latest_identity)
        else:
            _put(unit, stored.sum_units)

    def holds(self, number: int, window: int) -> bool:
        """Whether a unit's window is held."""
        return columns.find_cell(self.units, self.cells, number, window) >= 0

    def restore_window(
        self, number: int, window: int, *, stored: StoredWindow | None, flush: int
    ) -> None:
        """Hold a window of a unit, with what the store holds of it."""
        at = columns.find_cell(self.units, self.cells, number, window)
        if at < 0:
            self._reserve_cells(1)
            at = columns.add_cell(self.units, self.cells, self._counts, number, window, flush)
        cell = self.cells[at]
        cell["flush"] = max(int(cell["flush"]), flush)
        if stored is not None:
            _put(cell, stored.units)
            cell["events"], cell["late"] = stored.events, stored.late_events
            cell["first_us"], cell["last_us"] = stored.first_us, stored.last_us
            _put_identity(cell, stored.last_identity)
            if self._is_rated:
                words = self.charges[RATED_WORDS * at : RATED_WORDS * (at + 1)]
                for place, value in enumerate((stored.included, stored.overage, stored.charge)):
                    words[3 * place : 3 * place + 3] = [
                        value >> shift & _WORD for shift in (0, 64, 128)
                    ]

    def cut(self, number: int, cards: NDArray[np.uint64]) -> TotalColumns:
        """The changed windows, which are pinned until cut `number` is durable.

        `cards` are the stored numbers of prices; the last ones stand for units without a price.
        """
        dirty = self._dirty[: self._counts[_DIRTY]].astype(np.int64)
        self._counts[_DIRTY] = 0
        cells = self.cells[dirty]
        self.cells["dirty"][dirty] = False
        self.cells["flush"][dirty] = number
        units = self.units[cells["unit"]]
        words = np.empty((len(dirty), 4), np.uint64)
        words[:, 0], words[:, 1] = cells["low"], cells["middle"]
        words[:, 2], words[:, 3] = (
            cells["high"].view(np.uint64),
            (cells["high"] >> 63).view(np.uint64),
        )
        rated = self.charges.reshape(-1, RATED_WORDS)[dirty] if self._is_rated else None
        identities = np.stack([cells["first"], cells["second"]], axis=1).byteswap()
        every = self._series.every
        return TotalColumns(
            customers=self._customer_texts(units["customer"]),
            meters=coded(units["series"], [each.meter for each in every]),
            groups=coded(units["series"], [each.group for each in every]),
            aggregations=coded(units["how"], HOW),
            window_starts=cells["window"].copy(), quantities=words, events=cells["events"].copy(),
            late_events=cells["late"].astype(np.int64), first_us=cells["first_us"].copy(),
            last_us=cells["last_us"].copy(), last_identities=identities,
            parts=units["period"].astype(np.int64), periods=units["billing"].astype(np.int64),
            cards=cards.astype(np.uint64)[units["price"]], rated=rated,
        )  # fmt: skip

    def forget_cells(
        self, durable: int, pinned: NDArray[np.bool_], *, most: int
    ) -> tuple[int, int]:
        """Let units forget old windows (see `ledger_columns.forget_cells`)."""
        return columns.forget_cells(
            self.units, self.cells, self.charges, self._counts, durable, pinned, most
        )

    def settled(self, durable: int, pinned: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Units of which all is stored and that are not `pinned`."""
        return columns.settled_units(self.units, self.cells, self._counts, durable, pinned)

    def keep(self, kept: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Forget all other units. Returns the new number of each old one, -1 for those."""
        numbers = np.full(len(self) + 1, -1, np.int32)  # the last one is for no unit at all
        numbers[:-1][kept] = np.arange(int(kept.sum()), dtype=np.int32)
        units = self.units[: len(self)][kept]
        cells = self.cells[: self._counts[_CELLS]]
        is_kept = (cells["unit"] >= 0) & (numbers[cells["unit"]] >= 0)
        places = np.full(len(cells) + 1, -1, np.int32)
        places[:-1][is_kept] = np.arange(int(is_kept.sum()), dtype=np.int32)
        dirty = places[self._dirty[: self._counts[_DIRTY]]]
        cells = cells[is_kept]
        cells["unit"], cells["next"] = numbers[cells["unit"]], places[cells["next"]]
        units["cell"] = places[units["cell"]]
        self._keep_customers(units)
        if self._is_rated:
            charges = self.charges.reshape(-1, RATED_WORDS)[: len(is_kept)][is_kept]
            self.charges = _grown(charges.reshape(-1), _CAPACITY_FIRST * RATED_WORDS)
        self.units, self.cells = _grown(units, _CAPACITY_FIRST), _grown(cells, _CAPACITY_FIRST)
        self._dirty = _grown(dirty, _CAPACITY_FIRST)
        self._counts[:] = [len(units), len(cells), -1, len(dirty), 0]
        self._slots = _empty_slots(len(self.units))
        columns.place_units(self.units, self._slots, len(units))
        return numbers

    def keys(self, numbers: Sequence[int] | Integers) -> list[UnitKey]:
        """Customer, meter and group of each of these units, and its part."""
        at, every, texts = np.asarray(numbers, np.int64), self._series.every, self._texts
        customers = self.units["customer"][at]
        series, starts, untils = (
            self.units[name][at].tolist() for name in ("series", "period", "until")
        )
        firsts, ends = self._places[customers].tolist(), self._places[customers + 1].tolist()
        return [
            UnitKey(texts[first:end].tobytes().decode(), *pair, start, until)
            for first, end, pair, start, until in zip(
                firsts, ends, map(every.__getitem__, series), starts, untils, strict=True
            )
        ]

    def _reserve_cells(self, more: int) -> None:
        self.cells = _grown(self.cells, int(self._counts[_CELLS]) + more)
        if self._is_rated:
            self.charges = _grown(self.charges, RATED_WORDS * len(self.cells))

    def _customer_texts(self, numbers: NDArray[np.int32]) -> pa.StringArray:
        ends = self._places[: self._customers + 1].astype(np.int32)
        texts = self._texts[: ends[-1]].copy()
        every = pa.StringArray.from_buffers(
            self._customers, pa.py_buffer(ends), pa.py_buffer(texts)
        )
        return every.take(pa.array(numbers))

    def _keep_customers(self, units: NDArray[np.void]) -> None:
        used, renumbered = np.unique(units["customer"], return_inverse=True)
        texts = self._customer_texts(used)
        self._texts, self._places = np.empty(_BYTES_FIRST, np.uint8), np.zeros(2, np.int64)
        self._customers, self._customer_slots = 0, _empty_slots(len(used))
        units["customer"] = self.customers(texts)[renumbered]


def _grown(held: NDArray[T], wanted: int) -> NDArray[T]:
    """`held`, or a larger array that begins with it, with room for `wanted` at least."""
    if wanted <= len(held):
        return held
    count = max(wanted, 2 * len(held))
    # Memory of its own, which goes back whole when the array grows out of it; what is not used of
    # it yet takes no room.
    larger: NDArray[T] = np.frombuffer(mmap.mmap(-1, count * held.dtype.itemsize), held.dtype)
    larger[: len(held)] = held
    return larger


def _empty_slots(count: int) -> NDArray[np.int32]:
    """Room to find `count` of something, and some more."""
    return np.full(1 << max(3 * count - 1, 7).bit_length(), -1, np.int32)


def _put(to: np.void, value: int) -> None:
    to["low"], to["middle"], to["high"] = value & _WORD, value >> 64 & _WORD, value >> 128


def _put_identity(to: np.void, identity: bytes) -> None:
    to["first"], to["second"] = np.frombuffer(identity or bytes(16), ">u8")

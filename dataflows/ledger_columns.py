"""How the ledger lies in memory: units, their windows and the customers' texts, as arrays.

A million units of a worker take some 200 bytes each; a batch is folded in without a Python object
for an event. Quantities are whole numbers of 10^-12 in three words, two's complement: room for more
events of the greatest quantity than a log can hold. The functions here are compiled, know nothing
of stores or assignments, and expect that there is room for what they add.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metering.compiled import compiled, inlined

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]
Slots = NDArray[np.int32]

NEVER = -(2**63)
LATEST = 2**63 - 1
#: Beside its newest window: how many a unit keeps when it forgets those that are stored, and how
#: many it may have before it does although memory is not short.
WINDOWS_KEPT, WINDOWS_MOST = 3, 24
#: Included, overage and charge of a window, three words each like a quantity.
RATED_WORDS = 9

#: Aggregations, in the order of `HOW`.
SUM, COUNT, UNIQUE, MAX, NEWEST = range(5)
HOW = ("sum", "count", "unique_count", "max", "latest")

_QUANTITY = [("low", np.uint64), ("middle", np.uint64), ("high", np.int64)]
_IDENTITY = [("first", np.uint64), ("second", np.uint64)]  # in byte order, so that they compare

#: A (customer, meter, group, part of a billing period): its value so far. `until` ends the part,
#: `billing` begins the billing period, `price` says what it is rated by (see `rating`). `cell` is
#: its newest window, `absorbed` the last offset that was in it when it was loaded, `is_whole` says
#: that all windows are held.
UNIT = np.dtype(
    [
        ("customer", np.int32), ("series", np.int32), ("period", np.uint32),
        ("until", np.uint32), ("billing", np.uint32), ("price", np.int32),
        *_QUANTITY, ("absorbed", np.int64), ("newest", np.int64), ("latest_us", np.int64),
        *_IDENTITY, ("touched", np.int32), ("cell", np.int32), ("cells", np.int16),
        ("how", np.uint8), ("is_whole", np.bool_),
    ]
)  # fmt: skip
#: One window of a unit. `flush` must be durable before it is forgotten; `next` is another one.
CELL = np.dtype(
    [
        ("window", np.int64), ("flush", np.int32), *_QUANTITY, ("events", np.int64),
        ("late", np.uint32), ("first_us", np.int64), ("last_us", np.int64), *_IDENTITY,
        ("unit", np.int32), ("next", np.int32), ("dirty", np.bool_),
    ]
)  # fmt: skip

Units = NDArray[np.void]
Cells = NDArray[np.void]
_ONE = np.uint64(10**12)
_PRIME = np.uint64(0x100000001B3)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ZERO, _NONE = np.uint64(0), -1


@inlined
def _slot(units: Units, slots: Slots, customer: int, series: int, period: int) -> int:
    """Where a unit stands in `slots`, or would."""
    word = (np.uint64(customer) << np.uint64(32)) ^ np.uint64(series) ^ (np.uint64(period) * _PRIME)
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    mask = len(slots) - 1
    slot = np.int64((word ^ (word >> np.uint64(31))) & np.uint64(mask))
    while slots[slot] >= 0:
        unit = units[slots[slot]]
        if unit.customer == customer and unit.series == series and unit.period == period:
            break
        slot = (slot + 1) & mask
    return slot


@compiled
def find_units(
    units: Units, slots: Slots, customers: NDArray[np.int32], series: NDArray[np.int32],
    periods: Integers, found: NDArray[np.int32],
) -> int:  # fmt: skip
    """Number of each row's unit, -1 where it is not held; returns how many are not."""
    missing = 0
    for row in range(len(found)):
        found[row] = slots[_slot(units, slots, customers[row], series[row], periods[row])]
        missing += found[row] < 0
    return missing


@compiled
def add_units(
    units: Units, cells: Cells, slots: Slots, customers: NDArray[np.int32],
    series: NDArray[np.int32], periods: Integers, untils: Integers, billings: Integers,
    prices: NDArray[np.int32], windows: Integers, hows: NDArray[np.uint8],
    found: NDArray[np.int32], counts: Integers, flush: int,
) -> None:  # fmt: skip
    """Begin an empty unit, with one window, for every row without one.

    `periods`, `untils`, `billings` and `prices` are those of the rows' parts, `hows` belong to the
    series; `counts` are the numbers of units and of cells, and go up.
    """
    for row in range(len(found)):
        if found[row] >= 0:
            continue
        slot = _slot(units, slots, customers[row], series[row], periods[row])
        if slots[slot] < 0:
            at = np.int32(counts[0])
            counts[0] += 1
            slots[slot] = at
            unit = units[at]
            unit.customer, unit.series, unit.period = customers[row], series[row], periods[row]
            unit.until, unit.billing, unit.price = untils[row], billings[row], prices[row]
            unit.low = unit.middle = unit.first = unit.second = _ZERO
            unit.high = unit.cells = 0
            unit.absorbed = unit.cell = _NONE
            unit.newest = windows[row]
            unit.latest_us = NEVER
            unit.touched = flush
            unit.how = hows[series[row]]
            unit.is_whole = True
            add_cell(units, cells, counts, at, windows[row], flush)
        found[row] = slots[slot]


@compiled
def add_cell(
    units: Units, cells: Cells, counts: Integers, number: int, window: int, flush: int
) -> int:
    """Begin an empty window of a unit; the newest one stands first. Returns its number.

    Freed cells are taken first: `counts[2]` is the first of them, each names the next, and
    `counts[4]` says how many they are.
    """
    at = counts[2]
    if at >= 0:
        counts[2] = cells[at].next
        counts[4] -= 1
    else:
        at = counts[1]
        counts[1] += 1
    cell = cells[at]
    cell.window, cell.flush, cell.unit = window, flush, number
    cell.low = cell.middle = cell.first = cell.second = _ZERO
    cell.high = cell.events = cell.late = 0
    cell.first_us, cell.last_us = LATEST, NEVER
    cell.dirty = False
    unit = units[number]
    head = unit.cell
    if head < 0 or window > cells[head].window:
        cell.next = head
        unit.cell = at
    else:
        cell.next = cells[head].next
        cells[head].next = at
    unit.newest = max(unit.newest, window)
    unit.cells += 1
    return at


@inlined
def _cell(units: Units, cells: Cells, number: int, window: int) -> int:
    at = units[number].cell
    while at >= 0 and cells[at].window != window:
        at = cells[at].next
    return at


@compiled
def find_cell(units: Units, cells: Cells, number: int, window: int) -> int:
    """Number of the window's cell, -1 where it is not held."""
    return _cell(units, cells, number, window)


@compiled
def lacking(
    units: Units,
    cells: Cells,
    found: NDArray[np.int32],
    windows: Integers,
    until: int,
    created: int,
) -> NDArray[np.bool_]:
    """Rows whose window may be stored though it is not held; units from `created` on are new."""
    lacks = np.zeros(len(found), np.bool_)
    for row in range(len(found)):
        unit, window = units[found[row]], windows[row]
        lacks[row] = (
            not unit.is_whole
            and window <= until
            and window <= unit.newest
            and (found[row] >= created or _cell(units, cells, found[row], window) < 0)
        )
    return lacks


@compiled
def fold(
    units: Units, cells: Cells, counts: Integers, chosen: Integers, found: NDArray[np.int32],
    windows: Integers, occurred_us: Integers, quantities: Integers, identities: Words,
    late: NDArray[np.bool_], counted: NDArray[np.bool_], flush: int, before: Words, after: Words,
    places: NDArray[np.int32], dirty: NDArray[np.int32],
) -> int:  # fmt: skip
    """Fold in the rows `chosen`, in order; all from `late` on but `flush` and `dirty` are theirs.

    `before` (n x 4) and `after` (n x 3) take each unit's value around the event, `places` the cell
    (-1 where nothing is billed), `dirty` the cells that changed, from `counts[3]` on. Returns
    how many windows the fullest of the units holds to which one was added, 0 if none was.
    """
    fullest = 0
    for at in range(len(chosen)):
        row = chosen[at]
        if found[row] < 0:
            before[at, 0] = before[at, 1] = before[at, 2] = before[at, 3] = _ZERO
            after[at, 0] = after[at, 1] = after[at, 2] = _ZERO
            places[at] = _NONE
            continue
        unit = units[found[row]]
        before[at, 0], before[at, 1], before[at, 2] = unit.low, unit.middle, np.uint64(unit.high)
        before[at, 3] = np.uint64(unit.high >> 63)
        place = _cell(units, cells, found[row], windows[row])
        if place < 0:
            place = add_cell(units, cells, counts, found[row], windows[row], flush)
            fullest = max(fullest, int(unit.cells))
        cell = cells[place]
        if not cell.dirty:
            cell.dirty = True
            dirty[counts[3]] = place
            counts[3] += 1
            unit.touched = flush
        moment = occurred_us[row]
        low, middle = np.uint64(quantities[row, 0]), np.uint64(quantities[row, 1])
        high = quantities[row, 1] >> 63
        how = unit.how
        adds_one = how == COUNT or (how == UNIQUE and counted[at])
        if adds_one:
            low, middle, high = _ONE, _ZERO, 0
        if adds_one or how == SUM:
            _add(unit, low, middle, high)
            _add(cell, low, middle, high)
        elif how == MAX:
            if unit.latest_us == NEVER or _is_less(unit, low, middle, high):
                unit.low, unit.middle, unit.high = low, middle, high
            if cell.events == 0 or _is_less(cell, low, middle, high):
                cell.low, cell.middle, cell.high = low, middle, high
            unit.latest_us = max(unit.latest_us, moment)
        elif how == NEWEST:
            first, second = _in_order(identities[row, 0]), _in_order(identities[row, 1])
            if _is_after(moment, first, second, unit.latest_us, unit.first, unit.second):
                unit.low, unit.middle, unit.high = low, middle, high
                unit.latest_us, unit.first, unit.second = moment, first, second
            if _is_after(moment, first, second, cell.last_us, cell.first, cell.second):
                cell.low, cell.middle, cell.high = low, middle, high
                cell.first, cell.second = first, second
        after[at, 0], after[at, 1], after[at, 2] = unit.low, unit.middle, np.uint64(unit.high)
        places[at] = place
        cell.last_us = max(cell.last_us, moment)
        cell.first_us = min(cell.first_us, moment)
        cell.events += 1
        cell.late += late[at]
    return fullest


@inlined
def _add(to: Any, low: np.uint64, middle: np.uint64, high: int) -> None:
    total = to.low + low
    carry = np.uint64(total < low)
    to.low = total
    total = to.middle + middle
    further = np.uint64(total < middle)
    total += carry
    further += np.uint64(total < carry)
    to.middle = total
    to.high = to.high + high + np.int64(further)


@inlined
def _is_less(one: Any, low: np.uint64, middle: np.uint64, high: int) -> bool:
    if one.high != high:
        return one.high < high
    if one.middle != middle:
        return one.middle < middle
    return one.low < low


@inlined
def _is_after(
    moment: int, first: np.uint64, second: np.uint64, us: int, held: np.uint64, rest: np.uint64
) -> bool:
    if moment != us:
        return moment > us
    return first > held or (first == held and second > rest)


@inlined
def _in_order(word: np.uint64) -> np.uint64:
    """The number whose bytes, most significant first, are those of a little-endian `word`."""
    turned = _ZERO
    for byte in range(8):
        turned = (turned << np.uint64(8)) | ((word >> np.uint64(8 * byte)) & np.uint64(0xFF))
    return turned


@inlined
def _newest_of(cells: Cells, first: int, place: int) -> int:
    """The window that is in so many'th place among those from cell `first` on, newest first."""
    found = LATEST
    for _ in range(place):
        below, at = NEVER, np.int64(first)
        while at >= 0:
            window = cells[at].window
            if below < window < found:
                below = window
            at = np.int64(cells[at].next)
        found = below
    return found


@compiled
def forget_cells(
    units: Units, cells: Cells, charges: Words, counts: Integers, durable: int,
    pinned: NDArray[np.bool_], most: int,
) -> tuple[int, int]:  # fmt: skip
    """Let units forget their oldest windows, if stored; those in `pinned` are needed.

    A unit that has more than `most` beside its newest one keeps `WINDOWS_KEPT` of them. What the
    windows were charged is in `charges` (`RATED_WORDS` for each cell, or none at all).

    Returns the newest window that was forgotten, -1 if none was, and how many the fullest unit
    holds now.
    """
    newest, fullest = -1, 0
    for number in range(counts[0]):
        unit = units[number]
        if unit.cells <= most + 1:
            fullest = max(fullest, int(unit.cells))
            continue
        before = unit.cell
        oldest_kept = _newest_of(cells, np.int64(cells[before].next), WINDOWS_KEPT)
        at = np.int64(cells[before].next)
        while at >= 0 and not pinned[number]:
            cell = cells[at]
            following = np.int64(cell.next)
            if cell.window < oldest_kept and not cell.dirty and cell.flush <= durable:
                cells[before].next = following
                newest = max(newest, cell.window)
                unit.is_whole = False
                unit.cells -= 1
                cell.unit = _NONE
                for word in range(min(RATED_WORDS, len(charges))):
                    charges[RATED_WORDS * at + word] = _ZERO
                cell.next = counts[2]
                counts[2] = at
                counts[4] += 1
            else:
                before = at
            at = following
        fullest = max(fullest, int(unit.cells))
    return newest, fullest


@compiled
def settled_units(
    units: Units, cells: Cells, counts: Integers, durable: int, pinned: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Units of which everything is stored and that nobody needs."""
    settled = ~pinned
    for number in range(counts[0]):
        at = np.int64(units[number].cell)
        while at >= 0 and settled[number]:
            settled[number] = not cells[at].dirty and cells[at].flush <= durable
            at = np.int64(cells[at].next)
    return settled


@compiled
def place_units(units: Units, slots: Slots, count: int) -> None:
    """Put the first `count` units into empty `slots`."""
    for number in range(count):
        unit = units[number]
        slots[_slot(units, slots, unit.customer, unit.series, unit.period)] = number

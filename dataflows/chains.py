"""Parts of a split period whose allowance is carried over: each event is rated with all of them.

What an early part uses is missing in the later ones, so an event may change what several parts
cost. The values of all parts of a chain are held here, as they are in the ledger: read when the
first event of the chain is loaded, then kept up to date by the events themselves.

Nearly all events are of the last part, which changes what no other costs: what the parts before
have used stands, so whoever asks `carried` rates these for a batch at once, and tells `reach`. An
event of an earlier part, and all others of its chain in that batch, go one by one through `rate`.
Of a chain whose earlier parts are empty it is known from the start that they used nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflows.ledger_columns import Words
from dataflows.pricing import Chain, Pricing
from dataflows.rating_columns import numbers_of
from metering.decimals import words_of
from metering.totals import StoredUnit, UnitKey
from rating_engine.rater import Rated
from rating_engine.split import SplitRater

_USED_END = 2**128
#: What stands for no chain among their numbers.
_NO_CHAIN = 0
ReadUnits = Callable[[list[UnitKey]], dict[UnitKey, StoredUnit]]
#: Keys of units by their numbers.
KeysOf = Callable[[Sequence[int]], list[UnitKey]]
#: Included, overage (10^-12 units) and charge (10^-24 of the currency's unit).
Figures = tuple[int, int, int]


class _Name(NamedTuple):
    customer_id: str
    meter: str
    group: str
    first: int  # where the chain's first part starts


@dataclass(slots=True)
class _State:
    number: int
    rater: SplitRater
    places: dict[int, int]  # part by its start
    values: list[int]
    #: Of the last part, where nearly all events are: included units of the parts before it, and
    #: its figures. None where another part was rated since.
    used: int | None = None
    figures: Figures | None = None
    #: Number of the unit of the last part, -1 where it is not held.
    last_unit: int = -1

    @property
    def last(self) -> int:
        """Place of the last part."""
        return len(self.values) - 1

    def rate(self, place: int, before: int, *, after: int) -> Figures:
        """The difference that a new value of one part makes in all of them."""
        if place < self.last:
            self.used = self.figures = None
            self.values[place] = before
            low = _sum(self.rater.rate(self.values))
            self.values[place] = after
            return _difference(low, _sum(self.rater.rate(self.values)))
        last = self.rater.rater_of(place)
        if self.used is None:
            self.used = self.rater.used_before(self.rater.rate(self.values), place)
        if self.figures is None or self.values[place] != before:
            self.figures = last.figures(before, self.used)
        low = self.figures
        self.values[place] = after
        self.figures = last.figures(after, self.used)
        return _difference(low, self.figures)


class Chains:
    """Chains of one partition's customers."""

    def __init__(self, pricing: Pricing, read: ReadUnits, *, hows: dict[str, str]) -> None:
        """None yet; `read` tells the stored ones among units, `hows` are aggregations by meter."""
        self._pricing = pricing
        self._read_units = read
        self._hows = hows
        self._states: dict[_Name, _State] = {}
        self._made = 0
        self._forget_units()

    def hold(self, units: NDArray[np.int32], keys_of: KeysOf, *, stored_until: int) -> None:
        """Hold the chains of these units; reads all that is missing in one query.

        Parts that begin after `stored_until` cannot be stored. Raises `DependencyDown`; the ledger
        is of no use then.
        """
        numbers = np.unique(self._without(units)).tolist()
        if not numbers:
            return
        new = dict(zip(numbers, keys_of(numbers), strict=True))
        chains = {number: self._chain(key) for number, key in new.items()}
        names = {number: _name(key, chains[number]) for number, key in new.items()}
        missing = {
            names[number]: chains[number] for number in new if names[number] not in self._states
        }
        if missing:
            self._read(missing, stored_until)
        self._take((number, key.start, self._states[names[number]]) for number, key in new.items())

    def carried(self, units: NDArray[np.int32]) -> tuple[NDArray[np.bool_], Words]:
        """Which of a batch's events have to be rated one by one; of the others, what was used.

        That are included units (two words) that the parts before have used of the allowance.
        """
        is_single = ~self._is_known[units]
        if is_single.any():
            chains = self._chain_of[units]
            is_single = np.isin(chains, chains[is_single])
        return is_single, self._used[units]

    def reach(self, units: NDArray[np.int32], values: Words) -> None:
        """All of a batch's events were rated, in this order; `values` (n x 3) are after each."""
        self._values[units] = values

    def rate(self, unit: int, before: int, *, after: int) -> Figures:
        """Included, overage and charge that a new value of one part makes of difference in all."""
        state, place = self._units[unit]
        if place < state.last:
            self._recall(state)
        found = state.rate(place, before, after=after)
        if place == state.last and state.used is not None and state.used < _USED_END:
            self._is_known[unit] = True
            self._used[unit] = words_of([state.used])[0, :2]
            self._values[unit] = words_of([after])[0, :3]
        return found

    def keep(self, units: list[int], keys_of: KeysOf) -> None:
        """Forget all chains but those of these units, which have other numbers now."""
        for state in self._states.values():
            self._recall(state)
            state.last_unit = -1
        keys = dict(zip(units, keys_of(units), strict=True))
        names = {number: _name(key, self._chain(key)) for number, key in keys.items()}
        kept = set(names.values())
        self._states = {name: state for name, state in self._states.items() if name in kept}
        self._forget_units()
        # batches on their way are rated by these without being held again
        self._take(
            (number, key.start, self._states[names[number]])
            for number, key in keys.items()
            if names[number] in self._states
        )

    def _forget_units(self) -> None:
        #: State and place by the number of a unit.
        self._units: dict[int, tuple[_State, int]] = {}
        #: By the number of a unit: that of its chain; of last parts whether what was used before
        #: them is known, that, and their value, which `state.values` may lag behind.
        self._chain_of = np.zeros(0, np.int32)
        self._is_known = np.zeros(0, np.bool_)
        self._used = np.zeros((0, 2), np.uint64)
        self._values = np.zeros((0, 3), np.uint64)

    def _without(self, units: NDArray[np.int32]) -> NDArray[np.int32]:
        """Those of `units` of which no chain is held."""
        held = np.zeros(len(units), np.bool_)
        known = units < len(self._chain_of)
        held[known] = self._chain_of[units[known]] != _NO_CHAIN
        return units[~held]

    def _take(self, found: Iterable[tuple[int, int, _State]]) -> None:
        """Units with the starts of their parts, and their chains."""
        units, numbers, unused, values = [], [], [], []
        for unit, start, state in found:
            place = state.places[start]
            self._units[unit] = state, place
            units.append(unit)
            numbers.append(state.number)
            if place == state.last:
                state.last_unit = unit
                if not any(state.values[:place]):  # the parts before have used nothing
                    unused.append(unit)
                    values.append(state.values[place])
        if not units:
            return
        if max(units) >= len(self._chain_of):
            more = max(*units, 2 * len(self._chain_of)) + 1 - len(self._chain_of)
            self._chain_of, self._is_known, self._used, self._values = (
                np.concatenate([held, np.zeros((more, *held.shape[1:]), held.dtype)])
                for held in (self._chain_of, self._is_known, self._used, self._values)
            )
        self._chain_of[units] = numbers
        self._is_known[unused] = True
        self._used[unused] = 0
        self._values[unused] = words_of(values)[:, :3]

    def _recall(self, state: _State) -> None:
        """The last part's value, if it was reached beside; what was used is not known any more."""
        unit = state.last_unit
        if unit >= 0 and self._is_known[unit]:
            self._is_known[unit] = False
            state.values[state.last] = numbers_of(self._values[unit : unit + 1])[0]
            state.used = state.figures = None

    def _read(self, missing: dict[_Name, Chain], stored_until: int) -> None:
        wanted = {
            UnitKey(*name[:3], part.start, part.end): (name, at)
            for name, chain in missing.items()
            for at, part in enumerate(chain.parts)
            if part.start <= stored_until
        }
        for name, chain in missing.items():
            self._made += 1
            self._states[name] = _State(
                self._made,
                chain.rater(name.group),
                {part.start: at for at, part in enumerate(chain.parts)},
                [0] * len(chain.parts),
            )
        if not wanted:
            return
        for key, stored in self._read_units(list(wanted)).items():
            name, at = wanted[key]
            self._states[name].values[at] = _value(stored, self._hows[name.meter])

    def _chain(self, key: UnitKey) -> Chain:
        return self._pricing.chain(key.customer_id, key.meter, start=key.start)


def _name(key: UnitKey, chain: Chain) -> _Name:
    return _Name(key.customer_id, key.meter, key.group, chain.parts[0].start)


def _value(stored: StoredUnit, how: str) -> int:
    if how == "max":
        return stored.max_units
    return stored.latest_units if how == "latest" else stored.sum_units


def _difference(low: Figures, high: Figures) -> Figures:
    return high[0] - low[0], high[1] - low[1], high[2] - low[2]


def _sum(rated: Iterable[Rated]) -> Figures:
    included, overage, charge = 0, 0, 0
    for each in rated:
        included += each.included
        overage += each.overage
        charge += each.charge
    return included, overage, charge

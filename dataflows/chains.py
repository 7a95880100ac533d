"""Parts of a split period whose allowance is carried over: each event is rated with all of them.

What an early part uses is missing in the later ones, so an event may change what several parts
cost. The values of all parts of a chain are held here, as they are in the ledger: read when the
first event of the chain is loaded, then kept up to date by the events themselves.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from dataflows.pricing import Chain, Pricing
from metering.batch import Source
from metering.totals import StoredUnit, TotalsStore, UnitKey
from rating_engine.rater import Rated
from rating_engine.split import SplitRater

#: Included, overage (10^-12 units) and charge (10^-24 of the currency's unit).
Figures = tuple[int, int, int]


class _Name(NamedTuple):
    customer_id: str
    meter: str
    group: str
    first: int  # where the chain's first part starts


@dataclass(slots=True)
class _State:
    rater: SplitRater
    places: dict[int, int]  # part by its start
    values: list[int]
    #: Of the last part, where nearly all events are: included units of the parts before it, and
    #: its figures. None where another part was rated since.
    used: int | None = None
    figures: Figures | None = None

    def rate(self, place: int, before: int, *, after: int) -> Figures:
        """The difference that a new value of one part makes in all of them."""
        if place < len(self.values) - 1:
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

    def __init__(self, pricing: Pricing, source: Source, *, hows: dict[str, str]) -> None:
        """None yet; `hows` are aggregations by meter."""
        self._pricing = pricing
        self._source = source
        self._hows = hows
        self._states: dict[_Name, _State] = {}
        #: State and place by the number of a unit.
        self._units: dict[int, tuple[_State, int]] = {}

    def hold(
        self, units: Iterable[int], key_of: Callable[[int], UnitKey], *, store: TotalsStore,
        stored_until: int,
    ) -> None:  # fmt: skip
        """Hold the chains of these units; reads all that is missing in one query.

        Parts that begin after `stored_until` cannot be stored. Raises `DependencyDown`; the ledger
        is of no use then.
        """
        new = {number: key_of(number) for number in units if number not in self._units}
        if not new:
            return
        chains = {number: self._chain(key) for number, key in new.items()}
        names = {number: _name(key, chains[number]) for number, key in new.items()}
        missing = {
            names[number]: chains[number] for number in new if names[number] not in self._states
        }
        if missing:
            self._read(missing, store, stored_until=stored_until)
        for number, key in new.items():
            state = self._states[names[number]]
            self._units[number] = state, state.places[key.start]

    def rate(self, unit: int, before: int, *, after: int) -> Figures:
        """Included, overage and charge that a new value of one part makes of difference in all."""
        state, place = self._units[unit]
        return state.rate(place, before, after=after)

    def keep(self, units: Iterable[int], key_of: Callable[[int], UnitKey]) -> None:
        """Forget all chains but those of these units, which have other numbers now."""
        keys = {number: key_of(number) for number in units}
        names = {number: _name(key, self._chain(key)) for number, key in keys.items()}
        kept = set(names.values())
        self._states = {name: state for name, state in self._states.items() if name in kept}
        # batches on their way are rated by these without being held again
        self._units = {
            number: (state, state.places[key.start])
            for number, key in keys.items()
            if (state := self._states.get(names[number])) is not None
        }

    def _read(self, missing: dict[_Name, Chain], store: TotalsStore, *, stored_until: int) -> None:
        wanted = {
            UnitKey(*name[:3], part.start, part.end): (name, at)
            for name, chain in missing.items()
            for at, part in enumerate(chain.parts)
            if part.start <= stored_until
        }
        for name, chain in missing.items():
            self._states[name] = _State(
                chain.rater(name.group),
                {part.start: at for at, part in enumerate(chain.parts)},
                [0] * len(chain.parts),
            )
        if not wanted:
            return
        found = store.units(self._source.stream, self._source.partition, list(wanted))
        for key, stored in found.items():
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

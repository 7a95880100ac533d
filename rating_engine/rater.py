"""From a quantity to a charge: allowance, commit bucket, model, minimum and cap, in this order.

A charge is a function of the period's value alone. What an event is charged is the difference that
it makes, `charge(after) - charge(before)`, exact and not rounded; so over any order and any split
of the events

    charge(0) + sum of event charges = charge(period's value)

without a remainder. `charge(0)`, the standing charge, is due without any event: a bucket's base
fee, a minimum, a flat fee at zero; mostly it is 0. Rounding comes after, once for the line. The
charge of an event may be negative, where `volume` or `stairstep` enters a cheaper tier or where the
event takes usage back.
"""

from typing import NamedTuple

from rating_engine.exact import whole
from rating_engine.models.model import Group, Step, StepKind
from rating_engine.models.table import model_for
from rating_engine.terms import ChargeTerms


class Rated(NamedTuple):
    """A quantity and what it costs.

    `quantity` (as it came), `included` and `overage` are in 10^-12 units, `charge` in 10^-24 of the
    currency's unit. Included and overage add up to the quantity, or to 0 where that is negative.
    """

    quantity: int
    included: int
    overage: int
    charge: int

    def since(self, before: "Rated") -> "Rated":
        """The difference that was made since `before`: what an event is charged."""
        return Rated(
            self.quantity - before.quantity,
            self.included - before.included,
            self.overage - before.overage,
            self.charge - before.charge,
        )


class CommitUse(NamedTuple):
    """How much of a commit bucket was used. Units are 10^-12, amounts 10^-24.

    Overage is what is charged beyond the base fee, after minimum and cap, so that it may be
    negative where a cap is below the fee. Buffer is what was paid for and not used: of the units,
    and of the base fee in proportion to them (rounded down).
    """

    units: int
    used: int
    overage_units: int
    overage: int
    buffer_units: int
    buffer: int


class Rater:
    """`terms` compiled for one group; one for each (price version, meter, group), made once.

    A period's value below zero (a meter that allows it took back more than was used) costs what
    zero costs; nothing is credited beyond.
    """

    __slots__ = (
        "_base_fee",
        "_cap",
        "_charge",
        "_covered",
        "_is_bounded",
        "_minimum",
        "_model",
        "_share",
        "terms",
    )

    def __init__(self, terms: ChargeTerms, group: Group | None = None) -> None:
        """`group` is dimension to value; it matters to dimensional prices only."""
        self.terms = terms
        self._model = model_for(terms.price, group or {})
        self._charge = self._model.charge
        self._covered = terms.covered
        self._base_fee = 0 if terms.bucket is None else terms.bucket.base_fee
        self._minimum = terms.minimum
        self._cap = terms.cap
        self._share = terms.share
        self._is_bounded = terms.minimum > 0 or terms.cap is not None

    def figures(self, units: int, used_before: int = 0) -> tuple[int, int, int]:
        """Included and overage (10^-12 units) and charge (10^-24) of a period's value `units`.

        `used_before` are included units that earlier parts of the period have used. The fast path,
        asked for every event. Raises `TypeError` unless `units` is an `int`.
        """
        if type(units) is not int:
            whole(units, "quantity")
        covered = self._covered
        if used_before:
            covered = max(covered - used_before, 0)
        if units <= covered:
            included = max(units, 0)
            overage = 0
        else:
            included = covered
            overage = units - covered
        charge = self._charge(overage) + self._base_fee
        if self._is_bounded:
            charge = self._bounded(charge)
        if self._share is not None:
            charge = self._share.of(charge)
        return included, overage, charge

    def rate(self, units: int, used_before: int = 0) -> Rated:
        """`figures` with their names."""
        return Rated(units, *self.figures(units, used_before))

    def rate_event(self, before: int, after: int) -> Rated:
        """The difference between two values of the period (10^-12 units), around one event.

        Who rates a run of events asks `figures` once for each instead, and keeps the last answer.
        """
        included, overage, charge = self.figures(after)
        included_before, overage_before, charge_before = self.figures(before)
        return Rated(
            after - before,
            included - included_before,
            overage - overage_before,
            charge - charge_before,
        )

    def steps(self, units: int, used_before: int = 0) -> tuple[Step, ...]:
        """The charge of `units` as its addends, in the order of operations, for people.

        Their amounts add up to the charge exactly.
        """
        included, overage, charge = self.figures(units, used_before)
        found = []
        if included:
            found.append(Step(StepKind.INCLUDED, 0, included))
        bucket = self.terms.bucket
        if bucket is not None:
            found.append(Step(StepKind.COMMIT_BASE, bucket.base_fee, bucket.units))
        found += self._model.steps(overage)
        amount = sum(step.amount for step in found)
        raised = max(amount, self._minimum)
        if raised > amount:
            found.append(Step(StepKind.MINIMUM, raised - amount))
        capped = raised if self._cap is None else min(raised, self._cap)
        if capped < raised:
            found.append(Step(StepKind.CAP, capped - raised))
        if charge != capped:
            found.append(Step(StepKind.TIME, charge - capped))
        return tuple(found)

    def commit_use(self, units: int, used_before: int = 0) -> CommitUse | None:
        """What became of the commit bucket; None where the terms have none."""
        bucket = self.terms.bucket
        if bucket is None:
            return None
        included, overage, charge = self.figures(units, used_before)
        size = min(bucket.units, max(self._covered - used_before, 0))
        used = max(included - max(self._covered - used_before - size, 0), 0)
        left = size - used
        base_fee = bucket.base_fee if self._share is None else self._share.of(bucket.base_fee)
        buffer = base_fee * left // bucket.units if bucket.units else 0
        return CommitUse(size, used, overage, charge - base_fee, left, buffer)

    def _bounded(self, charge: int) -> int:
        raised = max(charge, self._minimum)
        return raised if self._cap is None else min(raised, self._cap)

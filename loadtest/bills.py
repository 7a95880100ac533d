"""What a whole month is invoiced: an own reading of the rules for invoices, in fractions.

Every line is rounded once; where the charges of a plan with a commit fall short of it, a true-up
fills it; the base fee comes on top. Good for a month in which no price changes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import NamedTuple

from loadtest.outcome import Total, TotalKey
from loadtest.prices import COMMIT, DUE_UNUSED, FEE, expected_charges, plan_of

_CENTS = 100


class Invoice(NamedTuple):
    """What one customer owes for one month: the currency and whole cents."""

    currency: str
    cents: int


def expected_invoices(
    totals: Mapping[TotalKey, Total],
    names: Sequence[str],
    *,
    month_start: datetime,
    changed_at: datetime,
) -> dict[str, Invoice]:
    """An invoice for every customer with a plan, from all hourly totals of the month."""
    start_s = int(month_start.timestamp())
    charges: dict[str, dict[str, list[Fraction]]] = defaultdict(lambda: defaultdict(list))
    for key, charge in expected_charges(totals, names, changed_at=changed_at).items():
        if key.period_start == start_s:
            charges[key.customer_id][key.meter].append(charge.charge)
    found = {}
    for number, name in enumerate(names):
        plan = plan_of(number)
        if plan is not None:
            found[name] = _invoice(plan, charges.get(name, {}))
    return found


def _invoice(plan: str, charges: Mapping[str, Sequence[Fraction]]) -> Invoice:
    exact = [charge for lines in charges.values() for charge in lines]
    exact += [due for meter, due in DUE_UNUSED.get(plan, {}).items() if meter not in charges]
    lines = [_cents(charge, plan) for charge in exact]
    commit = COMMIT.get(plan, Fraction(0))
    if commit > sum(exact):
        lines.append(max(_cents(commit, plan) - sum(lines), 0))
    lines.append(_cents(FEE.get(plan, Fraction(0)), plan))
    return Invoice("EUR" if plan == "business" else "USD", sum(lines))


def _cents(amount: Fraction, plan: str) -> int:
    """Whole cents: half up for the plan that says so, half to even for the others."""
    if plan != "business":
        return round(amount * _CENTS)
    size = abs(amount * _CENTS) + Fraction(1, 2)
    whole = size.numerator // size.denominator
    return -whole if amount < 0 else whole

"""An independent oracle, naive and in fractions, agrees with the engine on every price.

It shares no code with the engine: prices are plain numbers here, and it walks where the engine
compiles. Then what must hold of any price: charges add up, monotone models never fall, splitting
where nothing changed changes nothing.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating_engine.models.table import MODELS, Price, model_for, price_of
from rating_engine.rater import Rater
from rating_engine.split import Segment, SplitRater
from rating_engine.terms import ChargeTerms, CommitBucket

Q = 10**12
C = 10**24
PERIOD = 30 * 86_400_000_000
Raw = dict[str, Any]

# The oracle.


def naive_tiers(raw: Raw, quantity: Fraction) -> list[tuple[Raw, Fraction]]:
    """Each tier that holds some of the quantity, with how much."""
    found, low = [], Fraction(0)
    for tier in raw["tiers"]:
        high = Fraction(tier["up_to"]) if "up_to" in tier else quantity
        held = min(quantity, high) - low
        if held > 0:
            found.append((tier, held))
        low = high
    return found


def naive_charge(raw: Raw, quantity: Fraction) -> Fraction:
    """What `quantity` costs under the price `raw`, by its definition."""
    kind = raw["model"]
    if kind == "per_unit":
        return quantity * Fraction(raw["unit_price"])
    if kind == "percentage":
        return quantity * Fraction(raw["percent"]) / 100
    if kind == "package":
        size, packages = Fraction(raw["package_size"]), 0
        while packages * size < quantity:
            packages += 1
        return packages * Fraction(raw["package_price"])
    held = naive_tiers(raw, quantity)
    if not held:
        first = raw["tiers"][0]
        return Fraction(first.get("flat_fee", 0)) if first.get("flat_fee_at_zero") else Fraction(0)
    if kind == "graduated":
        return sum(
            (n * Fraction(t["unit_price"]) + Fraction(t.get("flat_fee", 0)) for t, n in held),
            Fraction(0),
        )
    last = held[-1][0]
    fee = Fraction(last.get("flat_fee", 0))
    return fee if kind == "stairstep" else quantity * Fraction(last["unit_price"]) + fee


def naive_wrapped(
    raw: Raw, wraps: Mapping[str, Fraction | None], quantity: Fraction
) -> tuple[Fraction, Fraction, Fraction]:
    """Included, overage and charge: the stated order, one step after the other."""
    quantity = max(quantity, Fraction(0))
    free = min(quantity, wraps["allowance"] or Fraction(0))
    rest = quantity - free
    charge = Fraction(0)
    paid = Fraction(0)
    if wraps["bucket"] is not None:
        paid = min(rest, wraps["bucket"])
        rest -= paid
        charge += wraps["base_fee"] or Fraction(0)
    charge += naive_charge(raw, rest)
    if wraps["minimum"] is not None and charge < wraps["minimum"]:
        charge = wraps["minimum"]
    if wraps["cap"] is not None and charge > wraps["cap"]:
        charge = wraps["cap"]
    return free + paid, rest, charge


# What it is asked about.


def decimals(digits: int, most: int) -> st.SearchStrategy[str]:
    """Decimal text from 0 to `most` with up to `digits` behind the point."""
    return st.tuples(st.integers(0, most), st.integers(0, 10**digits - 1)).map(
        lambda pair: f"{pair[0]}.{pair[1]:0{digits}d}"
    )


def quantities(most: int = 5000) -> st.SearchStrategy[Fraction]:
    """Whole numbers, which meet borders, and any of 10^-12."""
    whole = st.integers(0, most).map(Fraction)
    return st.one_of(whole, st.integers(0, most * Q).map(lambda n: Fraction(n, Q)))


@st.composite
def tiered(draw: st.DrawFn, kind: str) -> Raw:
    """Up to five tiers with borders and prices of any kind."""
    borders = sorted(draw(st.sets(st.integers(1, 4000), max_size=4)))
    tiers: list[Raw] = [{"up_to": str(border)} for border in borders] + [{}]
    for at, tier in enumerate(tiers):
        if kind != "stairstep":
            tier["unit_price"] = draw(decimals(12, 3))
        if kind == "stairstep" or draw(st.booleans()):
            tier["flat_fee"] = draw(decimals(6, 100))
            if at == 0:
                tier["flat_fee_at_zero"] = draw(st.booleans())
    return {"model": kind, "tiers": tiers}


PRICES: dict[str, st.SearchStrategy[Raw]] = {
    "per_unit": decimals(12, 5).map(lambda p: {"model": "per_unit", "unit_price": p}),
    "percentage": decimals(10, 20).map(lambda p: {"model": "percentage", "percent": p}),
    "package": st.tuples(decimals(3, 500).filter(lambda s: Fraction(s) > 1), decimals(6, 50)).map(
        lambda p: {"model": "package", "package_size": p[0], "package_price": p[1]}
    ),
    "graduated": tiered("graduated"),
    "volume": tiered("volume"),
    "stairstep": tiered("stairstep"),
}
WRAPS = st.fixed_dictionaries(
    {
        "allowance": st.one_of(st.none(), quantities(1000)),
        "bucket": st.one_of(st.none(), quantities(1000).filter(bool)),
        "base_fee": st.integers(0, 500).map(Fraction),
        "minimum": st.one_of(st.none(), st.integers(0, 300).map(Fraction)),
        "cap": st.one_of(st.none(), st.integers(300, 2000).map(Fraction)),
    }
)


def terms_of(price: Price, wraps: Mapping[str, Fraction | None]) -> ChargeTerms:
    """The same in the engine's scales."""
    base_fee, bucket, cap = wraps["base_fee"] or Fraction(0), wraps["bucket"], wraps["cap"]
    return ChargeTerms(
        price,
        allowance=int((wraps["allowance"] or Fraction(0)) * Q),
        bucket=None if bucket is None else CommitBucket(int(bucket * Q), int(base_fee * C)),
        minimum=int((wraps["minimum"] or Fraction(0)) * C),
        cap=None if cap is None else int(cap * C),
    )


def test_every_model_is_asked_about() -> None:
    assert PRICES.keys() == MODELS.keys()


@pytest.mark.parametrize("kind", PRICES)
def test_each_model_charges_what_the_oracle_does(kind: str) -> None:
    @settings(max_examples=200, deadline=None)
    @given(PRICES[kind], quantities())
    def agree(raw: Raw, quantity: Fraction) -> None:
        model = model_for(price_of(raw), {})
        units = int(quantity * Q)
        assert Fraction(model.charge(units), C) == naive_charge(raw, quantity)
        assert sum(step.amount for step in model.steps(units)) == model.charge(units)

    agree()


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(*PRICES.values()), WRAPS, st.one_of(quantities(), quantities(50).map(lambda q: -q))
)
def test_all_around_a_model_is_applied_in_the_stated_order(
    raw: Raw, wraps: dict[str, Fraction | None], quantity: Fraction
) -> None:
    rater = Rater(terms_of(price_of(raw), wraps))
    units = int(quantity * Q)
    got = rater.rate(units)
    assert (
        Fraction(got.included, Q),
        Fraction(got.overage, Q),
        Fraction(got.charge, C),
    ) == naive_wrapped(raw, wraps, quantity)
    assert sum(step.amount for step in rater.steps(units)) == got.charge
    use = rater.commit_use(units)
    assert (use is None) == (wraps["bucket"] is None)
    if use is not None:
        assert use.used + use.buffer_units == use.units
        assert use.overage + int((wraps["base_fee"] or 0) * C) == got.charge


# What must hold whatever the price.

events = st.lists(st.integers(-(10**15), 3 * 10**15), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.one_of(*PRICES.values()), WRAPS, events, st.randoms(use_true_random=False))
def test_charges_add_up_under_any_order_and_split_of_events(
    raw: Raw, wraps: dict[str, Fraction | None], quantities_: list[int], chance: Any
) -> None:
    rater = Rater(terms_of(price_of(raw), wraps))
    total = rater.rate(sum(quantities_))
    standing = rater.rate(0)
    halves = [part for each in quantities_ for part in (each // 3, each - each // 3)]
    for order in (quantities_, quantities_[::-1], halves, chance.sample(halves, len(halves))):
        values = list(accumulate(order, initial=0))
        charged = [rater.rate_event(before, after) for before, after in pairwise(values)]
        assert standing.charge + sum(each.charge for each in charged) == total.charge
        assert sum(each.included for each in charged) == total.included
        assert sum(each.overage for each in charged) == total.overage
        assert sum(each.quantity for each in charged) == total.quantity


@pytest.mark.parametrize("kind", ["per_unit", "percentage", "package", "graduated"])
def test_a_monotone_model_never_falls_as_usage_grows(kind: str) -> None:
    @settings(max_examples=150, deadline=None)
    @given(PRICES[kind], WRAPS, quantities(), quantities())
    def rises(raw: Raw, wraps: dict[str, Fraction | None], some: Fraction, more: Fraction) -> None:
        rater = Rater(terms_of(price_of(raw), wraps))
        low, high = sorted((int(some * Q), int(more * Q)))
        assert rater.rate(low).charge <= rater.rate(high).charge

    rises()


@settings(max_examples=150, deadline=None)
@given(tiered("stairstep"), quantities(), quantities())
def test_a_stairstep_that_ascends_never_falls(raw: Raw, some: Fraction, more: Fraction) -> None:
    fees = sorted((tier["flat_fee"] for tier in raw["tiers"]), key=Fraction)
    for tier, fee in zip(raw["tiers"], fees, strict=True):
        tier["flat_fee"] = fee
    model = model_for(price_of(raw), {})
    low, high = sorted((int(some * Q), int(more * Q)))
    assert model.charge(low) <= model.charge(high)


cuts = st.lists(st.integers(1, PERIOD - 1), max_size=4, unique=True).map(sorted)


def split(terms: Sequence[ChargeTerms], at: Sequence[int], *, prorate: bool) -> SplitRater:
    ends = [0, *at, PERIOD]
    return SplitRater(
        [
            Segment(low, high, each, prorate)
            for (low, high), each in zip(pairwise(ends), terms, strict=True)
        ],
        PERIOD,
    )


@settings(max_examples=200, deadline=None)
@given(st.one_of(*PRICES.values()), WRAPS, cuts, st.data(), st.booleans())
def test_splitting_where_nothing_changed_is_not_splitting(
    raw: Raw, wraps: dict[str, Fraction | None], at: list[int], data: st.DataObject, prorate: bool
) -> None:
    terms = [terms_of(price_of(raw), wraps) for _ in range(len(at) + 1)]
    used = [data.draw(st.integers(0, 10**15)) for _ in terms]
    got = split(terms, at, prorate=prorate).rate(used)
    assert got == (Rater(terms[0]).rate(sum(used)),)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(*PRICES.values()), min_size=2, max_size=3), WRAPS, st.data())
def test_charges_add_up_over_a_split_in_any_order(
    raws: list[Raw], wraps: dict[str, Fraction | None], data: st.DataObject
) -> None:
    at = sorted(
        data.draw(
            st.lists(
                st.integers(1, PERIOD - 1),
                min_size=len(raws) - 1,
                max_size=len(raws) - 1,
                unique=True,
            )
        )
    )
    rater = split(
        [terms_of(price_of(raw), wraps) for raw in raws], at, prorate=data.draw(st.booleans())
    )
    one = st.tuples(st.integers(0, len(raws) - 1), st.integers(0, 2 * 10**15))
    happened = data.draw(st.lists(one, max_size=8))
    state = [0] * len(raws)
    charged = sum(each.charge for each in rater.rate(state))
    for segment, units in data.draw(st.permutations(happened)):
        charged += rater.rate_event(state, segment=segment, units=units).charge
        state[segment] += units
    assert charged == sum(each.charge for each in rater.rate(state))


def test_the_oracle_is_no_part_of_the_engine() -> None:
    for function in (naive_tiers, naive_charge, naive_wrapped):
        assert not {"charge", "Rater", "price_of", "model_for"} & set(function.__code__.co_names)

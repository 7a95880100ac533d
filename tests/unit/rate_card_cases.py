"""Prices, terms and quantities of every kind, for what has to charge as `Rater` does."""

from dataclasses import replace

from hypothesis import strategies as st

from rating_engine.models.graduated import Graduated
from rating_engine.models.model import Model
from rating_engine.models.package import Package
from rating_engine.models.per_unit import PerUnit
from rating_engine.models.percentage import Percentage
from rating_engine.models.stairstep import Stairstep
from rating_engine.models.tiers import Tier, Tiers
from rating_engine.models.volume import Volume
from rating_engine.proration import Share
from rating_engine.rate_card import RateCard
from rating_engine.terms import ChargeTerms, CommitBucket, of_part

Q = 10**12
C = 10**24
#: Of a period of 30 days, in microseconds.
PERIOD = 30 * 86_400_000_000

#: Small numbers meet borders; great ones meet the ends of words; any of 10^-12.
units = st.one_of(
    st.integers(0, 50).map(lambda n: n * Q),
    st.integers(0, 5000 * Q),
    st.integers(0, 10**18 * Q),
    st.integers(0, 2**64 + 10),
)
prices = st.one_of(st.integers(0, 5).map(lambda n: n * Q), st.integers(0, 3 * Q), st.just(0))
amounts = st.one_of(st.integers(0, 50).map(lambda n: n * C), st.integers(0, 100 * C))


@st.composite
def tiers(draw: st.DrawFn) -> Tiers:
    """Up to six tiers with fees here and there."""
    ends = sorted(draw(st.sets(units.filter(bool), max_size=5)))
    found = [Tier(end, draw(prices), draw(st.one_of(st.just(0), amounts))) for end in (*ends, None)]
    return (replace(found[0], flat_fee_at_zero=draw(st.booleans())), *found[1:])


MODELS: dict[str, st.SearchStrategy[Model]] = {
    "per_unit": prices.map(PerUnit),
    "percentage": prices.map(Percentage),
    "package": st.builds(Package, units.filter(bool), prices),
    "graduated": tiers().map(Graduated),
    "volume": tiers().map(Volume),
    "stairstep": tiers().map(Stairstep),
}


@st.composite
def terms(draw: st.DrawFn) -> ChargeTerms:
    """A model, and around it anything or nothing; now and then of a part of a period."""
    has_bucket, has_cap = draw(st.booleans()), draw(st.booleans())
    found = ChargeTerms(
        draw(st.one_of(*MODELS.values())),
        allowance=draw(st.one_of(st.just(0), units)),
        bucket=CommitBucket(draw(units), draw(amounts)) if has_bucket else None,
        minimum=draw(st.one_of(st.just(0), amounts)),
        cap=draw(amounts) if has_cap else None,
    )
    if draw(st.booleans()):
        return found
    start, end = sorted(draw(st.tuples(st.integers(0, PERIOD), st.integers(0, PERIOD))))
    share = Share(start, end, PERIOD)
    return of_part(found, share, units_too=draw(st.booleans()), is_level=draw(st.booleans()))


def values(card: RateCard) -> st.SearchStrategy[int]:
    """Quantities around a card's borders, below zero, and up to 10^18 units."""
    borders = {0, card.covered, 10**18 * Q, *(card.covered + row.above for row in card.rows)}
    borders |= {card.covered + 3 * row.package_units for row in card.rows}
    near = st.builds(int.__add__, st.sampled_from(sorted(borders)), st.integers(-2, 2))
    return st.one_of(near, units, units.map(int.__neg__))

"""A change of price or plan inside a period: what each part is charged, under both policies."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.catalog import Aggregation
from metering.quantity import units
from rating_engine.combine import combined
from rating_engine.exact import ONE_CHARGE, charge_text, quantity_text
from rating_engine.models.model import StepKind
from rating_engine.models.table import price_of
from rating_engine.proration import Share
from rating_engine.rater import Rated, Rater
from rating_engine.split import Segment, SplitRater
from rating_engine.terms import ChargeTerms, CommitBucket

DAYS = 30


def q(text: str) -> int:
    read = units(text)
    assert isinstance(read, int)
    return read


def per_unit(price: str, allowance: str = "0") -> ChargeTerms:
    return ChargeTerms(price_of({"model": "per_unit", "unit_price": price}), allowance=q(allowance))


VERSION_1 = per_unit("0.001", "100000")
VERSION_2 = per_unit("0.0008", "250000")


def figures(rated: Rated) -> tuple[str, str, str]:
    return (
        quantity_text(rated.included),
        quantity_text(rated.overage),
        charge_text(rated.charge),
    )


@pytest.mark.parametrize(
    ("prorate", "used", "expected"),
    [
        # all of the newer allowance, less what the first part has used of its own
        (False, ("80000", "200000"), [("80000", "0", "0"), ("170000", "30000", "24")]),
        (False, ("130000", "160000"), [("100000", "30000", "30"), ("150000", "10000", "8")]),
        (False, ("0", "260000"), [("0", "0", "0"), ("250000", "10000", "8")]),
        # ten and twenty days of thirty
        (
            True,
            ("40000", "200000"),
            [
                ("33333.333333333333", "6666.666666666667", "6.666666666666667"),
                ("166666.666666666667", "33333.333333333333", "26.6666666666666664"),
            ],
        ),
        (True, ("0", "166667"), [("0", "0", "0"), ("166666.666666666667", "0.333333333333", None)]),
    ],
)
def test_the_allowance_of_a_split_period_follows_the_policy(
    prorate: bool, used: tuple[str, str], expected: list[tuple[str, str, str | None]]
) -> None:
    rater = SplitRater(
        [Segment(0, 10, VERSION_1, prorate), Segment(10, DAYS, VERSION_2, prorate)], DAYS
    )
    got = [figures(each) for each in rater.rate([q(each) for each in used])]
    assert [each[:2] for each in got] == [each[:2] for each in expected]
    for each, want in zip(got, expected, strict=True):
        assert want[2] in (None, each[2])


def test_what_all_parts_before_have_used_counts_against_an_allowance() -> None:
    last = per_unit("0.0005", "300000")
    segments = [Segment(0, 10, VERSION_1), Segment(10, 20, VERSION_2), Segment(20, DAYS, last)]
    rated = SplitRater(segments, DAYS).rate([q("60000"), q("90000"), q("170000")])
    assert [figures(each) for each in rated] == [
        ("60000", "0", "0"),
        ("90000", "0", "0"),
        ("150000", "20000", "10"),
    ]


def test_a_smaller_allowance_after_the_change_takes_nothing_back() -> None:
    rater = SplitRater([Segment(0, 10, VERSION_2), Segment(10, DAYS, VERSION_1)], DAYS)
    got = [figures(each) for each in rater.rate([q("200000"), q("1000")])]
    assert got == [("200000", "0", "0"), ("0", "1000", "1")]


def test_an_early_event_that_comes_late_is_charged_what_it_does_to_both_parts() -> None:
    rater = SplitRater([Segment(0, 10, VERSION_1), Segment(10, DAYS, VERSION_2)], DAYS)
    before = [q("80000"), q("170000")]
    event = rater.rate_event(before, segment=0, units=q("10000"))
    # included by the first part, so that as much of the second is overage now
    assert figures(event) == ("0", "10000", "8")
    first, second = rater.rate([q("90000"), q("170000")])
    assert figures(first) == ("90000", "0", "0")
    assert figures(second) == ("160000", "10000", "8")


def test_tiers_start_again_with_the_part() -> None:
    tiers = [{"up_to": "100", "unit_price": "1"}, {"unit_price": "0.5"}]
    graduated = ChargeTerms(price_of({"model": "graduated", "tiers": tiers}))
    rater = SplitRater([Segment(0, 10, graduated), Segment(10, DAYS, per_unit("2"))], DAYS)
    assert [charge_text(each.charge) for each in rater.rate([q("150"), q("10")])] == ["125", "20"]


def test_amounts_for_a_period_are_due_by_time_and_fees_of_tiers_are_not() -> None:
    tiers = [{"unit_price": "1", "flat_fee": "7"}]
    terms = ChargeTerms(
        price_of({"model": "graduated", "tiers": tiers}),
        bucket=CommitBucket(q("90"), 300 * ONE_CHARGE),
        minimum=120 * ONE_CHARGE,
        cap=360 * ONE_CHARGE,
    )
    for prorate, covered in ((True, "30"), (False, "90")):
        rater = SplitRater([Segment(20, DAYS, terms, prorate)], DAYS)
        part = rater.rater_of(0)
        assert part.terms.covered == q(covered)
        assert [
            charge_text(rater.rate([q(used)])[0].charge) for used in ("0", covered, "91", "1000")
        ] == ["100", "100", "108" if not prorate else "120", "120"]


def test_a_bucket_is_used_up_across_a_change() -> None:
    small = ChargeTerms(VERSION_1.price, bucket=CommitBucket(q("100"), 100 * ONE_CHARGE))
    large = ChargeTerms(VERSION_1.price, bucket=CommitBucket(q("300"), 300 * ONE_CHARGE))
    rater = SplitRater([Segment(0, 15, small), Segment(15, DAYS, large)], DAYS)
    rated = rater.rate([q("80"), q("200")])
    use = rater.rater_of(1).commit_use(rated[1].quantity, rater.used_before(rated, 1))
    assert use is not None
    assert [quantity_text(each) for each in (use.units, use.used, use.buffer_units)] == [
        "220",
        "200",
        "20",
    ]
    assert sum(each.charge for each in rated) == 200 * ONE_CHARGE


def test_equal_terms_are_one_part_however_they_are_written() -> None:
    same = per_unit("0.0010", "100000.0")
    segments = [
        Segment(0, 10, VERSION_1),
        Segment(10, 20, same),
        Segment(20, 25, VERSION_2),
        Segment(25, DAYS, VERSION_1),
    ]
    rater = SplitRater(segments, DAYS)
    assert rater.part_of == (0, 0, 1, 2)
    assert [(each.start, each.end) for each in rater.merged] == [(0, 20), (20, 25), (25, DAYS)]


def test_a_change_of_policy_alone_splits() -> None:
    rater = SplitRater([Segment(0, 10, VERSION_1, False), Segment(10, DAYS, VERSION_1, True)], DAYS)
    assert rater.part_of == (0, 1)


@pytest.mark.parametrize(
    "segments",
    [
        [],
        [Segment(0, 10, VERSION_1), Segment(11, DAYS, VERSION_1)],
        [Segment(0, 10, VERSION_1), Segment(9, DAYS, VERSION_2)],
        [Segment(0, DAYS + 1, VERSION_1)],
        [Segment(-1, DAYS, VERSION_1)],
        [Segment(10, 5, VERSION_1)],
    ],
)
def test_segments_that_do_not_follow_each_other_are_refused(segments: list[Segment]) -> None:
    with pytest.raises(ValueError, match="expected"):
        SplitRater(segments, DAYS)


@given(st.integers(0, 10**30), st.integers(1, 10**13), st.lists(st.integers(0, 10**13)))
def test_shares_add_up_to_the_whole(amount: int, period: int, cuts: list[int]) -> None:
    ends = [0, *sorted(cut % (period + 1) for cut in cuts), period]
    pairs = list(pairwise(ends))
    shares = [Share(low, high, period).of(amount) for low, high in pairs]
    assert sum(shares) == amount
    assert all(
        abs(share * period - amount * (high - low)) < period
        for share, (low, high) in zip(shares, pairs, strict=True)
    )


SAME = [Segment(0, 10, VERSION_1), Segment(10, 20, VERSION_1), Segment(20, DAYS, VERSION_1)]


@pytest.mark.parametrize(
    ("aggregation", "reported", "expected"),
    [
        (Aggregation.SUM, [3, None, 4], 7),
        (Aggregation.COUNT, [3, 0, 4], 7),
        (Aggregation.UNIQUE_COUNT, [3, None, 4], 7),
        (Aggregation.MAX, [3, 9, 4], 9),
        (Aggregation.MAX, [-3, None, -4], -3),  # where nothing was reported is not where 0 was
        (Aggregation.LATEST, [3, 9, 4], 4),
        (Aggregation.LATEST, [3, 9, None], 9),
        (Aggregation.LATEST, [3, 9, 0], 0),  # all seats were given back
        (Aggregation.LATEST, [None, None, None], 0),
    ],
)
def test_quantities_of_one_part_become_one_by_the_aggregation(
    aggregation: Aggregation, reported: list[int | None], expected: int
) -> None:
    rater = SplitRater(SAME, DAYS, aggregation=aggregation)
    (part,) = rater.rate(reported)
    assert part.quantity == expected


@pytest.mark.parametrize("aggregation", [Aggregation.MAX, Aggregation.LATEST])
@pytest.mark.parametrize("prorate_allowance", [False, True])
def test_a_level_is_charged_in_proportion_to_time(
    aggregation: Aggregation, prorate_allowance: bool
) -> None:
    # 50 seats, 10 of them free: 12 of 30 days at 1, the others at 2
    segments = [
        Segment(0, 12, per_unit("1", "10"), prorate_allowance),
        Segment(12, DAYS, per_unit("2", "10"), prorate_allowance),
    ]
    rater = SplitRater(segments, DAYS, aggregation=aggregation)
    first, second = rater.rate([q("50"), q("50")])
    assert (first.charge, second.charge) == (16 * ONE_CHARGE, 48 * ONE_CHARGE)
    assert (first.included, second.overage) == (q("10"), q("40"))
    steps = rater.rater_of(0).steps(q("50"))
    assert [(step.kind, step.amount) for step in steps[-2:]] == [
        (StepKind.UNITS, 40 * ONE_CHARGE), (StepKind.TIME, -24 * ONE_CHARGE),
    ]  # fmt: skip


@given(st.lists(st.integers(1, DAYS - 1), max_size=4, unique=True), st.integers(0, 10**24))
def test_a_level_that_stays_costs_the_same_however_the_period_is_cut(
    cuts: list[int], level: int
) -> None:
    borders = [0, *sorted(cuts), DAYS]
    # terms that differ, and charge the same
    segments = [
        Segment(low, high, replace(per_unit("0.7", "3"), cap=10**80 + low))
        for low, high in pairwise(borders)
    ]
    rater = SplitRater(segments, DAYS, aggregation=Aggregation.MAX)
    assert len(rater.merged) == len(segments)
    whole = Rater(segments[0].terms).rate(level).charge
    assert sum(each.charge for each in rater.rate([level] * len(segments))) == whole


@pytest.mark.parametrize("aggregation", Aggregation)
@given(st.data())
def test_a_change_that_changes_nothing_changes_no_level_either(
    aggregation: Aggregation, data: st.DataObject
) -> None:
    terms = per_unit("0.5", "10")
    happened = data.draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(-(10**15), 10**15)), max_size=8)
    )
    happened.sort(key=lambda each: each[0])
    segments = [Segment(low, low + 10, terms) for low in (0, 10, 20)]
    split = SplitRater(segments, DAYS, aggregation=aggregation)
    whole = SplitRater([Segment(0, DAYS, terms)], DAYS, aggregation=aggregation)
    state: list[int | None] = [None, None, None]
    charged = 0
    for segment, amount in happened:
        charged += split.rate_event(state, segment=segment, units=amount).charge
        state[segment] = combined([state[segment], amount], aggregation)
    value = combined([amount for _, amount in happened], aggregation)
    assert split.rate(state) == whole.rate([value])
    assert charged == split.rate(state)[0].charge

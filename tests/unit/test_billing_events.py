"""Event by event or all at once: the charge is the same, by every aggregation and policy."""

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from catalogs import book, microseconds
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.bills import CustomerBill, chunks, customers_of
from billing.event_charges import EventCharges
from billing.events import RawEvent, StoredRating
from billing.explanation import ExplainedCharge, explained
from billing.group_text import group_key
from billing.rerate import compared, customers_of_both
from billing.usage import SpanUsage, borders_of
from metering.catalog import Aggregation
from rating_engine.bill import bill
from rating_engine.billing_period import BillingPeriod
from rating_engine.combine import Quantity, combined
from rating_engine.exact import ONE_UNIT, charge_text
from rating_engine.period_rater import PeriodRater
from rating_engine.price_book.book import PriceBook, PricedSpan
from sinks.rejects import Coordinate

PLANS = """plans:
- key: growth
  currency: USD
  prorate_allowance: {prorate}
  versions:
  - version: 1
    effective_from: 2026-01-01T00:00:00Z
    charges:
    - {{meter: requests, allowance: "1000", price: {{model: volume, tiers: [
        {{up_to: "500", unit_price: "0.2"}}, {{unit_price: "0.1"}}]}}}}
  - version: 2
    effective_from: 2026-04-11T00:00:00Z
    charges:
    - {{meter: requests, allowance: "1500", minimum: "3",
        price: {{model: per_unit, unit_price: "0.3"}}}}
  - {{version: 3, effective_from: 2026-04-21T00:00:00Z}}
"""
SUBSCRIPTIONS = """subscriptions:
- {id: s1, customer_id: a, plan: growth, from: 2026-01-01T00:00:00Z}
"""
START, END = microseconds("2026-04-01"), microseconds("2026-05-01")
APRIL = BillingPeriod(START // 1_000_000, END // 1_000_000)


def _event(at: int, occurred_us: int, units: int, *, counted: bool = True) -> RawEvent:
    return RawEvent(
        Coordinate("s", 0, at, 0), f"e{at}", at.to_bytes(16, "big"), occurred_us, 0, counted,
        units, None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[PricedSpan, ...]]:
    found = {}
    for prorate in (True, False):
        folder = tmp_path_factory.mktemp("catalog")
        text = PLANS.format(prorate=str(prorate).lower())
        known = book(folder, plans=text, subscriptions=SUBSCRIPTIONS)
        calendar = known.calendar_of("a")
        assert calendar is not None
        found[prorate] = known.spans("a", calendar.period_of(START))
    return found


def _expected(
    events: list[RawEvent], borders: tuple[int, ...], aggregation: Aggregation
) -> tuple[Quantity, ...]:
    """Quantities of the spans, written anew: each as SQL has it."""
    found: list[Quantity] = []
    for low, high in pairwise(borders):
        own = [each for each in events if low <= each.occurred_us < high]
        newest = max(own, key=lambda each: (each.occurred_us, each.identity), default=None)
        found.append(
            None
            if newest is None
            else {
                Aggregation.SUM: sum(each.quantity for each in own),
                Aggregation.COUNT: len(own) * ONE_UNIT,
                Aggregation.UNIQUE_COUNT: sum(each.counted for each in own) * ONE_UNIT,
                Aggregation.MAX: max(each.quantity for each in own),
                Aggregation.LATEST: newest.quantity,
            }[aggregation]
        )
    return tuple(found)


@pytest.mark.parametrize("prorate", [True, False])
@pytest.mark.parametrize("aggregation", Aggregation)
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(START, END - 1), st.integers(-(10**14), 2 * 10**15), st.booleans()
        ),
        max_size=12,
    )
)  # fmt: skip
def test_event_charges_and_the_standing_charge_add_up(
    spans: dict[bool, tuple[PricedSpan, ...]],
    aggregation: Aggregation,
    prorate: bool,
    happened: list[tuple[int, int, bool]],
) -> None:
    own = spans[prorate]
    events = [
        _event(at, moment, units, counted=counted)
        for at, (moment, units, counted) in enumerate(happened)
    ]
    found = _explained(own, events, aggregation)
    assert found.events_agree
    assert found.sums.events == len(events)
    rater = PeriodRater([each.span for each in own], "requests", period=END - START,
                        aggregation=aggregation)  # fmt: skip
    assert rater.parts == ((0, 0), (1, 1))
    for at, part in enumerate(rater.rate(found.quantities)):
        assert part.rated.quantity == (combined([found.quantities[at]], aggregation) or 0)
    assert sum(Decimal(charge_text(each.rated.charge)) for each in found.shown) + Decimal(
        charge_text(found.standing)
    ) == Decimal(charge_text(found.charge))


def _explained(
    own: tuple[PricedSpan, ...], events: list[RawEvent], aggregation: Aggregation
) -> ExplainedCharge:
    borders = borders_of("a", APRIL, spans=own).borders_us
    rater = PeriodRater([each.span for each in own], "requests", period=END - START,
                        aggregation=aggregation)  # fmt: skip
    charges = EventCharges(rater, borders, aggregation=aggregation)
    shown = tuple(charges.charges(events))
    raw = _expected(events, borders, aggregation)
    return explained(
        rater, own, group=(), quantities=(raw, raw), events=(shown, charges.sums)
    )  # fmt: skip


def test_case_09_an_event_on_a_border_is_in_the_span_that_begins(
    spans: dict[bool, tuple[PricedSpan, ...]],
) -> None:
    change = microseconds("2026-04-11")
    events = [_event(0, change - 1, ONE_UNIT), _event(1, change, 2 * ONE_UNIT),
              _event(2, START, 4 * ONE_UNIT), _event(3, END - 1, 8 * ONE_UNIT)]  # fmt: skip
    found = _explained(spans[False], events, Aggregation.SUM)
    assert [each.span for each in found.shown] == [0, 1, 0, 2]
    assert found.quantities == (5 * ONE_UNIT, 2 * ONE_UNIT, 8 * ONE_UNIT)


def test_case_13_late_usage_is_charged_the_difference_of_full_re_rating(
    spans: dict[bool, tuple[PricedSpan, ...]],
) -> None:
    early, late = microseconds("2026-04-02"), microseconds("2026-04-12")
    first = [_event(0, early, 1400 * ONE_UNIT), _event(1, late, 1500 * ONE_UNIT)]
    for units in (200, -600):  # enters the cheaper tier of all units; takes usage back
        event = _event(2, early, units * ONE_UNIT)
        before = _explained(spans[False], first, Aggregation.SUM)
        after = _explained(spans[False], [*first, event], Aggregation.SUM)
        delta = after.charge - before.charge
        assert after.shown[-1].rated.charge == delta
        assert delta < 0


def test_case_17_exact_at_both_ends(spans: dict[bool, tuple[PricedSpan, ...]]) -> None:
    tenth, huge = ONE_UNIT // 10, 10**18 * ONE_UNIT
    tenths = _explained(spans[False], [_event(at, START, tenth) for at in range(3)],
                        Aggregation.SUM)  # fmt: skip
    assert tenths.quantities[0] == 3 * ONE_UNIT // 10
    events = [_event(0, START, huge), _event(1, START, tenth), _event(2, START, -huge)]
    found = _explained(spans[False], events, Aggregation.SUM)
    assert found.quantities[0] == tenth
    assert found.events_agree


def test_what_the_stream_stored_is_compared_where_it_stored(
    spans: dict[bool, tuple[PricedSpan, ...]],
) -> None:
    plain = _event(0, START, 1200 * ONE_UNIT)
    assert _explained(spans[False], [plain], Aggregation.SUM).stored_agrees is None
    right = _explained(spans[False], [plain], Aggregation.SUM).shown[0].rated
    for wrong in (0, 1):
        stored = StoredRating(0, right.included, right.overage, right.charge + wrong, "1", "x")
        found = _explained(spans[False], [plain._replace(stored=stored)], Aggregation.SUM)
        assert found.stored_agrees is (wrong == 0)
        assert found.agrees is (wrong == 0)


def test_a_group_is_the_pairs_that_have_a_value() -> None:
    assert group_key("{}") == ()
    assert group_key('{"region":""}') == ()
    assert group_key('{"zone":"b","region":"eu"}') == (("region", "eu"), ("zone", "b"))


def test_every_customer_is_billed_once_and_in_order(tmp_path: Path) -> None:
    rows = [
        f"- {{id: {name}, customer_id: {name[0]}, plan: growth, from: {moment}T00:00:00Z, "
        f"until: {until}T00:00:00Z}}\n"
        for name, moment, until in (
            ("c1", "2026-01-01", "2026-02-01"), ("a1", "2026-01-01", "2026-02-01"),
            ("c2", "2026-02-01", "2026-03-01"), ("b1", "2026-01-01", "2026-02-01"),
        )
    ]  # fmt: skip
    text = PLANS.format(prorate="true")
    folders = [tmp_path / "old", tmp_path / "new"]
    for folder in folders:
        folder.mkdir()
    old = book(folders[0], plans=text, subscriptions="subscriptions:\n" + "".join(rows))
    new = book(folders[1], plans=text, subscriptions=SUBSCRIPTIONS)
    assert list(customers_of(old)) == ["a", "b", "c"]
    assert list(customers_of_both(old, new)) == ["a", "b", "c"]
    assert list(chunks(customers_of(old), 2)) == [["a", "b"], ["c"]]


def _billed(known: PriceBook, used: int) -> CustomerBill:
    calendar = known.calendar_of("a")
    assert calendar is not None
    period = calendar.period_of(START)
    found = known.spans("a", period)
    usage: SpanUsage = {("requests", ()): [used * ONE_UNIT, *[None] * (len(found) - 1)]}
    due = bill([each.span for each in found], usage, period=period.length_us)
    return CustomerBill("a", period, found, usage, due)


def test_old_and_new_stand_beside_each_other_by_currency(tmp_path: Path) -> None:
    texts = [PLANS.format(prorate="true"), PLANS.format(prorate="false").replace("0.1", "0.4")]
    texts.append(texts[0].replace("USD", "EUR"))
    books = []
    for at, text in enumerate(texts):
        (tmp_path / str(at)).mkdir()
        books.append(book(tmp_path / str(at), plans=text, subscriptions=SUBSCRIPTIONS))
    old, new, euro = (_billed(each, 2000) for each in books)

    def told(before: CustomerBill | None, after: CustomerBill | None) -> list[tuple[str, str, str]]:
        return [
            (each.old.currency.code, str(each.old), str(each.new))
            for each in compared("a", before, new=after)
        ]

    def due(found: CustomerBill) -> str:
        return str(found.bill.total)

    assert told(old, new) == [("USD", due(old), due(new))]
    assert due(old) != due(new)
    assert told(old, euro) == [("EUR", "0.00", due(euro)), ("USD", due(old), "0.00")]
    assert told(None, new) == [("USD", "0.00", due(new))]
    assert told(new, None) == [("USD", due(new), "0.00")]
    assert told(None, None) == []
    (same,) = compared("a", old, new=old)
    assert str(same.change) == "0.00"

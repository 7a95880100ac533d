"""Invoice and adjustments of any history add up to the bill, to the cent."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from catalogs import book
from fraction_oracle import Event, Key
from hypothesis import given, settings
from hypothesis import strategies as st
from late_period import CHANGE, END, PLANS, START, SUBSCRIPTIONS, expected

from billing.adjusting import (
    AdjustmentLine,
    BilledSoFar,
    adjustment_lines,
    billed_so_far,
    due_lines,
    same_money,
)
from billing.adjustment_check import LATE_USAGE
from billing.adjustment_rows import Posting, posted
from billing.bills import CustomerBill
from billing.invoice_lines import InvoiceLine, LineMaker
from billing.invoices import Issue, invoice_of
from billing.late_differences import CustomerDifference, billed_usage
from billing.usage import SpanUsage
from rating_engine.bill import bill
from rating_engine.exact import ONE_UNIT
from rating_engine.price_book.book import PriceBook
from sinks.adjustment_rows import AdjustmentLineRow
from sinks.billing_runs import BillingRun, RawState, RunKind
from sinks.invoice_rows import InvoiceLineRow

_RUN = BillingRun("r", RunKind.CLOSE, "2025-03", "catalog", RawState((), 0), 0, 1, "me", "")


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> PriceBook:
    folder: Path = tmp_path_factory.mktemp("adjusting")
    return book(folder, plans=PLANS, subscriptions=SUBSCRIPTIONS)


_EVENTS = st.builds(
    Event,
    st.one_of(st.integers(START, END - 1), st.sampled_from([START, CHANGE - 1, CHANGE, END - 1])),
    st.just("requests"),
    st.sampled_from(['{"region":"eu"}', '{"region":"us"}']),
    st.integers(0, 30_000).map(lambda units: Fraction(units, 100)),
) | st.builds(
    Event,
    st.integers(START, END - 1),
    st.just("credits"),
    st.just("{}"),
    st.integers(-50_000, 100_000).map(lambda units: Fraction(units, 1000)),
)
#: Events, and for each of some moments which of them count: what came, and what was taken back.
_HISTORIES = st.lists(_EVENTS, max_size=12).flatmap(
    lambda events: st.tuples(
        st.just(events),
        st.lists(
            st.sets(st.sampled_from(range(len(events)))) if events else st.just(set()),
            min_size=1, max_size=5,
        ),
    )
)  # fmt: skip


def _bill(found: PriceBook, events: list[Event]) -> CustomerBill:
    calendar = found.calendar_of("a")
    assert calendar is not None
    period = calendar.beginning_in(2025, 3)
    assert (period.start, period.end) == (START, END)
    spans = found.spans("a", period)
    usage: SpanUsage = {}
    for each in events:
        group = () if each.group == "{}" else (("region", each.group[11:13]),)
        values = usage.setdefault((each.meter, group), [None] * len(spans))
        at = 0 if each.second < CHANGE else 1
        values[at] = (values[at] or 0) + int(each.quantity * ONE_UNIT)
    due = bill([span.span for span in spans], usage, period=period.length_us)
    return CustomerBill("a", period, spans, usage, due)


def _lines(found: PriceBook, bill_: CustomerBill) -> list[InvoiceLine]:
    return LineMaker(found.catalog.meters).lines(bill_, {})


def _cents(billed: BilledSoFar) -> dict[Key, int]:
    found = {}
    for key, line in billed.lines.items():
        assert line.amount % 100 == 0
        if line != type(line)():  # a line that nothing is due for any more has no place in a bill
            group = "{}" if key.group == '{"region":""}' else key.group
            found[key.kind, key.meter, group, key.part_start] = line.amount // 100
    return found


@settings(max_examples=300, deadline=None)
@given(history=_HISTORIES)
def test_case_13_invoice_and_adjustments_are_the_bill_to_the_cent(
    priced: PriceBook, history: tuple[list[Event], list[set[int]]]
) -> None:
    events, states = history
    billed: BilledSoFar | None = None
    rows: list[InvoiceLineRow] = []
    adjusted: list[AdjustmentLineRow] = []
    for counted in states:
        chosen = [events[at] for at in sorted(counted)]
        found = _bill(priced, chosen)
        due = _lines(priced, found)
        wanted = expected(chosen)
        if billed is None:
            invoice, rows = invoice_of(found, due, issue=Issue(_RUN, 0))
        else:
            lines = tuple(adjustment_lines(billed, due, touched=()))
            difference = CustomerDifference(invoice, found.period, lines)
            adjusted += posted(difference, Posting(_RUN, LATE_USAGE, END, 0))[1]
        billed = billed_so_far(rows, adjusted)
        assert adjustment_lines(billed, due, touched=()) == [], "case 14: nothing is left"
        assert _cents(billed) == wanted
        assert billed.total == 100 * sum(wanted.values())
        usage = billed_usage(billed, found)
        assert usage is not None
        again = _bill_of(priced, found, usage)
        assert same_money(billed, due_lines(again)), "the same prices are told as others"


def _bill_of(found: PriceBook, bill_: CustomerBill, usage: SpanUsage) -> list[InvoiceLine]:
    due = bill(
        [span.span for span in bill_.spans], usage, period=bill_.period.length_us
    )  # fmt: skip
    return _lines(found, CustomerBill("a", bill_.period, bill_.spans, usage, due))


def test_prices_that_changed_under_an_invoice_are_noticed(
    priced: PriceBook, tmp_path: Path
) -> None:
    chosen = [Event(START, "requests", '{"region":"eu"}', Fraction(500))]
    found = _bill(priced, chosen)
    _, rows = invoice_of(found, _lines(priced, found), issue=Issue(_RUN, 0))
    billed = billed_so_far(rows, ())
    dearer = book(
        tmp_path, plans=PLANS.replace('"0.05"', '"0.06"'), subscriptions=SUBSCRIPTIONS
    )  # fmt: skip
    other = _bill(dearer, chosen)
    usage = billed_usage(billed, other)
    assert usage is not None
    assert not same_money(billed, due_lines(_bill_of(dearer, other, usage)))
    moved = book(
        tmp_path, plans=PLANS.replace("2025-03-12", "2025-03-13"), subscriptions=SUBSCRIPTIONS
    )  # fmt: skip
    later = Event(CHANGE, "requests", '{"region":"eu"}', Fraction(5))
    _, rows = invoice_of(
        _bill(priced, [later]), _lines(priced, _bill(priced, [later])), issue=Issue(_RUN, 0)
    )  # fmt: skip
    assert billed_usage(billed_so_far(rows, ()), _bill_moved(moved)) is None


def _bill_moved(found: PriceBook) -> CustomerBill:
    calendar = found.calendar_of("a")
    assert calendar is not None
    period = calendar.beginning_in(2025, 3)
    spans = found.spans("a", period)
    due = bill([span.span for span in spans], {}, period=period.length_us)
    return CustomerBill("a", period, spans, {}, due)


def test_what_events_came_to_is_a_line_though_it_costs_the_same(priced: PriceBook) -> None:
    chosen = [Event(START, "requests", '{"region":"eu"}', Fraction(5))]
    found = _bill(priced, chosen)
    due = _lines(priced, found)
    _, rows = invoice_of(found, due, issue=Issue(_RUN, 0))
    billed = billed_so_far(rows, ())
    (line,) = adjustment_lines(billed, due, touched={due[0].key})
    assert isinstance(line, AdjustmentLine)
    assert (line.key, line.amount) == (due[0].key, 0)


_TWO_TIERS = """plans:
- key: growth
  currency: USD
  period: {anchor_day: 1, time_zone: Europe/Berlin}
  versions:
  - {version: 1, effective_from: 2025-01-01T00:00:00Z, charges: [
      {meter: requests, price: {model: graduated, tiers: [
        {up_to: "50", unit_price: "1"}, {unit_price: "2", flat_fee: "3"}]}}]}
"""


@pytest.mark.parametrize(
    ("late", "cents"),
    [("10", 1000), ("10.000000000001", 1300), ("10.01", 1302), ("9.99", 999), ("-40", -4000)],
)
def test_late_usage_up_to_the_end_of_a_tier_does_not_enter_the_next(
    tmp_path: Path, late: str, cents: int
) -> None:
    found = book(tmp_path, plans=_TWO_TIERS, subscriptions=SUBSCRIPTIONS)
    first = Event(START, "requests", '{"region":"eu"}', Fraction(40))
    before, after = (
        _bill(found, events)
        for events in ([first], [first, first._replace(quantity=Fraction(late))])
    )
    _, rows = invoice_of(before, _lines(found, before), issue=Issue(_RUN, 0))
    lines = adjustment_lines(billed_so_far(rows, ()), _lines(found, after), touched=())
    assert [line.amount for line in lines] == [100 * cents]

"""The load's hard month against the engine, line by line."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from billing.group_text import group_key
from billing.invoice_lines import group_text
from billing.period_name import PeriodName
from loadtest.local_bills import DOCUMENTS, Line, Used, expected_lines
from loadtest.local_close import _require_hard
from loadtest.local_month import (
    CUSTOMERS,
    LocalMonth,
    Usages,
    before_the_cut,
    beyond_the_cut,
    local_month,
    write_local_plan,
)
from loadtest.prices import write_prices
from rating_engine.bill import bill
from rating_engine.combine import Quantity
from rating_engine.exact import ONE_UNIT
from rating_engine.period_rater import GroupKey
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book

CATALOG = Path(__file__).parents[2] / "catalog"


@pytest.mark.parametrize("month", range(1, 13))
def test_in_every_month_clocks_changed_within_the_last_five(month: int) -> None:
    now = datetime(2026, month, 1, 5, tzinfo=UTC)
    found = local_month(now)
    assert now.timestamp() - 6 * 31 * 86_400 < found.start < found.changed < found.end
    assert found.end <= now.timestamp()
    assert (found.end - found.start) % 86_400 in (3600, 86_400 - 3600)
    _require_hard(before_the_cut(found), beyond_the_cut(found), month=found)


@pytest.mark.parametrize(
    "now", [datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 4, 3, tzinfo=UTC)]
)
def test_the_loads_lines_are_the_engines(tmp_path: Path, now: datetime) -> None:
    shutil.copy(CATALOG / "meters.yaml", tmp_path)
    write_prices(tmp_path, ["one", "two"], changed_at=now)
    month = local_month(now)
    write_local_plan(tmp_path, month)
    book = load_price_book(tmp_path)
    for used in (before_the_cut(month), {**before_the_cut(month), **beyond_the_cut(month)}):
        for name in CUSTOMERS:
            own = [each for (customer, _), each in used.items() if customer == name]
            assert _lines(book, name, used, month=month) == expected_lines(own, **month.borders)


def _lines(book: PriceBook, customer: str, used: Usages, *, month: LocalMonth) -> dict[Line, int]:
    calendar = book.calendar_of(customer)
    assert calendar is not None
    period = PeriodName.read(month.name).of(calendar)
    assert (period.start, period.end) == (month.start, month.end)
    spans = book.spans(customer, period)
    usage: dict[tuple[str, GroupKey], list[Quantity]] = {}
    for (whose, _), each in used.items():
        if whose == customer and month.start <= each.second < month.end:
            held = usage.setdefault((each.meter, group_key(each.group)), [None, None])
            at = int(each.second >= month.changed)
            held[at] = (held[at] or 0) + _units(each)
    meters = book.catalog.meters
    due = bill(
        [each.span for each in spans], usage, period=period.length_us,
        aggregations={name: meter.aggregation for name, meter in meters.items()},
    )  # fmt: skip
    return {
        Line(
            str(line.kind), line.meter,
            group_text(line.group, meters[line.meter]) if line.meter else "",
            month.start + spans[line.spans[0]].span.start // 1_000_000,
        ): line.amount.minor
        for line in due.lines
        if line.amount.minor
    }  # fmt: skip


def _units(each: Used) -> int:
    return (1 if each.meter == DOCUMENTS else each.quantity) * ONE_UNIT

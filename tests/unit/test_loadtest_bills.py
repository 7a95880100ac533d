"""The load's own invoices against the engine's, for a month of seeded usage."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from billing.group_text import group_key
from billing.period_name import PeriodName
from loadtest.bills import Invoice, expected_invoices
from loadtest.last_month import LastMonth, month_before
from loadtest.outcome import Total, TotalKey
from loadtest.population import Population
from loadtest.prices import write_prices
from rating_engine.bill import bill
from rating_engine.combine import Quantity
from rating_engine.period_rater import GroupKey
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book

CATALOG = Path(__file__).parents[2] / "catalog"
NOW = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)


@pytest.mark.parametrize("seed", range(3))
def test_the_loads_invoices_are_the_engines(tmp_path: Path, seed: int) -> None:
    population, month = Population(200), month_before(NOW)
    assert month.name == "2026-02"
    load = LastMonth(seed, population, month=month, partitions=3, customers=40)
    assert len(list(load.messages(3000))) == 3000
    totals = load.truth.outcome().totals
    shutil.copy(CATALOG / "meters.yaml", tmp_path)
    write_prices(tmp_path, population.names, changed_at=NOW.replace(minute=0))
    book = load_price_book(tmp_path)

    invoices = expected_invoices(
        totals, population.names, month_start=month.start, changed_at=NOW.replace(minute=0)
    )

    assert len({each.cents for each in invoices.values()}) > 20
    assert {name: _billed(book, name, totals) for name in invoices} == invoices


def _billed(book: PriceBook, customer: str, totals: dict[TotalKey, Total]) -> Invoice:
    calendar = book.calendar_of(customer)
    assert calendar is not None
    period = PeriodName.read("2026-02").of(calendar)
    (span,) = book.spans(customer, period)
    meters = book.catalog.meters
    usage: dict[tuple[str, GroupKey], list[Quantity]] = {}
    for key, total in sorted(totals.items(), key=lambda item: item[0].window_start):
        if key.customer_id == customer:
            units = int(total.quantity.scaleb(12))
            held = usage.setdefault((key.meter, group_key(key.group)), [None])
            folds = {"max": max(held[0] or 0, units), "latest": units}
            held[0] = folds.get(str(meters[key.meter].aggregation), (held[0] or 0) + units)
    aggregations = {name: meter.aggregation for name, meter in meters.items()}
    due = bill([span.span], usage, period=period.length_us, aggregations=aggregations)
    return Invoice(due.total.currency.code, due.total.minor)

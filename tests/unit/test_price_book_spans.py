"""What prices a customer's billing period: versions and plans that change inside it split it."""

import time
from pathlib import Path

from catalogs import PLANS, book, microseconds

from rating_engine.bill import Usage, bill
from rating_engine.billing_period import BillingPeriod
from rating_engine.exact import ONE_UNIT
from rating_engine.price_book.book import PriceBook, segments_around

DAY = 86_400_000_000


def period_of(found: PriceBook, customer: str, day: str) -> BillingPeriod:
    calendar = found.calendar_of(customer)
    assert calendar is not None
    return calendar.period_of(microseconds(day))


def told(found: PriceBook, customer: str, day: str) -> list[tuple[int, int, str, int]]:
    """Days from the period's start, subscription and version of each span."""
    return [
        (
            each.span.start // DAY,
            each.span.end // DAY,
            each.subscription.id if each.subscription else "-",
            each.version.version if each.version else 0,
        )
        for each in found.spans(customer, period_of(found, customer, day))
    ]


def rows(*texts: str) -> str:
    return "subscriptions:\n" + "".join(f"- {{{text}}}\n" for text in texts)


def test_a_follower_changes_version_inside_a_period_and_a_pinned_one_does_not(
    tmp_path: Path,
) -> None:
    found = book(
        tmp_path,
        subscriptions=rows(
            "id: f, customer_id: a, plan: growth, from: 2026-01-01T00:00:00Z",
            "id: p, customer_id: b, plan: growth, version: 1, from: 2026-01-01T00:00:00Z",
        ),
    )
    assert told(found, "a", "2026-03-10") == [(0, 31, "f", 1)]
    assert told(found, "a", "2026-04-10") == [(0, 15, "f", 1), (15, 30, "f", 2)]
    assert told(found, "a", "2026-05-10") == [(0, 31, "f", 2)]
    assert told(found, "b", "2026-04-10") == [(0, 30, "p", 1)]
    assert told(found, "b", "2026-05-10") == [(0, 31, "p", 1)]
    change = microseconds("2026-04-16")
    versions = [found.version_at("a", moment) for moment in (change - 1, change)]
    assert [each and each.version for each in versions] == [1, 2]


def test_a_change_of_plan_and_a_gap_split_a_period(tmp_path: Path) -> None:
    plans = PLANS + (
        "- key: other\n  currency: USD\n  prorate_allowance: true\n  versions:\n"
        "  - {version: 1, effective_from: 2026-01-01T00:00:00Z, base_fee: '60'}\n"
    )
    found = book(
        tmp_path,
        plans=plans,
        subscriptions=rows(
            "id: x, customer_id: a, plan: growth, from: 2026-02-02T00:00:00Z,"
            " until: 2026-02-08T00:00:00Z",
            "id: y, customer_id: a, plan: other, from: 2026-02-15T00:00:00Z,"
            " until: 2026-02-22T00:00:00Z",
        ),
    )
    assert told(found, "a", "2026-02-05") == [(1, 7, "x", 1), (7, 14, "-", 0), (14, 21, "y", 1)]
    assert found.version_at("a", microseconds("2026-02-10")) is None
    spans = found.spans("a", period_of(found, "a", "2026-02-05"))
    assert [each.span.plan.prorate_allowance for each in spans] == [False, False, True]
    period = period_of(found, "a", "2026-02-05")
    usage: Usage = {("requests", ()): [2000 * ONE_UNIT, 5 * ONE_UNIT, 7 * ONE_UNIT]}
    done = bill([each.span for each in spans], usage, period=period.length_us)
    assert str(done.total) == "16.00"  # 1000 x 0.001 and 7 of 28 days of 60
    assert done.unpriced == (
        ("requests", (), 1, 5 * ONE_UNIT),
        ("requests", (), 2, 7 * ONE_UNIT),
    )
    assert told(found, "a", "2026-03-05") == []


def test_a_period_follows_the_customers_calendar(tmp_path: Path) -> None:
    found = book(
        tmp_path,
        subscriptions=rows(
            "id: x, customer_id: a, plan: euro, from: 2026-01-01T00:00:00Z",
            "id: y, customer_id: b, plan: euro, from: 2026-01-01T00:00:00Z, anchor_day: 31,"
            " time_zone: America/New_York",
        ),
    )
    period = period_of(found, "a", "2026-04-01")  # the clocks changed on March 29
    assert period == BillingPeriod(
        microseconds("2026-03-14T23:00:00Z") // 10**6, microseconds("2026-04-14T22:00:00Z") // 10**6
    )
    period = period_of(found, "b", "2026-02-20")
    assert period.end == microseconds("2026-02-28T05:00:00Z") // 10**6
    assert found.calendar_of("nobody") is None


def test_segments_of_a_meter_are_those_that_follow_each_other(tmp_path: Path) -> None:
    found = book(
        tmp_path,
        subscriptions=rows("id: f, customer_id: a, plan: growth, from: 2026-01-01T00:00:00Z"),
    )
    spans = found.spans("a", period_of(found, "a", "2026-04-10"))
    segments, at = segments_around(spans, "requests", moment=20 * DAY)
    assert ([(each.start, each.end) for each in segments], at) == (
        [(0, 15 * DAY), (15 * DAY, 30 * DAY)],
        1,
    )
    segments, at = segments_around(spans, "storage", moment=20 * DAY)
    assert ([(each.start, each.end) for each in segments], at) == ([(15 * DAY, 30 * DAY)], 0)
    assert segments_around(spans, "storage", moment=3 * DAY) == ([], -1)
    assert segments_around(spans, "seats", moment=3 * DAY) == ([], -1)


def test_a_hundred_thousand_subscriptions_load_in_seconds(tmp_path: Path) -> None:
    lines = "".join(
        f"s{at},c{at},growth,2026-01-{1 + at % 28:02}T00:00:00Z\n" for at in range(100_000)
    )
    began = time.process_time()
    found = book(tmp_path, subscriptions_csv="id,customer_id,plan,from\n" + lines)
    assert len(found.subscriptions) == 100_000
    assert time.process_time() - began < 3  # a tenth of what a million may take

"""What the reconciler finds across months, parts of a period and time zones."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from billed_world import JULY, JUNE, STREAM, World
from reconciled_world import MAY, PRICES, SUM, add_up_anew, insert, reconciled, retraction, told

from metering.settings import Settings
from rating_engine.price_book.load import load_price_book
from reconcile.own_periods import OwnPeriods
from reconcile.variance import SCALE


def test_what_counts_twice_is_found_in_whatever_month_the_other_lies(settings: Settings) -> None:
    world = World(PRICES)

    def pair(first: str, second: str, **changes: Any) -> None:
        """One subject's event that counts for two customers, the first of them in May."""
        row = world.event(first, "api", "60", who=f"s:{first}", id_="j")
        row.update(occurred_at=MAY, period_start=MAY, part_start=MAY, record_time=MAY, **changes)
        world.event(second, "api", "60", who=f"s:{first}", id_="j")
        world.line(second, "api", "60")

    pair("left-in-may", "came-in-june")
    pair("free-in-may", "only-in-june", disregarded=True)
    three = [world.event(f"of-three-{at}", "api", "20", who="s:x", id_="k") for at in range(3)]
    for row in three:
        world.line(row["customer_id"], "api", "20")
    # the same id: of two subjects, of another payload, of another moment, of another meter
    when = JUNE + timedelta(hours=5)
    others: dict[str, dict[str, Any]] = {
        "two-subjects": {"who": "s:another"}, "other-payload": {"quantity": "41"},
        "other-moment": {"occurred_at": when + timedelta(seconds=1)}, "other-meter": {"meter": "b"},
        "sent-twice": {}, "sent-twice-late": {"late": True},
    }  # fmt: skip
    for customer, second in others.items():
        first_by = f"s:{customer}" if customer == "two-subjects" else f"c:{customer}"
        row = world.event(customer, "api", "40", id_="j", who=first_by)
        row["occurred_at"] = when
        other = world.event(
            customer, second.get("meter", "api"), second.get("quantity", "40"), id_="j",
            late=second.get("late", False), who=second.get("who", f"s:{customer}"),
        )  # fmt: skip
        other["occurred_at"] = second.get("occurred_at", when)
        lines: dict[str, Decimal] = {}
        for each in (row, other)[: 1 if customer == "sent-twice-late" else 2]:
            lines[each["meter"]] = lines.get(each["meter"], Decimal(0)) + each["quantity"]
        for meter, quantity in lines.items():
            world.line(customer, meter, str(quantity))
    alone = world.event("two-subjects", "api", "40", id_="j")  # of another moment than theirs
    alone["occurred_at"] = when + timedelta(seconds=1)
    world.lines[-7:] = [each for each in world.lines[-7:] if each["customer_id"] != "two-subjects"]
    world.line("two-subjects", "api", "120")
    taken = [world.event("taken-back", "api", "30", id_="j")]
    taken.append(world.event("taken-back", "api", "30", id_="j", who="s:taken-back"))
    for row in taken:
        row["occurred_at"] = when
    world.line("taken-back", "api", "30")
    add_up_anew(world)
    world.events.append({**three[0]})  # written again, as a replay does
    world.insert(settings)
    insert(settings, "usage_events", [world.events[0], three[1]])
    insert(settings, "retracted_events", [retraction(taken[1], MAY)])
    expected = [
        ("lines", "duplicate", "came-in-june", Decimal(30)),
        ("lines", "duplicate", "of-three-1", Decimal(10)),
        ("lines", "duplicate", "of-three-2", Decimal(10)),
        ("lines", "duplicate", "sent-twice", Decimal(20)),
        ("lines", "duplicate", "sent-twice-late", Decimal(20)),
        ("lines", "late", "sent-twice-late", Decimal(-20)),
    ]
    assert told(reconciled(settings)) == sorted(expected)
    assert told(reconciled(settings, span_lines=2)) == sorted(expected)


def test_a_month_is_the_periods_that_begin_in_it_where_the_customer_lives(
    settings: Settings,
) -> None:
    world = World(PRICES)
    calendars = {
        "auckland": (1, "Pacific/Auckland"), "honolulu": (1, "Pacific/Honolulu"),
        "kiritimati": (1, "Pacific/Kiritimati"), "berlin": (1, "Europe/Berlin"), "utc": (1, "UTC"),
        "midway": (1, "Pacific/Midway"), "baker": (1, "Etc/GMT+12"),
        "baker-last": (30, "Etc/GMT+12"),
        "anchored": (15, "UTC"), "last": (30, "America/New_York"),
        # at one moment June begins for the one, and the period of May for the other
        "apia": (1, "Pacific/Apia"), "may": (31, "Pacific/Midway"),
    }  # fmt: skip
    own = OwnPeriods(calendars.get, lambda _customer, _period: ())
    for customer in calendars:
        for month in (5, 6, 7):
            period = own.beginning_in(customer, 2026, month=month)
            start, end = (datetime.fromtimestamp(each, UTC) for each in (period.start, period.end))
            row = world.event(customer, "api", str(100 * month))
            if month == 6:  # the first moment and the last one
                last = world.event(customer, "api", "1")
                last.update(occurred_at=end - timedelta(microseconds=1), period_start=start,
                            part_start=start)  # fmt: skip
            row.update(occurred_at=start, period_start=start, part_start=start)
            if month == 6:
                world.line(customer, "api", "601").update(period_start=start, part_start=start)
                world.period(customer, period_start=start)
    outside = world.event("utc", "api", "9")
    outside["occurred_at"] = JULY  # the first moment that is not June's
    add_up_anew(world)
    next(each for each in world.lines if each["customer_id"] == "utc").update(
        quantity=Decimal(610), amount=PRICES[1].amount(Decimal(610))
    )
    world.insert(settings)
    june = reconciled(settings, own=own)
    assert told(june) == [("lines", "wrong_quantity", "utc", Decimal("4.5"))]
    assert june.counts["invoice_lines"] == june.counts["usage_lines"] == len(calendars)
    july = reconciled(settings, period="2026-07", own=own)
    assert (july.findings, july.counts["usage_lines"]) == ([], len(calendars))
    assert july.counts["invoice_lines"] == 0


_PLANS = """plans:
- key: growth
  currency: USD
  versions:
  - {version: 1, effective_from: 2025-01-01T00:00:00Z, charges: [
      {meter: api, price: {model: per_unit, unit_price: "0.5"}}]}
  - {version: 2, effective_from: 2026-06-16T00:00:00Z, charges: [
      {meter: api, price: {model: per_unit, unit_price: "0.75"}}]}
"""


def test_parts_of_a_period_are_kept_apart(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "meters.yaml").write_text("meters:\n- {key: api, unit: n, aggregation: sum}\n")
    (tmp_path / "plans.yaml").write_text(_PLANS)
    change = datetime(2026, 6, 16, tzinfo=UTC)
    world = World(PRICES)
    customers = ("right", "swapped-lines", "swapped-totals", "misplaced")
    subscribed = "".join(f"{who},{who},growth,2025-01-01T00:00:00Z\n" for who in customers)
    (tmp_path / "subscriptions.csv").write_text(f"id,customer_id,plan,from\n{subscribed}")
    book = load_price_book(tmp_path)
    own = OwnPeriods(
        lambda who: (1, "UTC") if book.calendar_of(who) is not None else None, book.spans
    )
    for customer in customers:
        for start, version, quantity in ((JUNE, 1, "100"), (change, 2, "300")):
            row = world.event(customer, "api", quantity)
            row.update(occurred_at=start, part_start=start, card=world.card(version, "api"))
            if customer == "misplaced" and version == 1:
                row["occurred_at"] = change  # the first moment of the other part
            other = {"100": "300", "300": "100"}[quantity]
            billed = other if customer == "swapped-lines" else quantity
            line = world.line(customer, "api", billed)
            line.update(
                part_start=start, card=world.card(version, "api"), price_version=version,
                amount=PRICES[version].amount(Decimal(billed)), line_id=f"{customer}-{version}",
            )  # fmt: skip
            total = other if customer == "swapped-totals" else quantity
            found = world.total(customer, "api", JUNE, quantity=Decimal(total))
            world.more_totals.append(
                {**found, "window_start": start, "part_start": start, "card": row["card"]}
            )
        del world.totals[customer, "api", JUNE]
    world.insert(settings)
    assert told(reconciled(settings, own=own, meters={"api": SUM})) == sorted([
        ("lines", "wrong_quantity", "swapped-lines", Decimal(100)),
        ("lines", "wrong_quantity", "swapped-lines", Decimal(-150)),
        ("totals", "wrong_quantity", "swapped-totals", Decimal(100)),
        ("totals", "wrong_quantity", "swapped-totals", Decimal(-150)),
        ("lines", "wrong_quantity", "misplaced", Decimal(50)),
    ])  # fmt: skip


def test_what_nobody_mended_is_told_in_the_month_in_which_it_occurred(settings: Settings) -> None:
    first, last = "2026-06-01T00:00:00Z", "2026-06-30T23:59:59.999999Z"
    world = World(PRICES)
    accepted = world.billed("org", "api", "5")
    assert accepted["customer_id"] == "org"
    world.insert(settings)
    unbound = "subject_must_be_bound"
    cases = [  # subject, code, when it occurred
        ("first-moment", unbound, first), ("last-moment", unbound, last),
        ("too-early", unbound, "2026-05-31T23:59:59.999999Z"),
        ("too-late", unbound, "2026-07-01T00:00:00Z"), ("sent-again", unbound, first),
        ("accepted-since", unbound, first), ("known-otherwise", "meter_must_be_known", first),
    ]  # fmt: skip
    found = [
        {"stream": STREAM, "partition": 3, "offset": at, "index": 0, "code": code,
         "event": json.dumps({"id": "u", "subject": subject, "meter": "api", "quantity": 2,
                              "occurred_at": occurred_at}),
         "meter": "api", "record_time": JULY}
        for at, (subject, code, occurred_at) in enumerate(cases)
    ]  # fmt: skip
    found[5].update(partition=0, offset=world.events[0]["offset"])
    insert(settings, "rejected_events", found)
    insert(settings, "reject_replays", [
        {"stream": STREAM, "partition": 3, "offset": 4, "index": 0, "edited": False, "actor": "a"}
    ])  # fmt: skip
    for span_lines in (100, 1):
        told_of = [
            (str(each.variance), each.subject.reference, each.expected_quantity)
            for each in reconciled(settings, span_lines=span_lines).findings
        ]
        assert told_of == [
            ("unbound_subject", f"subject {name}", 2 * SCALE)
            for name in ("first-moment", "last-moment")
        ]

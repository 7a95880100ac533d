"""What the reconciler's queries keep and leave out, one customer for each border of theirs."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from billed_world import CLOSED, CUT, JUNE, STREAM, World
from counting import plant
from reconciled_world import (
    MAY,
    METERS,
    PRICES,
    Told,
    at_place,
    insert,
    reconciled,
    retraction,
    span_count,
    told,
)

from metering.errors import PermanentError
from metering.settings import Settings


def test_an_event_is_on_its_side_of_the_cut_of_its_own_invoice(settings: Settings) -> None:
    world = World(PRICES)
    world.cuts = {
        "close-1": {(STREAM, 0): CUT, (STREAM, 1): 50},
        "close-2": {(STREAM, 0): 2 * CUT, (STREAM, 1): 60},
    }
    cases: dict[str, tuple[str, dict[str, Any], bool]] = {  # run, place, could the invoice see it
        "last-below": ("close-1", {"offset": CUT - 1}, True),
        "first-beyond": ("close-1", {"offset": CUT}, False),
        "other-partition-below": ("close-1", {"partition": 1, "offset": 49}, True),
        "other-partition-beyond": ("close-1", {"partition": 1, "offset": 50}, False),
        "other-stream": ("close-1", {"stream": "backfill:x", "offset": 1}, False),
        "later-run-below": ("close-2", {"offset": 2 * CUT - 1}, True),
        "later-run-beyond": ("close-2", {"offset": 2 * CUT}, False),
        "later-run-other-partition": ("close-2", {"partition": 1, "offset": 60}, False),
    }  # fmt: skip
    expected: Told = []
    for customer, (run_id, place, is_seen) in cases.items():
        world.event(customer, "api", "1000")
        at_place(world, customer, "300", **place)
        world.line(customer, "api", "1300" if is_seen else "1000")["run_id"] = run_id
        if not is_seen:
            expected.append(("lines", "late", customer, Decimal(-150)))
    at_place(world, "no-invoice", "40", offset=2 * CUT - 1)  # judged by the last cut
    at_place(world, "no-invoice-late", "40", offset=2 * CUT)
    expected.append(("lines", "missing_in_invoice", "no-invoice", Decimal(-20)))
    expected.append(("lines", "late", "no-invoice-late", Decimal(-20)))
    world.insert(settings)
    insert(settings, "billing_runs", [  # neither a close of another month nor a run that ended ill
        {"run_id": f"other-{number}", "kind": kind, "period": period, "state": state,
         "cut_streams": [STREAM], "cut_partitions": [0], "cut_offsets": [1],
         "recorded_at": CLOSED + timedelta(days=1)}
        for number, (kind, period, state) in enumerate(
            [("close", "2026-07", "finished"), ("adjust", "2026-06", "finished"),
             ("close", "2026-06", "abandoned")]
        )
    ])  # fmt: skip
    whole = reconciled(settings)
    assert told(whole) == sorted(expected)
    assert whole.cut_runs == ["close-1", "close-2"]
    for span_lines in (1, 2, 3):  # whoever stands at the border of a range is in one of them
        split = reconciled(settings, span_lines=span_lines)
        assert (told(split), split.counts) == (told(whole), whole.counts)
    assert [span_count(settings, size) for size in (1, 1_000_000)] == [len(cases) + 2, 1]
    insert(settings, "invoices", [{"customer_id": "cutless", "period_start": JUNE, "run_id": "x"}])
    with pytest.raises(PermanentError, match=r"expected the cut of every run .* got none of x"):
        reconciled(settings)


def test_what_was_taken_back_counts_until_it_was(settings: Settings) -> None:
    world = World(PRICES)
    closed, taken = CLOSED, []
    cases = {  # what the line bills, what the totals say, what was done to 300 of 1000 and when
        "before": ("700", "700", [(closed - timedelta(seconds=1), True)]),
        "before-in-totals": ("700", "1000", [(closed - timedelta(seconds=1), True)]),
        "at-the-cut": ("700", "700", [(closed, True)]),
        "after": ("1000", "700", [(closed + timedelta(microseconds=1), True)]),
        "given-back": ("1000", "1000", [(MAY, True), (MAY + timedelta(days=1), False)]),
        "again": ("700", "700", [(MAY, True), (MAY + timedelta(days=1), False),
                                 (MAY + timedelta(days=2), True)]),
    }  # fmt: skip
    for customer, (billed, total, steps) in cases.items():
        world.event(customer, "api", "700")
        row = world.event(customer, "api", "300")
        world.line(customer, "api", billed)
        world.totals[customer, "api", JUNE] = Decimal(total)
        taken += [retraction(row, at, is_retracted=is_taken) for at, is_taken in steps]
    shared = [world.event(who, "api", "90", who="s:ws", id_="j") for who in ("moved-a", "moved-b")]
    world.totals["moved-a", "api", JUNE] = Decimal(0)
    world.line("moved-b", "api", "90")  # only the other customer's was taken back
    taken.append(retraction(shared[0], MAY))
    kept = world.event("free", "api", "5")
    kept["disregarded"] = True
    del world.totals["free", "api", JUNE]
    world.insert(settings)
    insert(settings, "retracted_events", taken)
    assert told(reconciled(settings)) == [("lines", "late", "after", Decimal(150))]


def test_groups_and_newest_rows_are_kept_apart(settings: Settings) -> None:
    for table in ("billing_periods", "invoices", "usage_events", "usage_totals"):
        plant(settings, f"SYSTEM STOP MERGES {table}")  # what is older stays beside what is newer
    world = World(PRICES)
    eu, us = '{"region":"eu"}', '{"region":"us"}'
    for customer in ("right", "swapped-lines", "swapped-totals"):
        for group, quantity in ((eu, "1000"), (us, "3000")):
            world.event(customer, "api", quantity)["group"] = group
            of_line = {"1000": "3000", "3000": "1000"}[quantity]
            billed = of_line if customer == "swapped-lines" else quantity
            line = world.line(customer, "api", billed)
            line.update(group=group, line_id=f"{line['line_id']}-{group}")
            total = of_line if customer == "swapped-totals" else quantity
            row = world.total(customer, "api", JUNE, quantity=Decimal(total))
            world.more_totals.append({**row, "group": group})
        del world.totals[customer, "api", JUNE]
    # a total of two partitions, of which one has an older row; and a row that is there twice
    world.billed("older", "api", "80")
    world.totals["older", "api", JUNE] = Decimal(50)
    other = {**world.total("older", "api", JUNE, quantity=Decimal(30)), "partition": 1}
    world.more_totals += [other, {**other, "quantity": Decimal(10), "absorbed_offset": 5}]
    world.events.append({**world.events[-1]})
    for customer, is_counted in (("copied", True), ("copy-is-free", False)):
        world.billed(customer, "api", "100")
        copy = {**world.events[-1], "offset": 5000, "record_time": CLOSED, "index": len(customer)}
        copy.update(quantity=Decimal(60), disregarded=not is_counted)
        for month in (7, 8):  # parts that no merge folds into one; a replay wrote it again
            world.events.append({**copy, "occurred_at": JUNE.replace(month=month)})
        world.totals[customer, "api", JUNE] = Decimal(160)
    world.period("older", base_fee=Decimal(20))
    world.line("older", "", "0", amount=Decimal(20), kind="base_fee")
    unseen = {**world.lines[-1], "run_id": "close-0", "amount": Decimal(999), "line_id": "unseen"}
    stale = {
        "customer_id": "older", "period_start": JUNE, "currency": "USD", "minor_digits": 2,
        "rounding": "half_even", "base_fee": Decimal(7), "updated_at": MAY,
    }  # fmt: skip
    insert(settings, "billing_periods", [stale])
    world.insert(settings)
    insert(settings, "usage_totals", [{**other, "quantity": Decimal(11), "absorbed_offset": 4}])
    insert(settings, "invoice_lines", [unseen])  # of a run that no invoice is of
    insert(settings, "billing_periods", [stale])
    insert(settings, "billing_periods", [{**stale, "base_fee": Decimal(8)}])
    insert(settings, "invoices", [{
        "customer_id": "older", "period_start": JUNE, "run_id": "close-1", "currency": "USD",
        "minor_digits": 2, "rounding": "half_even", "total": Decimal(1),
        "issued_at": CLOSED + timedelta(days=1),
    }])  # fmt: skip
    assert told(reconciled(settings)) == sorted([
        ("totals", "duplicate", "copied", Decimal(30)),
        ("totals", "wrong_quantity", "copy-is-free", Decimal(30)),
        ("lines", "wrong_quantity", "swapped-lines", Decimal(1000)),
        ("lines", "wrong_quantity", "swapped-lines", Decimal(-1000)),
        ("totals", "wrong_quantity", "swapped-totals", Decimal(1000)),
        ("totals", "wrong_quantity", "swapped-totals", Decimal(-1000)),
    ])  # fmt: skip


def test_every_aggregation_is_derived(settings: Settings) -> None:
    world = World(PRICES)
    noon = JUNE + timedelta(hours=12)

    def used(customer: str, meter: str, *steps: tuple[str, timedelta], **more: Any) -> None:
        for at, (quantity, after) in enumerate(steps):
            row = world.event(customer, meter, quantity)
            row.update(occurred_at=noon + after, identity=bytes([at]) * 16, **more)
        del world.totals[customer, meter, JUNE]

    def counted(customer: str, meter: str, *parts: str, **more: Any) -> None:
        for number, quantity in enumerate(parts):
            row = world.total(customer, meter, JUNE, quantity=Decimal(quantity))
            kind = str(METERS[meter].aggregation)
            world.more_totals.append({**row, "aggregation": kind, "partition": number, **more})

    hour = timedelta(hours=1)
    for customer, is_right in (("right", True), ("added-up", False)):
        used(customer, "calls", ("0", hour), ("7", hour), ("9", 2 * hour))
        counted(customer, "calls", "2", "1")
        world.line(customer, "calls", "3" if is_right else "16")
        used(customer, "disk", ("5", hour), ("9", 2 * hour), ("7", 3 * hour))
        counted(customer, "disk", "9", "7")
        world.line(customer, "disk", "9" if is_right else "21")
        used(customer, "seats", ("5", hour), ("3", 2 * hour), ("4", 2 * hour))
        counted(customer, "seats", "5", last_occurred_at=noon + hour)
        row = world.total(customer, "seats", JUNE, quantity=Decimal(4))
        world.more_totals.append({
            **row, "aggregation": "latest", "partition": 1, "last_occurred_at": noon + 2 * hour,
        })  # fmt: skip
        world.line(customer, "seats", "4" if is_right else "12")  # of one moment the last identity
        used(customer, "users", ("0", hour), ("0", hour), ("0", hour))
        for name, row in zip("aab", world.events[-3:], strict=True):
            row["dimensions"] = f'{{"user":"{name}","plan":"{row["offset"]}"}}'
        counted(customer, "users", "1", "1")
        world.line(customer, "users", "2" if is_right else "3")
    used("peak-later", "disk", ("5", hour), ("9", 2 * hour))
    world.events[-1]["offset"] += CUT
    counted("peak-later", "disk", "9")
    world.line("peak-later", "disk", "5")
    used("totals-added-up", "disk", ("5", hour), ("9", 2 * hour))
    counted("totals-added-up", "disk", "14")
    world.line("totals-added-up", "disk", "9")
    world.insert(settings)
    assert told(reconciled(settings)) == sorted([
        ("lines", "late", "peak-later", Decimal(-2)),
        ("lines", "wrong_quantity", "added-up", Decimal("6.5")),
        ("lines", "wrong_quantity", "added-up", Decimal(6)),
        ("lines", "wrong_quantity", "added-up", Decimal(4)),
        ("lines", "wrong_quantity", "added-up", Decimal("0.5")),
        ("totals", "wrong_quantity", "totals-added-up", Decimal("2.5")),
    ])  # fmt: skip

"""Previews: what usage would cost, what is left, and what the period comes to."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from catalogs import PLANS, book, microseconds, write
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.main import main
from metering.catalog import Aggregation
from rating_engine.bill import bill
from rating_engine.currency import currency
from rating_engine.exact import ONE_UNIT
from rating_engine.period_rater import Span
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.preview import Preview, Previewer
from rating_engine.price_book.run_rate import projected
from rating_engine.terms import PlanTerms

SUBSCRIPTIONS = """subscriptions:
- {id: s1, customer_id: a, plan: growth, from: 2026-01-01T00:00:00Z}
- {id: s2, customer_id: b, plan: euro, from: 2026-01-01T00:00:00Z, until: 2026-02-01T00:00:00Z}
- {id: s3, customer_id: c, plan: growth, version: 1, from: 2026-04-11T00:00:00Z}
"""
EXAMPLE = Path(__file__).parents[2] / "catalog"
KEY = ("requests", ())


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return orjson.loads(self.out)


@pytest.fixture
def meterline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["meterline", *arguments])
        with pytest.raises(SystemExit) as raised:
            main()
        found = capsys.readouterr()
        return Answer(int(raised.value.code or 0), found.out, found.err)

    return run


def preview(found: PriceBook, customer: str, day: str, consumed: int, usage: int) -> Preview:
    previewer = Previewer(found, customer, at_us=microseconds(day))
    before = previewer.consumed_now({KEY: consumed * ONE_UNIT})
    return previewer.preview(before, {KEY: usage * ONE_UNIT})


def test_the_documents_example_is_answered_to_the_cent(meterline: Callable[..., Answer]) -> None:
    found = meterline(
        "preview", "--catalog", str(EXAMPLE), "--customer", "org_123",
        "--at", "2026-04-30T12:00:00Z", "--consumed", "api_requests=249500",
        "--usage", "api_requests=1000", "--json",
    )  # fmt: skip
    assert found.code == 0, found.err
    document = found.document
    assert (document["customer_id"], document["currency"], document["total"]) == (
        "org_123", "USD", "0.50",
    )  # fmt: skip
    (line,) = document["lines"]
    expected = {
        "meter": "api_requests", "group": {}, "quantity": "1000", "included": "500",
        "overage": "500", "charge": "0.50", "plan": "growth", "price_version": 1,
    }  # fmt: skip
    assert {name: line[name] for name in expected} == expected
    assert (line["included_left"], line["overage_so_far"]) == ("0", "500")
    assert (line["exact_charge"], line["period_charge"]) == ("0.5", "0.50")


def test_an_invoice_line_of_the_documents_comes_out(meterline: Callable[..., Answer]) -> None:
    found = meterline(
        "preview", "--catalog", str(EXAMPLE), "--customer", "org_123",
        "--at", "2026-04-30T12:00:00Z", "--consumed", "api_requests=0",
        "--usage", "api_requests=262500", "--json",
    )  # fmt: skip
    (line,) = found.document["lines"]
    assert (line["included"], line["overage"], line["charge"]) == ("250000", "12500", "12.50")


def test_every_number_is_text(meterline: Callable[..., Answer]) -> None:
    found = meterline(
        "preview", "--catalog", str(EXAMPLE), "--customer", "org_456", "--group", "region=eu",
        "--at", "2026-04-30T12:00:00Z", "--consumed", "api_requests=0.1",
        "--usage", "api_requests=0.2", "--usage", "agent_minutes=1200", "--json",
    )  # fmt: skip

    def numbers(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [each for member in value.values() for each in numbers(member)]
        if isinstance(value, list):
            return [each for member in value for each in numbers(member)]
        return [value] if isinstance(value, int | float) and value not in {True, False} else []

    assert numbers({**found.document, "lines": []}) == []
    agent, api = found.document["lines"]
    assert {type(each) for each in (*agent.values(), *api.values())} == {str, int, bool, dict}
    assert api["price_version"] == 1
    assert api["exact_charge"] == "0.00018"
    assert api["group"] == {"region": "eu"}
    assert agent["group"] == {}


def test_people_get_a_table(meterline: Callable[..., Answer], tmp_path: Path) -> None:
    write(tmp_path, subscriptions=SUBSCRIPTIONS)
    found = meterline(
        "preview", "--catalog", str(tmp_path), "--customer", "a", "--at", "2026-03-10T00:00:00Z",
        "--consumed", "requests=10", "--usage", "seats=3",
    )  # fmt: skip
    assert found.code == 0, found.err
    assert "plan growth, price version 1" in found.out
    assert "not charged" in found.out


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--customer", "nobody"), "customer: expected one with a subscription, got 'nobody'"),
        (("--customer", "b"), "customer: expected a subscription of 'b' at 2026-03-10T"),
        (("--customer", "a", "--usage", "x=1"), "--usage: expected one of the meters credits,"),
        (("--customer", "a", "--consumed", "x=1"), "--consumed: expected one of the meters"),
        (("--customer", "a", "--usage", "requests"), "--usage: expected METER=QUANTITY"),
        (("--customer", "a", "--usage", "=1"), "--usage: expected METER=QUANTITY"),
        (("--customer", "a", "--usage", "requests=1,5"), "--usage: expected a number like"),
        (("--customer", "a", "--usage", "requests=NaN"), "--usage: expected a number like"),
        (("--customer", "a", "--usage", "requests=1e30"), "--usage: expected a number like"),
        (("--customer", "a", "--usage", "requests=0.0000000000001"), "a number like"),
        (("--customer", "a", "--usage", "requests=-1"), "--usage: expected 0 or more"),
        (("--customer", "a", "--usage", "requests=1", "--usage", "requests=2"), "a meter once"),
        (("--customer", "a", "--group", "zone=eu"), "--group: expected a dimension in group_by"),
        (("--customer", "a", "--group", "eu"), "--group: expected NAME=VALUE"),
        (("--customer", "a", "--at", "noon"), "--at: expected a time like"),
        (("--customer", "a", "--at", "2026-03-10T00:00:00"), "--at: expected a time like"),
        (("--customer", "a", "--at", "9999-12-31T00:00:00Z"), "--at: expected a time like"),
    ],
)
def test_what_is_unknown_or_malformed_is_one_line_and_exit_2(
    meterline: Callable[..., Answer], tmp_path: Path, arguments: tuple[str, ...], fault: str
) -> None:
    write(tmp_path, subscriptions=SUBSCRIPTIONS)
    given_ = ["--catalog", str(tmp_path), "--consumed", "requests=0"]
    if "--at" not in arguments:
        given_ += ["--at", "2026-03-10T00:00:00Z"]
    found = meterline("preview", *given_, *arguments)
    assert found.code == 2
    assert found.out == ""
    (line,) = found.err.splitlines()
    assert fault in line


def test_without_consumed_it_asks_live_totals(
    meterline: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_URL", "http://127.0.0.1:1")
    write(tmp_path, subscriptions=SUBSCRIPTIONS)
    found = meterline("preview", "--catalog", str(tmp_path), "--customer", "a",
                      "--usage", "requests=1")  # fmt: skip
    assert (found.code, found.out) == (75, "")
    assert "error: ClickHouse" in found.err


def test_a_level_of_several_spans_is_not_added_up(tmp_path: Path) -> None:
    found = book(tmp_path, subscriptions=SUBSCRIPTIONS)
    previewer = Previewer(found, "a", at_us=microseconds("2026-04-20"))
    done = previewer.preview(
        {("storage", ()): [7 * ONE_UNIT, 5 * ONE_UNIT], ("seats", ()): [9 * ONE_UNIT, None]}, {}
    )
    seats, storage = done.lines
    assert (storage.consumed, storage.projected_quantity) == (7 * ONE_UNIT, 7 * ONE_UNIT)
    assert str(storage.period_charge) == "2.50"  # half of 5: charged from the second span on
    assert (seats.consumed, seats.is_priced) == (9 * ONE_UNIT, False)


def test_a_credit_may_be_taken_back(tmp_path: Path) -> None:
    found = book(tmp_path, subscriptions=SUBSCRIPTIONS)
    previewer = Previewer(found, "a", at_us=microseconds("2026-03-10"))
    key = ("credits", ())
    line = previewer.preview({}, {key: -5 * ONE_UNIT}).lines[0]
    assert (line.quantity, line.is_priced, str(line.charge)) == (-5 * ONE_UNIT, False, "0.00")


def test_levels_are_replaced_and_not_added(tmp_path: Path) -> None:
    found = book(tmp_path, subscriptions=SUBSCRIPTIONS)
    previewer = Previewer(found, "a", at_us=microseconds("2026-05-10"))
    key = ("storage", ())
    for usage, charge in ((7, "2.00"), (5, "0.00"), (3, "0.00")):
        before = previewer.consumed_now({key: 5 * ONE_UNIT})
        done = previewer.preview(before, {key: usage * ONE_UNIT})
        assert str(done.lines[0].charge) == charge
        assert done.lines[0].projected_quantity == max(usage, 5) * ONE_UNIT


def test_the_price_is_that_of_the_moment(tmp_path: Path) -> None:
    found = book(tmp_path, subscriptions=SUBSCRIPTIONS)
    assert str(preview(found, "a", "2026-04-15", 1000, 100).total) == "0.10"
    late = preview(found, "a", "2026-04-16", 1000, 100)
    assert (str(late.total), late.version.version) == ("0.20", 2)
    assert str(preview(found, "c", "2026-04-16", 1000, 100).total) == "0.10"


def test_totals_of_every_span_count(tmp_path: Path) -> None:
    found = book(tmp_path, subscriptions=SUBSCRIPTIONS)
    previewer = Previewer(found, "a", at_us=microseconds("2026-04-20"))
    # 900 of the allowance were used before the price changed; 100 are left after it
    done = previewer.preview({KEY: [900 * ONE_UNIT, 0]}, {KEY: 150 * ONE_UNIT})
    (line,) = done.lines
    assert (line.rated.included, line.rated.overage) == (100 * ONE_UNIT, 50 * ONE_UNIT)
    assert str(line.charge) == "0.10"
    assert done.period_bill.total.minor == 1510  # half of the base fee of 30 with it


def test_the_period_is_projected_at_the_rate_so_far(tmp_path: Path) -> None:
    found = book(tmp_path, subscriptions=SUBSCRIPTIONS)
    half = preview(found, "a", "2026-05-16T12:00:00Z", 1400, 100)  # half of 31 days
    (line,) = half.lines
    assert line.projected_quantity == 3000 * ONE_UNIT
    assert str(line.projected_charge) == "4.00"
    assert half.projected_bill is not None
    assert str(half.projected_bill.total) == "34.00"
    began = preview(found, "c", "2026-04-21", 1000, 0)  # 10 of 20 days: it began on the 11th
    assert began.lines[0].projected_quantity == 2000 * ONE_UNIT
    first = preview(found, "a", "2026-05-01", 0, 10)
    assert (first.lines[0].projected_quantity, first.projected_bill) == (None, None)


def test_a_projection_goes_on_over_a_change_of_price() -> None:
    nothing = PlanTerms(currency("USD"))
    spans = [Span(0, 50, nothing, {}), Span(50, 100, nothing, {})]
    assert projected(spans, [40, 0], moment=40, aggregation=Aggregation.SUM) == [50, 50]
    assert projected(spans, [50, 10], moment=60, aggregation=Aggregation.SUM) == [50, 50]
    assert projected(spans, [40, 0], moment=40, aggregation=Aggregation.MAX) == [40, 0]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=6), st.sampled_from(["10", "20"]))
def test_previews_one_after_the_other_add_up_to_the_bill(
    tmp_path_factory: pytest.TempPathFactory, usages: list[int], day: str
) -> None:
    found = book(tmp_path_factory.mktemp("c"), plans=PLANS, subscriptions=SUBSCRIPTIONS)
    consumed = exact = 0
    for usage in usages:
        done = preview(found, "a", f"2026-04-{day}", consumed, usage)
        exact += done.lines[0].rated.charge
        consumed += usage
    previewer = Previewer(found, "a", at_us=microseconds(f"2026-04-{day}"))
    spans = [each.span for each in previewer.spans]
    whole = bill(
        spans, previewer.consumed_now({KEY: consumed * ONE_UNIT}),
        period=previewer.period.length_us,
    )  # fmt: skip
    assert exact == sum(line.exact for line in whole.lines if line.meter == "requests")

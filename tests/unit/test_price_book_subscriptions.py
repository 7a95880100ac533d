"""Reading subscriptions in every format, and finding them by customer and time."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from catalogs import SUBSCRIPTIONS, book, faults, microseconds, write
from hypothesis import given
from hypothesis import strategies as st

from metering import rfc3339
from rating_engine.billing_period import BillingCalendar
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from rating_engine.price_book.plan_fields import moment_us
from rating_engine.price_book.read_subscriptions import FAULTS_TOLD_MAX
from rating_engine.price_book.subscription import NEVER_US, Subscription

ROWS: list[dict[str, object]] = [
    {"id": "s1", "customer_id": "a", "plan": "growth", "from": "2026-01-01T00:00:00Z",
     "until": "2026-03-01T00:00:00Z"},
    {"id": "s2", "customer_id": "a", "plan": "growth", "version": 2,
     "from": "2026-05-01T00:00:00+02:00"},
    {"id": "s3", "customer_id": "b", "plan": "euro", "from": "2026-02-01T00:00:00Z",
     "anchor_day": 31, "time_zone": "America/New_York"},
]  # fmt: skip
COLUMNS = ("id", "customer_id", "plan", "version", "from", "until", "anchor_day", "time_zone")


def as_csv(rows: list[dict[str, object]]) -> str:
    lines = [",".join(str(row.get(name, "")) for name in COLUMNS) for row in rows]
    return "\n".join([",".join(COLUMNS), *lines]) + "\n"


def as_ndjson(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_yaml(rows: list[dict[str, object]]) -> str:
    return "subscriptions:\n" + "".join(f"- {json.dumps(row)}\n" for row in rows)


def with_parquet(folder: Path, *, zoned: bool) -> PriceBook:
    table = pa.Table.from_pylist([{name: row.get(name) for name in COLUMNS} for row in ROWS])
    if zoned:
        for name in ("from", "until"):
            moments = [
                None if text is None else datetime.fromisoformat(str(text)).astimezone(UTC)
                for text in table.column(name).to_pylist()
            ]
            column = pa.array(moments, pa.timestamp("ns", tz="Europe/Berlin"))
            table = table.set_column(table.schema.get_field_index(name), name, column)
    pq.write_table(table, folder / "subscriptions.parquet")
    return load_price_book(write(folder))


@pytest.mark.parametrize("form", ["yaml", "csv", "ndjson", "parquet", "parquet with timestamps"])
def test_every_format_says_the_same(tmp_path: Path, form: str) -> None:
    if form.startswith("parquet"):
        found = with_parquet(tmp_path, zoned=form != "parquet")
    else:
        text = {"yaml": as_yaml, "csv": as_csv, "ndjson": as_ndjson}[form](ROWS[::-1])
        found = book(tmp_path, **{f"subscriptions_{form}": text})
    plain, own = BillingCalendar(), BillingCalendar(31, "America/New_York")
    assert list(found.subscriptions) == [
        Subscription("s1", "a", "growth", 0, microseconds("2026-01-01"),
                     microseconds("2026-03-01"), plain),
        Subscription("s2", "a", "growth", 2, microseconds("2026-04-30T22:00:00Z"), NEVER_US,
                     plain),
        Subscription("s3", "b", "euro", 0, microseconds("2026-02-01"), NEVER_US, own),
    ]  # fmt: skip
    other = tmp_path / "other"
    other.mkdir()
    assert found.content_hash == book(other, subscriptions=as_yaml(ROWS)).content_hash


def test_files_of_several_formats_are_one_list(tmp_path: Path) -> None:
    found = book(tmp_path, subscriptions=as_yaml(ROWS[:1]), subscriptions_csv=as_csv(ROWS[1:]))
    assert [each.id for each in found.subscriptions] == ["s1", "s2", "s3"]


def test_a_subscription_is_found_from_its_beginning_to_before_its_end(tmp_path: Path) -> None:
    found = book(tmp_path, subscriptions=as_yaml(ROWS)).subscriptions
    start, end = microseconds("2026-01-01"), microseconds("2026-03-01")
    for moment, expected in [(start - 1, None), (start, "s1"), (end - 1, "s1"), (end, None)]:
        at = found.at("a", moment)
        assert (at and at.id) == expected
    assert found.at("nobody", start) is None
    assert "a" in found
    assert "nobody" not in found
    assert (len(found), found.customers) == (3, 2)


def test_lookups_agree_with_a_search_through_all(tmp_path: Path) -> None:
    chance = random.Random(7)
    days = [f"2026-{month:02}-{day:02}T00:00:00Z" for month in range(1, 13) for day in range(1, 29)]
    rows: list[dict[str, object]] = []
    for number in range(40):
        moments = sorted(chance.sample(days, 2 * chance.randrange(1, 5)))
        for at, (low, high) in enumerate(zip(moments[::2], moments[1::2], strict=True)):
            rows.append({"id": f"{number}/{at}", "customer_id": f"c{number}", "plan": "growth",
                         "from": low, "until": high})  # fmt: skip
    chance.shuffle(rows)
    found = book(tmp_path, subscriptions_csv=as_csv(rows)).subscriptions
    everything = list(found)
    assert len(everything) == len(rows) > 60
    for _ in range(2000):
        customer = f"c{chance.randrange(42)}"
        moment = microseconds("2026-01-01") + chance.randrange(366 * 86_400) * 1_000_000
        expected = [
            each for each in everything
            if each.customer_id == customer and each.from_us <= moment < each.until_us
        ]  # fmt: skip
        assert found.at(customer, moment) == (expected[0] if expected else None)


def test_overlapping_subscriptions_of_a_customer_are_told_with_both_lines(tmp_path: Path) -> None:
    (told,) = faults(
        tmp_path,
        subscriptions="""subscriptions:
- {id: late, customer_id: a, plan: growth, from: 2026-02-01T00:00:00Z}
- {id: other, customer_id: b, plan: growth, from: 2026-01-01T00:00:00Z}
- {id: early, customer_id: a, plan: growth, from: 2026-01-01T00:00:00Z}
""",
    )
    assert told == (
        "subscriptions.yaml:2: from: expected no overlap with 'early' of 'a'"
        " (subscriptions.yaml:4), got 2026-02-01T00:00:00.000000Z"
    )


def test_a_customer_has_one_billing_calendar(tmp_path: Path) -> None:
    rows = [ROWS[0], {**ROWS[1], "anchor_day": 2}]
    (told,) = faults(tmp_path, subscriptions_csv=as_csv(rows))
    assert told == (
        "subscriptions.csv:3: anchor_day, time_zone: expected the billing calendar of 's1'"
        " (subscriptions.csv:2), day 1 in UTC, got day 2 in UTC"
    )


def test_one_period_has_one_currency_and_the_next_may_have_another(tmp_path: Path) -> None:
    def rows(until: str) -> str:
        calendar = {"anchor_day": 1, "time_zone": "UTC"}
        moved = {"id": "s2", "customer_id": "a", "plan": "euro", "from": until, **calendar}
        return as_yaml([{**ROWS[0], "until": until}, moved])

    assert len(book(tmp_path, subscriptions=rows("2026-03-01T00:00:00Z")).subscriptions) == 2
    (told,) = faults(tmp_path, subscriptions=rows("2026-03-02T00:00:00Z"))
    assert told == (
        "subscriptions.yaml:3: plan: expected USD rounded half_even, in which the billing period"
        " began ('s1', subscriptions.yaml:2), got EUR rounded half_even"
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"id": ""}, "id: expected text of 1 to 256 characters"),
        ({"id": "x" * 257}, "id: expected text of 1 to 256 characters"),
        ({"customer_id": "a\u0007"}, "customer_id: expected text of 1 to 256 characters"),
        ({"plan": "none"}, "plan: expected a plan of plans.yaml, got 'none' (str)"),
        ({"version": 3}, "version: expected a version of the plan (1, 2), got"),
        ({"version": 0}, "version: expected a version of the plan"),
        ({"version": "x"}, "version: expected a version of the plan"),
        ({"version": 2}, "from: expected 2026-04-16T00:00:00.000000Z or later, when growth"),
        ({"from": "2026-01-01"}, "from: expected a time like"),
        ({"from": "0001-01-01T00:00:00Z"}, "from: expected a time like"),
        ({"from": "2026-01-01T00:00:00.000001Z"}, "before 9000, on a whole second, got"),
        ({"until": "2026-02-01T00:00:00.0000000001Z"}, "until: expected a time like"),
        ({"from": "2025-12-31T23:59:59Z"}, "from: expected 2026-01-01T00:00:00.000000Z or later"),
        ({"until": "2026-01-01T00:00:00Z"}, "until: expected a time after from"),
        ({"anchor_day": 0}, "anchor_day: expected a whole number from 1 to 31"),
        ({"anchor_day": "first"}, "anchor_day: expected a whole number from 1 to 31"),
        ({"time_zone": "Mars/Base"}, "time_zone: expected an IANA time zone"),
    ],
)
@pytest.mark.parametrize("form", ["yaml", "csv", "ndjson"])
def test_a_faulty_row_is_told(
    tmp_path: Path, change: dict[str, object], fault: str, form: str
) -> None:
    rows = [{**ROWS[0], **change}, ROWS[1]]
    text = {"yaml": as_yaml, "csv": as_csv, "ndjson": as_ndjson}[form](rows)
    (told,) = faults(tmp_path, **{f"subscriptions_{form}": text})
    line = {"yaml": 2, "csv": 2, "ndjson": 1}[form]
    assert told.startswith(f"subscriptions.{form}:{line}: ")
    assert fault in told


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("csv", "id,customer_id,plan\n", "csv:1: header: expected columns from"),
        ("csv", "", "csv:1: header: expected columns customer_id, from, id, plan"),
        ("csv", "id,customer_id,plan,from,colour\n", "csv:1: colour: expected one of id"),
        ("csv", "id,id,customer_id,plan,from\n", "csv:1: header: expected columns that differ"),
        ("csv", "id,customer_id,plan,from\na,b\n", "csv:2: row: expected 4 cells, got 2"),
        ("csv", 'id,customer_id,plan,from\n"a"b,c,d,e\n', "row: expected CSV"),
        ("ndjson", "{\n", "ndjson:1: row: expected a JSON object"),
        ("ndjson", "\n[1]\n", "ndjson:2: row: expected a JSON object, got list"),
        ("ndjson", as_ndjson([{**ROWS[0], "x": 1}]), "ndjson:1: x: expected one of id"),
        ("ndjson", as_ndjson([{**ROWS[0], "from": 1}]), "ndjson:1: from: expected a time like"),
        ("yaml", as_yaml([{**ROWS[0], "x": 1}]), "yaml:2: subscriptions[0].x: expected one of id"),
        ("yaml", as_yaml([{**ROWS[0], "plan": ["growth"]}]), "subscriptions[0].plan: expected a"),
        ("yaml", "subscriptions: 1\n", "yaml:1: subscriptions.subscriptions: expected a list"),
        ("parquet", "text", "parquet:1: file: expected Parquet"),
    ],
)
def test_a_faulty_file_is_told(tmp_path: Path, name: str, text: str, fault: str) -> None:
    found = faults(tmp_path, **{f"subscriptions_{name}": text})
    assert any(fault in told for told in found), found


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "subscriptions.csv").write_bytes(b"id,customer_id,plan,from\n\xff,b,c,d\n")
    (told,) = faults(tmp_path)
    assert "expected readable UTF-8" in told


def test_timestamps_without_a_zone_are_told(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"], "customer_id": ["b"], "plan": ["growth"],
                      "from": pa.array([0], pa.timestamp("us"))})  # fmt: skip
    pq.write_table(table, tmp_path / "subscriptions.parquet")
    (told,) = faults(tmp_path)
    assert "from: expected text, or a timestamp with a time zone, got timestamp[us]" in told


def test_a_timestamp_within_a_second_is_told(tmp_path: Path) -> None:
    moment = microseconds("2026-01-01") * 1000 + 1
    table = pa.table({"id": ["a"], "customer_id": ["b"], "plan": ["growth"],
                      "from": pa.array([moment], pa.timestamp("ns", tz="UTC"))})  # fmt: skip
    pq.write_table(table, tmp_path / "subscriptions.parquet")
    (told,) = faults(tmp_path)
    assert told.startswith("subscriptions.parquet:1: from: expected a time like")
    assert "on a whole second, got '2026-01-01T00:00:00.000000001Z'" in told


def test_an_id_that_comes_twice_is_told_with_both_places(tmp_path: Path) -> None:
    second = {**ROWS[2], "id": "s1"}
    (told,) = faults(tmp_path, subscriptions=as_yaml(ROWS[:1]), subscriptions_csv=as_csv([second]))
    assert told == (
        "subscriptions.csv:2: id: expected an id that is not taken (subscriptions.yaml:2 has it),"
        " got 's1'"
    )


def test_subscriptions_of_a_faulty_plan_are_not_told_as_unknown(tmp_path: Path) -> None:
    text = "plans:\n- {key: growth, currency: QQQ, versions: []}\n"
    found = faults(tmp_path, plans=text, subscriptions=SUBSCRIPTIONS)
    assert all(told.startswith("plans.yaml") for told in found)


def test_of_very_many_faults_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "id": f"s{at}", "plan": "none"} for at in range(FAULTS_TOLD_MAX + 7)]
    found = faults(tmp_path, subscriptions_csv=as_csv(rows))
    assert len(found) == FAULTS_TOLD_MAX + 1
    assert found[-1] == "subscriptions: 7 more faults like these"


@given(st.one_of(
    st.datetimes(datetime(1900, 1, 1), datetime(8999, 12, 31)).map(  # noqa: DTZ001 - written as Z
        lambda each: each.isoformat() + "Z"
    ),
    st.from_regex(r"[0-9]{4}-[0-3][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]"
                  r"(\.[0-9]{1,7})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])", fullmatch=True),
))  # fmt: skip
def test_the_fast_way_to_read_a_time_agrees_with_the_other(text: str) -> None:
    read = rfc3339.microseconds(text)
    bounds = microseconds("1900-01-01"), microseconds("9000-01-01")
    in_bounds = read is not None and bounds[0] <= read < bounds[1]
    assert moment_us(text) == (read if in_bounds else None)

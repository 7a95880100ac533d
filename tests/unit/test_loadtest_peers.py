"""The comparison with other ways to count: its load, what it calls wrong, and its ratios."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import orjson

from loadtest.outcome import Outcome, Total, TotalKey
from loadtest.peers.copies import WithCopies
from loadtest.peers.deviation import Deviation, Hour, deviation, true_hours
from loadtest.peers.report import (
    Promises,
    Row,
    Run,
    document,
    promises_table,
    speed_table,
    times_faster,
    truth_table,
)
from loadtest.preload import Preload, PreloadPlan

_STARTED = datetime(2026, 3, 4, 10, 0, 20, tzinfo=UTC)
_PLAN = PreloadPlan(events=8_000, customers=50, partitions=3, duplicates=0.1, chunk_events=4_000)
_PROMISES = Promises("1 day", "counted again", "exact", "no", "yes")
_NAMES = (("worker", "A"), ("b", "B"), ("c", "C"))
_EXACT = Deviation(10, 0, 0, Decimal(10), Decimal(0), 3, 0)


def _total(quantity: str, events: int) -> Total:
    return Total(Decimal(quantity), events)


def _run(number: int, seconds: float, *, found: Deviation = _EXACT) -> Run:
    return Run(number, 1000, seconds, {"process": 2.0, "kafka": 1.0}, 0.0, found, "each once", 0.5)


def test_copies_stand_on_another_partition_and_change_no_total() -> None:
    made = WithCopies(Preload(7, _PLAN, _STARTED), every=100)
    places: dict[bytes, set[int]] = {}
    values: Counter[bytes] = Counter()
    accepted = set()
    for _, value, partition in (row for chunk in made for row in zip(*chunk, strict=True)):
        places.setdefault(value, set()).add(partition)
        values[value] += 1
        accepted.add(orjson.loads(value)["id"])
    truth, plain = made.outcome(), Preload(7, _PLAN, _STARTED)
    list(plain)
    assert sum(values.values()) == 8_080 == truth.accounted
    assert 70 < sum(len(found) > 1 for found in places.values()) <= made.copies == 80
    assert truth.accepted == len(accepted)
    assert truth.totals == plain.outcome().totals


def test_hours_add_groups_up() -> None:
    totals = {
        TotalKey("a", "m", '{"region":"eu"}', 0): _total("1.5", 2),
        TotalKey("a", "m", '{"region":"us"}', 0): _total("2", 1),
        TotalKey("a", "m", "{}", 3600): _total("4", 1),
    }
    assert true_hours(Outcome(totals=totals)) == {
        Hour("a", "m", 0): _total("3.5", 3),
        Hour("a", "m", 3600): _total("4", 1),
    }


def test_what_is_too_much_does_not_hide_what_is_lost() -> None:
    one, two, three, four = (Hour("a", "m", 3600 * each) for each in range(4))
    expected = {one: _total("10", 5), two: _total("6", 3), three: _total("4", 2)}
    got = {one: _total("12", 6), two: _total("4", 2), three: _total("4", 2), four: _total("1", 1)}
    found = deviation(expected, got)
    assert found == Deviation(10, 1, 1, Decimal(20), Decimal(1), 3, 3)
    assert found.text == "+1 events, 1 lost; quantity +5.000 %; 3 totals wrong (100.0 %)"
    assert deviation(expected, expected).text == "exact"
    assert deviation(expected, {}).text.startswith("-10 events, 10 lost; quantity -100.000 %")


def test_a_total_of_the_right_count_and_the_wrong_quantity_is_wrong() -> None:
    hour = Hour("a", "m", 0)
    found = deviation({hour: _total("1", 1)}, {hour: _total("1.000000000001", 1)})
    assert not found.is_none


def test_ratios_are_taken_within_a_round() -> None:
    ours, other = Row("worker", "A", _PROMISES), Row("b", "B", _PROMISES)
    ours.runs += [_run(1, 1.0), _run(2, 2.0), _run(3, 1.0)]
    other.runs += [_run(1, 10.0), _run(2, 40.0), _run(3, 30.0)]
    assert times_faster([ours, other], other) == 20  # of 10, 20, 30
    assert times_faster([ours], Row("c", "C", _PROMISES)) is None
    assert times_faster([other], other) is None


def test_tables_show_medians_ratios_and_the_worst_round() -> None:
    ours, other, failed = (Row(*names, _PROMISES) for names in _NAMES)
    wrong = Deviation(10, 2, 0, Decimal(10), Decimal(1), 3, 1)
    ours.runs += [_run(1, 1.0), _run(2, 2.0), _run(3, 4.0)]
    other.runs += [_run(1, 10.0), _run(2, 20.0, found=wrong), _run(3, 40.0)]
    other.killed = "exact"
    rows = [ours, other, failed]
    speed = speed_table(rows)
    assert speed[2] == "| A | 1,000 | 500 | 250 to 1,000 |  | 2 | 1 | - | - | 3 |"
    assert speed[3] == "| B | 1,000 | 50 | 25 to 100 | 10 times | 2 | 1 | - | - | 3 |"
    assert speed[4] == "| C" + " | -" * 9 + " |"
    truth = truth_table(rows)
    assert truth[3] == f"| B | {wrong.text} | each once | 0.5 s | exact |"
    assert promises_table(rows)[2] == "| A | 1 day | counted again | exact | no | yes |"
    assert document(rows)[1]["times_faster"] == 10
    assert document(rows)[1]["runs"][1]["deviation"]["quantity"] == "1"

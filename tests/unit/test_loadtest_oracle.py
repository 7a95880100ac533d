"""The oracle finds every planted difference, waits as long as it may, and is silent otherwise."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from loadtest.oracle import Difference, await_accounted, compare, differences_table, settle
from loadtest.outcome import CONFLICT_CODE, Outcome, Total, TotalKey, load_outcome
from loadtest.plan import Plan
from loadtest.summary import summary_line, summary_table
from loadtest.workload import Workload

_NOON = 1_767_268_800
_KEY = TotalKey("acme", "agent_minutes", "{}", _NOON)
_OTHER_KEY = TotalKey("acme", "api_requests", '{"region":"eu"}', _NOON)
_TRUTH = Outcome(
    accepted=3,
    duplicates=2,
    suppressed=1,
    disregarded=0,
    late=1,
    rejected={"meter_must_be_known": 4, CONFLICT_CODE: 1},
    totals={_KEY: Total(Decimal("0.3"), 2), _OTHER_KEY: Total(Decimal(7), 1)},
)


class _Answers:
    """Gives one prepared outcome after the other, the last one for ever."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self._outcomes = list(outcomes)

    def accounted(self) -> int:
        return self.outcome().accounted

    def outcome(self) -> Outcome:
        return self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]


def test_equal_outcomes_have_no_differences() -> None:
    same = replace(_TRUTH, totals={key: _TRUTH.totals[key] for key in (_OTHER_KEY, _KEY)})
    assert compare(_TRUTH, same) == []


def test_a_quantity_with_other_trailing_zeros_is_the_same() -> None:
    totals = {**_TRUTH.totals, _KEY: Total(Decimal("0.300000000000"), 2)}
    assert compare(_TRUTH, replace(_TRUTH, totals=totals)) == []


@pytest.mark.parametrize("field", ["accepted", "duplicates", "suppressed", "disregarded", "late"])
def test_a_count_that_is_off_by_one_is_found(field: str) -> None:
    value: int = getattr(_TRUTH, field)
    got = replace(_TRUTH, **{field: value + 1})  # type: ignore[arg-type]
    assert compare(_TRUTH, got) == [Difference(field, str(value), str(value + 1))]


def test_a_reject_under_another_code_is_found_on_both_sides() -> None:
    got = replace(_TRUTH, rejected={"meter_must_be_known": 3, "other": 1, CONFLICT_CODE: 1})
    assert compare(_TRUTH, got) == [
        Difference("rejected meter_must_be_known", "4", "3"),
        Difference("rejected other", "0", "1"),
    ]


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (Total(Decimal("0.300000000001"), 2), "0.300000000001 in 2 events"),
        (Total(Decimal("0.3"), 3), "0.3 in 3 events"),
        (None, "-"),
    ],
)
def test_a_total_that_is_wrong_or_missing_is_found(found: Total | None, shown: str) -> None:
    totals = {key: total for key, total in _TRUTH.totals.items() if key != _KEY}
    if found:
        totals[_KEY] = found
    what = "acme agent_minutes {} 2026-01-01T12:00Z"
    expected = [Difference(what, "0.3 in 2 events", shown)]
    assert compare(_TRUTH, replace(_TRUTH, totals=totals)) == expected


def test_a_total_that_should_not_be_is_found() -> None:
    totals = {**_TRUTH.totals, _KEY._replace(customer_id="ghost"): Total(Decimal(100), 1)}
    [difference] = compare(_TRUTH, replace(_TRUTH, totals=totals))
    assert difference.expected == "-"
    assert difference.got == "100 in 1 events"


def test_what_is_late_is_not_compared_where_it_is_not_known() -> None:
    assert compare(replace(_TRUTH, late=None), _TRUTH) == []


def test_settling_ends_at_the_first_agreement() -> None:
    behind = replace(_TRUTH, totals={})
    got, differences = settle(_Answers([behind, _TRUTH]), _TRUTH, deadline_s=30)
    assert (got, differences) == (_TRUTH, [])


def test_settling_gives_up_at_the_deadline_and_keeps_the_differences() -> None:
    _, differences = settle(_Answers([replace(_TRUTH, accepted=2)]), _TRUTH, deadline_s=0)
    assert differences == [Difference("accepted", "3", "2")]


def test_waiting_ends_when_all_are_accounted_for() -> None:
    heard: list[int] = []
    answers = _Answers([replace(_TRUTH, accepted=1), _TRUTH])
    await_accounted(answers, _TRUTH.accounted, deadline_s=30, on_accounted=heard.append)
    assert heard == [_TRUTH.accounted - 2, _TRUTH.accounted]


def test_waiting_gives_up_at_the_deadline() -> None:
    assert await_accounted(_Answers([Outcome()]), 5, deadline_s=0) == 0


def test_a_saved_truth_reads_back_the_same(tmp_path: Path) -> None:
    workload = Workload(7, Plan(events=3_000, customers=100), datetime(2026, 3, 4, tzinfo=UTC))
    assert list(workload)
    workload.truth.outcome().save(tmp_path / "truth.json")
    assert load_outcome(tmp_path / "truth.json") == workload.truth.outcome()


def test_the_table_shows_the_first_differences_and_says_how_many_there_are() -> None:
    table = differences_table([Difference("accepted", "3", "2")] * 5, rows_max=2)
    assert table.row_count == 2
    assert "first 2 of 5" in str(table.title)


def test_the_summary_line_holds_every_number_once() -> None:
    assert summary_line("DEMO OK", _TRUTH, 12.34) == (
        "DEMO OK events=11 accepted=3 duplicates=2 conflicts=1 rejected=4 late=1 seconds=12.3"
    )


def test_what_is_not_known_to_the_truth_is_not_shown() -> None:
    unknown = replace(_TRUTH, late=None)
    assert "late" not in summary_line("CHECK OK", unknown, 1)
    shown = summary_table(unknown, _TRUTH, "title").row_count
    assert shown == summary_table(_TRUTH, _TRUTH, "title").row_count - 1

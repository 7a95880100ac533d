"""The load test's own check of watermarks: what was said to be complete has to be."""

from loadtest.faults.completeness import Arrival, Claim, broken_claims

_LOG = [Arrival(0, 0, 100), Arrival(0, 2, 300), Arrival(0, 1, 200), Arrival(1, 5, 50)]


def test_what_stands_before_the_offset_may_have_occurred_at_any_time() -> None:
    claims = [Claim(0, 2, 250), Claim(0, 3, 10_000), Claim(1, 0, 50), Claim(2, 7, 10_000)]
    assert broken_claims(claims, _LOG) == []


def test_an_event_behind_the_offset_that_occurred_before_the_watermark_breaks_it() -> None:
    found = broken_claims([Claim(0, 1, 200), Claim(0, 1, 201), Claim(0, 1, 999)], _LOG)
    assert found == [
        "partition 0: said to be complete to 201 at offset 1, an event on time behind it is of 200"
    ]


def test_partitions_do_not_mix() -> None:
    assert len(broken_claims([Claim(0, 2, 250), Claim(1, 5, 51)], _LOG)) == 1

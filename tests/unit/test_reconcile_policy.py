"""Which differences are let pass, and how bad the others are: borders of tolerances."""

from __future__ import annotations

import pytest

from reconcile.policy import Policy, Tolerance
from reconcile.variance import SCALE, Check, Finding, Severity, Subject, VarianceClass

_CENT = SCALE // 100


def _finding(
    amount: int, *, expected: int = 0, got: int = 0, meter: str = "api",
    variance: VarianceClass = VarianceClass.MANUAL_EDIT,
) -> Finding:  # fmt: skip
    return Finding(
        check=Check.EXPORT, variance=variance, subject=Subject(customer_id="c", meter=meter),
        currency="USD", amount=amount, reason="", expected_amount=expected, got_amount=got,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "expected", "got", "is_tolerated"),
    [
        (5 * _CENT, 0, 0, True),
        (-5 * _CENT, 0, 0, True),
        (5 * _CENT + 1, 0, 0, False),
        (-5 * _CENT - 1, 0, 0, False),
        (0, 0, 0, False),  # something is wrong that costs nothing: a person should see it
        (SCALE, 1000 * SCALE, 1001 * SCALE, True),  # a thousandth of what was expected
        (SCALE + 1, 1000 * SCALE, 1001 * SCALE + 1, False),
        (-SCALE, 1000 * SCALE, 999 * SCALE, True),
        (-SCALE, 999 * SCALE, 1000 * SCALE, False),
        (SCALE, -1000 * SCALE, -999 * SCALE, True),  # of a credit
        (1000 * SCALE, 0, 1000 * SCALE, False),
    ],
)
def test_a_tolerance_is_of_what_was_expected(
    amount: int, expected: int, got: int, is_tolerated: bool
) -> None:
    policy = Policy(meters={"api": Tolerance(absolute=5 * _CENT, relative=SCALE // 1000)})
    assert policy.tolerates(_finding(amount, expected=expected, got=got)) == is_tolerated


def test_a_tolerance_is_of_its_meter_only() -> None:
    policy = Policy(default=Tolerance(absolute=_CENT), meters={"api": Tolerance()})
    found = [policy.tolerates(_finding(_CENT, meter=meter)) for meter in ("api", "other", "")]
    assert found == [False, True, True]


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_dear_is_danger(sign: int) -> None:
    policy = Policy(danger_from=100 * SCALE)
    assert policy.severity(_finding(sign * 100 * SCALE)) is Severity.DANGER
    assert policy.severity(_finding(sign * (100 * SCALE - 1))) is Severity.WARNING
    for mild in (VarianceClass.LATE, VarianceClass.ROUNDING):
        assert policy.severity(_finding(sign * 100 * SCALE, variance=mild)) is Severity.INFO

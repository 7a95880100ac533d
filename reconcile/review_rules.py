"""From findings to what a person works on: status, severity, hold, reason. One record each.

The rules, in order; the first that holds says the status (`docs/reconciliation.md`):

    schema-error     events of it were rejected and are not mended
    credit-pending   what is open is late only, and a credit for the period is issued
    needs-review     a finding that no tolerance lets pass
    rated            nothing is open
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from reconcile.policy import Policy
from reconcile.rejected import Rejected
from reconcile.variance import Finding, Severity, VarianceClass

_REASON_CHARACTERS_MAX = 400


class Status(StrEnum):
    """Where the work on a record stands."""

    RATED = "rated"
    NEEDS_REVIEW = "needs-review"
    CREDIT_PENDING = "credit-pending"
    SCHEMA_ERROR = "schema-error"


@dataclass(slots=True)
class Case:
    """All that speaks against one (customer, meter); `credited` is a credit that was issued."""

    findings: list[Finding] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    credited: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """`impact` is the money at stake (10^-12); None: what was billed."""

    status: Status
    severity: Severity
    reason: str
    reviewer: str = ""
    impact: int | None = None
    invoice_hold: bool = False


#: Who reviews what no person has to look at, and what waits for a credit.
AUTO_RATED, QUEUE = "Auto-rated", "Finance queue"
AGREED = Verdict(Status.RATED, Severity.OK, "No discrepancy detected", AUTO_RATED)


def judge(case: Case, policy: Policy) -> Verdict:
    """What the rules say."""
    counted = [each for each in case.findings if not each.tolerated]
    impact = sum(_of_billing(counted)) if counted else None
    if case.rejected:
        codes = sorted({each.code for each in case.rejected})
        reason = f"{len(case.rejected)} events rejected: {', '.join(codes)}"
        return Verdict(
            Status.SCHEMA_ERROR, Severity.DANGER, reason, impact=impact, invoice_hold=True
        )
    if not counted:
        if not case.findings:
            return _credit(case, "A credit of the period is issued", impact) or AGREED
        reason = "Within tolerance: " + _reasons(case.findings)
        return Verdict(Status.RATED, Severity.OK, reason, AUTO_RATED)
    if all(each.variance is VarianceClass.LATE for each in counted):
        credit = _credit(case, _reasons(counted), impact)
        if credit is not None:
            return credit
    severity = max((each.severity for each in counted), key=lambda each: each.rank)
    most = max(abs(each.amount) for each in counted)
    hold = severity is Severity.DANGER or most >= policy.hold_from
    return Verdict(
        Status.NEEDS_REVIEW, severity, _reasons(counted), impact=impact, invoice_hold=hold
    )


def _credit(case: Case, reason: str, impact: int | None) -> Verdict | None:
    if not case.credited:
        return None
    return Verdict(Status.CREDIT_PENDING, Severity.INFO, reason, QUEUE, impact)


def _of_billing(findings: Iterable[Finding]) -> list[int]:
    """Amounts of the latest check that found something, so that none counts twice."""
    by_check: dict[str, list[int]] = {}
    for each in findings:
        by_check.setdefault(each.check, []).append(each.amount)
    return list(by_check.values())[-1]


def _reasons(findings: Iterable[Finding]) -> str:
    text = "; ".join(dict.fromkeys(f"{each.variance}: {each.reason}" for each in findings))
    if len(text) > _REASON_CHARACTERS_MAX:
        return text[: _REASON_CHARACTERS_MAX - 4] + " ..."
    return text

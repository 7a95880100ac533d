r"""Corrections: what they may be, which states they pass, and what is known of one.

    draft -> pending_approval -> approved -> applied
      |  \________________________^    |
      +-----------> rejected <---------+

A draft is approved without a second person where the policy lets it be.
"""

from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

import orjson

from metering.audit_chain import canonical_json


class CorrectionKind(StrEnum):
    """What a correction does when it is applied."""

    RETRACT = "retract"  # events do not count any more
    REPLACE = "replace"  # an event does not count, and another one does
    RERATE = "rerate"  # a billing period is rated again under the price book of now
    HOLD = "hold"  # a billing period is not invoiced until it is released
    RELEASE = "release"
    CREDIT = "credit"  # a signed amount in the open period


class CorrectionState(StrEnum):
    """Where a correction stands."""

    DRAFT = "draft"
    PENDING_APPROVAL = "pending_approval"
    APPROVED = "approved"
    APPLIED = "applied"
    REJECTED = "rejected"


class ReasonCode(StrEnum):
    """Why; the note says the rest, and has to where it is `other`."""

    DUPLICATE_USAGE = "duplicate_usage"
    WRONG_QUANTITY = "wrong_quantity"
    WRONG_TIME = "wrong_time"
    WRONG_CUSTOMER = "wrong_customer"
    WRONG_DIMENSIONS = "wrong_dimensions"
    TRIAL_TRAFFIC = "trial_traffic"
    PRICE_CHANGE = "price_change"
    SUBSCRIPTION_CHANGE = "subscription_change"
    BILLING_ERROR = "billing_error"
    DISPUTE = "dispute"
    GOODWILL = "goodwill"
    SERVICE_CREDIT = "service_credit"
    UNDER_REVIEW = "under_review"
    OTHER = "other"


_S = CorrectionState
#: From each state, those that may follow; nothing follows applied and rejected.
NEXT: dict[CorrectionState, frozenset[CorrectionState]] = {
    _S.DRAFT: frozenset({_S.PENDING_APPROVAL, _S.APPROVED, _S.REJECTED}),
    _S.PENDING_APPROVAL: frozenset({_S.APPROVED, _S.REJECTED}),
    _S.APPROVED: frozenset({_S.APPLIED, _S.REJECTED}),
    _S.APPLIED: frozenset(),
    _S.REJECTED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Correction:
    """One correction at one of its steps, which count from 1.

    `period` is how the billing period was named, `period_start` when it begins (Unix seconds UTC),
    0 where there is more than one. `object` says what is corrected, `payload` is canonical JSON by
    kind. `author` asked for it, `actor` took this step. `exposure` is the money that moves, without
    its sign, in `currency`, "" where no money does.
    """

    correction_id: str
    step: int
    state: CorrectionState
    kind: CorrectionKind
    customer_id: str
    period: str
    period_start: int
    object: str
    payload: str
    author: str
    actor: str
    reason_code: ReasonCode
    note: str
    exposure: Decimal
    currency: str
    calculation_version: int

    def moved(self, to: CorrectionState, *, actor: str, note: str) -> "Correction":
        """The next step. Whether it is allowed is for `NEXT` and the policy to say."""
        return replace(self, step=self.step + 1, state=to, actor=actor, note=note)

    @property
    def content(self) -> Any:
        """The payload as it was given."""
        return orjson.loads(self.payload)

    def document(self) -> str:
        """All of it as canonical JSON, for the audit log; `read_correction` makes it again."""
        return canonical_json({**asdict(self), "exposure": str(self.exposure)})


def read_correction(text: str) -> Correction:
    """What `Correction.document` wrote."""
    found = orjson.loads(text)
    return Correction(
        **{
            **found,
            "state": CorrectionState(found["state"]),
            "kind": CorrectionKind(found["kind"]),
            "reason_code": ReasonCode(found["reason_code"]),
            "exposure": Decimal(found["exposure"]),
        }
    )

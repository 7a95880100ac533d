"""Who has to agree to a correction: another person, where much money moves."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from metering.correction import Correction
from metering.errors import PermanentError, SettingsInvalid

_AMOUNT = re.compile(r"\d{1,18}(?:\.\d{1,4})?", re.ASCII)
_NAMED = re.compile(r"([A-Z]{3})=(.+)", re.ASCII)


class NotAllowed(PermanentError):
    """The policy, or the order of states, does not let this happen; the text says why."""


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """Up to which exposure the author of a correction may apply it, by currency.

    `otherwise` is for currencies that are not named.
    """

    thresholds: Mapping[str, Decimal]
    otherwise: Decimal

    @classmethod
    def read(cls, text: str) -> "ApprovalPolicy":
        """Read `500`, for every currency, or `USD=500 JPY=70000`, and 0 for the others.

        Raises `SettingsInvalid`.
        """
        thresholds: dict[str, Decimal] = {}
        otherwise = Decimal(0)
        for word in text.replace(",", " ").split():
            named = _NAMED.fullmatch(word)
            amount = named[2] if named else word
            if not _AMOUNT.fullmatch(amount):
                msg = (
                    "setting METERLINE_APPROVAL_THRESHOLD: expected an amount like 500, or amounts "
                    f"by currency like USD=500 JPY=70000, got {word!r}"
                )
                raise SettingsInvalid([msg])
            if named:
                thresholds[named[1]] = Decimal(amount)
            else:
                otherwise = Decimal(amount)
        return cls(thresholds, otherwise)

    def threshold(self, currency: str) -> Decimal:
        """The greatest exposure that needs no second person."""
        return self.thresholds.get(currency, self.otherwise)

    def needs_approval(self, exposure: Decimal, currency: str) -> bool:
        """Whether another person than the author has to agree."""
        return exposure > self.threshold(currency)

    def require_other(self, found: Correction, *, actor: str) -> None:
        """Raise `NotAllowed` where the author approves."""
        if actor == found.author:
            msg = (
                f"{found.correction_id}: expected approval by somebody else than its author, "
                f"got {actor}"
            )
            raise NotAllowed(msg)

    def require_covered(self, found: Correction, *, exposure: Decimal, is_second: bool) -> None:
        """Raise `NotAllowed` where more money would move than somebody agreed to.

        `exposure` is what moves by what is known now; `is_second` says that another person than
        the author approved what was known then.
        """
        agreed = max(found.exposure if is_second else Decimal(0), self.threshold(found.currency))
        if exposure <= agreed:
            return
        if is_second:
            msg = (
                f"{found.correction_id}: {found.exposure} {found.currency} were approved, and "
                f"{exposure} would move now; reject it and make a new one"
            )
        else:
            msg = (
                f"{found.correction_id}: {exposure} {found.currency} would move, and more than "
                f"{self.threshold(found.currency)} needs the approval of another person: "
                f"`meterline correct submit {found.correction_id}`"
            )
        raise NotAllowed(msg)

"""Plans and their price versions, compiled; and which version is in effect at a moment."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from rating_engine.billing_period import BillingCalendar
from rating_engine.terms import ChargeTerms, PlanTerms


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """Prices of a plan from `effective_us` (inclusive, Unix microseconds UTC) on.

    `charges` is by meter; a meter that is not in it is not charged. `content` is the canonical
    JSON of all that the version and its plan say, `content_hash` its SHA-256.
    """

    plan: str
    version: int
    effective_us: int
    terms: PlanTerms
    charges: Mapping[str, ChargeTerms]
    content: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`versions` ascend by number and by time, at least one.

    `calendar` is that of subscriptions which say nothing else. All versions have one currency and
    one rounding.
    """

    key: str
    calendar: BillingCalendar
    versions: tuple[PriceVersion, ...]
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Lay out what `version_at` needs."""
        starts = tuple(version.effective_us for version in self.versions)
        assert starts == tuple(sorted(set(starts))), starts
        assert starts, self.key
        object.__setattr__(self, "_starts", starts)

    @property
    def begins_us(self) -> int:
        """When its first version takes effect."""
        return self._starts[0]

    @property
    def terms(self) -> PlanTerms:
        """Those of the first version: currency and rounding are the same in all of them."""
        return self.versions[0].terms

    def version_at(self, moment_us: int) -> PriceVersion | None:
        """Find the version in effect at a moment (Unix microseconds UTC)."""
        at = bisect_right(self._starts, moment_us)
        return self.versions[at - 1] if at else None

    def version(self, number: int) -> PriceVersion | None:
        """Find the version of that number."""
        return next((each for each in self.versions if each.version == number), None)

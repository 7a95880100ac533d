"""What loading a price book changes, and which of it would rewrite the past.

Prices take effect by the time of an event, so that rating again gives the same: what took effect
may not change, go, or be put in before now. The first load of a plan may bring its whole past.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from metering.plan_version import StoredVersion
from rating_engine.price_book.canonical import Change, differences
from rating_engine.price_book.plan import PriceVersion

_NOTHING = "{}"


class ChangeKind(StrEnum):
    """What happens to a price version."""

    ADDED = "added"
    CHANGED = "changed"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class VersionChange:
    """One version that is not as it is stored. `before` or `after` is None where there is none.

    `rewrites_past`: usage that was rated already would be rated differently.
    """

    kind: ChangeKind
    plan: str
    version: int
    before: StoredVersion | None
    after: StoredVersion | None
    rewrites_past: bool

    @property
    def differences(self) -> list[Change]:
        """Every place where the contents differ."""
        before = _NOTHING if self.before is None else self.before.content
        after = _NOTHING if self.after is None else self.after.content
        return differences(before, after)

    @property
    def stored(self) -> StoredVersion:
        """What is to be stored."""
        if self.after is not None:
            return self.after
        assert self.before is not None, self
        return self.before._replace(withdrawn=True)


def version_changes(
    stored: Iterable[StoredVersion], versions: Iterable[PriceVersion], *, now_us: int
) -> list[VersionChange]:
    """Compare the newest stored form of every version with `versions`, by plan and number.

    `now_us` (Unix microseconds UTC) decides what took effect. Versions that are equal are left out.
    """
    known = {(each.plan, each.version): each for each in stored if not each.withdrawn}
    loaded = {(each.plan, each.version): _stored(each) for each in versions}
    plans = {plan for plan, _ in known}
    found = []
    for key in sorted(known.keys() | loaded.keys()):
        before, after = known.get(key), loaded.get(key)
        if before is not None and after is not None and before.content_hash == after.content_hash:
            continue
        kind = ChangeKind.CHANGED
        if before is None:
            kind = ChangeKind.ADDED
        elif after is None:
            kind = ChangeKind.WITHDRAWN
        begins = [each.effective_us for each in (before, after) if each is not None]
        past = min(begins) <= now_us and key[0] in plans
        found.append(VersionChange(kind, *key, before, after, past))
    return found


def _stored(version: PriceVersion) -> StoredVersion:
    return StoredVersion(
        version.plan,
        version.version,
        version.effective_us,
        version.content,
        version.content_hash,
    )

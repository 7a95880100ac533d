"""Storing a price book: what changes is found, what rewrites the past refused or audited."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from metering.audit_chain import AuditEntry
from metering.correction import ReasonCode
from metering.errors import PermanentError
from metering.rfc3339 import written
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.changes import ChangeKind, VersionChange, version_changes
from sinks.catalog_store import CatalogLoad, CatalogStore

EDITED = "price_version_edited"
REMOVED = "subscriptions_removed"
#: Percent of all subscriptions that one load may take away without a reason.
LOST_PERCENT_MAX = 50


@dataclass(frozen=True, slots=True)
class Told:
    """A change of a price version as it is shown."""

    change: VersionChange

    @property
    def sentence(self) -> str:
        """What happens; with every difference on a line of its own where one is edited."""
        change = self.change
        head = f"{change.plan} version {change.version}: {change.kind}"
        if change.kind is not ChangeKind.CHANGED:
            return f"{head}, effective {self.effective}"
        return "\n".join((head, *(f"  {each}" for each in change.differences)))

    @property
    def document(self) -> dict[str, Any]:
        """The same for programs."""
        change = self.change
        return {
            "plan": change.plan,
            "version": change.version,
            "kind": str(change.kind),
            "effective_from": self.effective,
            "rewrites_past": change.rewrites_past,
            "differences": [each._asdict() for each in change.differences],
        }

    @property
    def effective(self) -> str:
        """When it takes effect, or took."""
        known = [each for each in (self.change.before, self.change.after) if each is not None]
        return written(min(each.effective_us for each in known))


class LoadRefused(PermanentError):
    """What took effect would change; `refused` says what, and the text shows every difference."""

    def __init__(self, refused: Sequence[Told]) -> None:
        """At least one."""
        lines = [f"{told.sentence}\n  took effect {told.effective}" for told in refused]
        message = (
            "expected price versions that took effect to stay as they were loaded, got\n"
            + "\n".join(lines)
            + "\nadd a new version with its own effective_from, or use --allow-edit --reason TEXT"
        )
        super().__init__(message)
        self.refused = refused


class SubscriptionsLost(PermanentError):
    """A great part of all subscriptions is gone at once, as in a file that was cut off."""

    def __init__(self, before: int, after: int, *, percent_max: int) -> None:
        """`before` and `after` are numbers of subscriptions."""
        message = (
            f"expected at most {percent_max} % of {before} subscriptions to be gone, got "
            f"{before - after} gone, {after} left; mend the file if it was cut off, or load it by "
            "`meterline catalog load --allow-edit --reason TEXT`"
        )
        super().__init__(message)


def load_versions(
    store: CatalogStore, book: PriceBook, *, actor: str, edit_reason: str, now: datetime,
    lost_percent_max: int = LOST_PERCENT_MAX,
) -> list[Told]:  # fmt: skip
    """Store what `book` changes; what was changed. Nothing to do stores nothing.

    With an `edit_reason` versions that took effect may change, and more than `lost_percent_max` of
    the subscriptions be gone; each is audited.
    Raises `LoadRefused`, `SubscriptionsLost`, `DependencyDown`.
    """
    now_us = int(now.timestamp()) * 1_000_000
    changes = version_changes(store.versions(), book.versions(), now_us=now_us)
    edits = [change for change in changes if change.rewrites_past]
    if edits and not edit_reason:
        raise LoadRefused([Told(change) for change in edits])
    if not changes and store.newest_hash() == book.content_hash:
        return []
    before, after = store.newest_subscriptions(), len(book.subscriptions)
    is_cut = (before - after) * 100 > before * lost_percent_max
    if is_cut and not edit_reason:
        raise SubscriptionsLost(before, after, percent_max=lost_percent_max)
    load = CatalogLoad(
        catalog_hash=book.content_hash,
        meters=len(book.catalog.meters),
        plans=len(book.plans),
        plan_versions=sum(1 for _ in book.versions()),
        subscriptions=len(book.subscriptions),
        actor=actor,
        loaded_at=now,
    )
    audit = [
        AuditEntry(
            action=EDITED,
            object=f"{change.plan}/{change.version}",
            actor=actor,
            reason_code=str(ReasonCode.PRICE_CHANGE),
            note=edit_reason,
            before="" if change.before is None else change.before.content,
            after="" if change.after is None else change.after.content,
        )
        for change in edits
    ]
    if is_cut:
        audit.append(
            AuditEntry(
                action=REMOVED,
                object="subscriptions",
                actor=actor,
                reason_code=str(ReasonCode.PRICE_CHANGE),
                note=edit_reason,
                before=str(before),
                after=str(after),
            )
        )
    store.store(load, [change.stored for change in changes], audit=audit)
    return [Told(change) for change in changes]

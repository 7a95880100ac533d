"""Where corrections are drafted, submitted, approved, rejected and begun; who may do which.

Every step is one row of the audit log, which holds the step whole; the table `corrections` is
written after it. A step is taken only if the log still ends where it ended when the state was
read, so that of two people who decide at once one is told what the other did.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

from billing.corrections.policy import ApprovalPolicy, NotAllowed
from metering.audit_chain import AuditEntry
from metering.correction import NEXT, Correction, CorrectionState, ReasonCode, read_correction
from metering.errors import DependencyDown
from sinks.audit import AuditLog
from sinks.corrections import STEP_ACTION, CorrectionStore

_ATTEMPTS_MAX = 50
#: Written before the first effect of a correction; not a step of its own.
BEGUN = "apply_begun"


class Desk:
    """Corrections of one deployment. Calls may raise `NotAllowed` and `DependencyDown`."""

    def __init__(self, audit: AuditLog, store: CorrectionStore, *, policy: ApprovalPolicy) -> None:
        """`policy` says when a second person has to agree."""
        self._audit = audit
        self._store = store
        self.policy = policy

    def draft(self, found: Correction) -> Correction:
        """Write a new one down; the same id again is refused."""
        if found.reason_code is ReasonCode.OTHER and not found.note.strip():
            msg = "--note: expected a text where the reason is other, got none"
            raise NotAllowed(msg)
        for _ in range(_ATTEMPTS_MAX):
            head = self._audit.settle()
            if self._store.steps(self._audit, found.correction_id):
                msg = f"--id: expected one that is not taken, got {found.correction_id!r}"
                raise NotAllowed(msg)
            row = self._audit.append_after(head, _entry(found, before=""))
            if row is not None:
                self._store.write(row)
                return found
        raise DependencyDown(_BUSY)

    def find(self, correction_id: str) -> Correction:
        """A correction as it stands. Raises `NotAllowed` for one that is unknown."""
        self._audit.settle()
        steps = self._store.steps(self._audit, correction_id)
        if not steps:
            msg = (
                f"expected a correction that `meterline correct list` shows, got {correction_id!r}"
            )
            raise NotAllowed(msg)
        self._store.settle(self._audit)
        return read_correction(steps[-1].entry.after)

    def submit(self, correction_id: str, *, actor: str, note: str) -> Correction:
        """Ask for approval."""
        return self._move(correction_id, CorrectionState.PENDING_APPROVAL, actor=actor, note=note)

    def approve(self, correction_id: str, *, actor: str, note: str) -> Correction:
        """Agree to what somebody else asked for."""

        def check(found: Correction) -> None:
            if found.state is CorrectionState.DRAFT:
                msg = f"{correction_id}: expected one that was submitted, got a draft"
                raise NotAllowed(msg)
            self.policy.require_other(found, actor=actor)

        return self._move(
            correction_id, CorrectionState.APPROVED, actor=actor, note=note, check=check
        )

    def reject(self, correction_id: str, *, actor: str, note: str) -> Correction:
        """Decide that it is not applied; also one's own. What was begun is finished instead."""

        def check(found: Correction) -> None:
            if self.is_begun(found.correction_id):
                msg = f"{correction_id}: expected one whose applying has not begun; apply it again"
                raise NotAllowed(msg)

        return self._move(
            correction_id, CorrectionState.REJECTED, actor=actor, note=note, check=check
        )

    def begin(
        self,
        found: Correction,
        *,
        actor: str,
        exposure: Decimal,
        events: Sequence[str] = (),
    ) -> Correction:
        """Approve by policy what needs nobody else, and write down that its effects begin.

        `exposure` is what moves by what is known now; `events` are identities (hexadecimal) that
        no other correction may have begun to take back. Beginning again is no step.
        """
        if self.is_begun(found.correction_id):
            return found
        second = any(
            each.state is CorrectionState.APPROVED and each.actor != each.author
            for each in self._history(found.correction_id)
        )
        self.policy.require_covered(found, exposure=exposure, is_second=second)
        if found.state is CorrectionState.DRAFT:
            note = f"{exposure} {found.currency}".strip() + " need no second person"
            found = self._move(
                found.correction_id, CorrectionState.APPROVED, actor=actor, note=note,
                check=_only_author(actor),
            )  # fmt: skip
        for _ in range(_ATTEMPTS_MAX):
            head = self._audit.settle()
            found = self.find(found.correction_id)
            require_next(found, CorrectionState.APPLIED)
            self._require_free(found.correction_id, events)
            entry = _entry(found, before=found.document())
            if self._audit.append_after(head, entry._replace(action=BEGUN, actor=actor)):
                return found
        raise DependencyDown(_BUSY)

    def finish(self, correction_id: str, *, actor: str) -> Correction:
        """All effects stand: the last step. Finishing again is none."""
        found = self.find(correction_id)
        if found.state is CorrectionState.APPLIED:
            return found
        return self._move(correction_id, CorrectionState.APPLIED, actor=actor, note=found.note)

    def is_begun(self, correction_id: str) -> bool:
        """Whether some of its effects may stand already, so that it has to be finished."""
        condition = "object = %(id)s AND action = %(action)s"
        return any(self._audit.rows(condition, id=correction_id, action=BEGUN))

    def _require_free(self, correction_id: str, events: Sequence[str]) -> None:
        condition = "action = %(action)s AND object != %(id)s AND position(after, %(event)s) > 0"
        for event in events:
            known = {"id": correction_id, "action": BEGUN, "event": event}
            for row in self._audit.rows(condition, **known):
                msg = (
                    f"{correction_id}: expected events that no other correction takes back, got "
                    f"one of {row.entry.object}; reject this one"
                )
                raise NotAllowed(msg)

    def _history(self, correction_id: str) -> list[Correction]:
        rows = self._store.steps(self._audit, correction_id)
        return [read_correction(row.entry.after) for row in rows]

    def _move(
        self,
        correction_id: str,
        to: CorrectionState,
        *,
        actor: str,
        note: str,
        check: Callable[[Correction], None] = lambda _found: None,
    ) -> Correction:
        for _ in range(_ATTEMPTS_MAX):
            head = self._audit.settle()
            found = self.find(correction_id)
            require_next(found, to)
            check(found)
            moved = found.moved(to, actor=actor, note=note or found.note)
            row = self._audit.append_after(head, _entry(moved, before=found.document()))
            if row is not None:
                self._store.write(row)
                return moved
        raise DependencyDown(_BUSY)


_BUSY = "Redis is asked by too many writers of the audit log at once; repeat the command"


def require_next(found: Correction, to: CorrectionState) -> None:
    """Raise `NotAllowed` unless `to` may follow the state of a correction."""
    if to not in NEXT[found.state]:
        allowed = ", ".join(sorted(NEXT[found.state])) or "nothing"
        msg = f"{found.correction_id} is {found.state}: expected {allowed} to follow, got {to}"
        raise NotAllowed(msg)


def _entry(found: Correction, *, before: str) -> AuditEntry:
    action = f"{STEP_ACTION}{found.state}"
    return AuditEntry(
        action, found.correction_id, found.actor, str(found.reason_code), found.note, before,
        found.document(),
    )  # fmt: skip


def _only_author(actor: str) -> Callable[[Correction], None]:
    def check(found: Correction) -> None:
        if actor != found.author:
            msg = (
                f"{found.correction_id} is a draft: expected its author {found.author} to apply "
                f"it, got {actor}"
            )
            raise NotAllowed(msg)

    return check

"""Who may take which step of a correction; over a log in memory, which is raced on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.corrections.desk import BEGUN, Desk
from billing.corrections.policy import ApprovalPolicy, NotAllowed
from metering.audit_chain import NO_HEAD, AuditEntry, AuditRow, Head, sealed, walk
from metering.correction import (
    NEXT,
    Correction,
    CorrectionKind,
    CorrectionState,
    ReasonCode,
    read_correction,
)
from metering.errors import SettingsInvalid
from sinks.corrections import STEP_ACTION

S = CorrectionState


class MemoryLog:
    """An audit log; `meanwhile` runs once, between a look at the head and the next row."""

    def __init__(self) -> None:
        self.log: list[AuditRow] = []
        self.meanwhile: Callable[[], None] | None = None

    def settle(self) -> Head:
        return self.log[-1].head if self.log else NO_HEAD

    def append_after(self, head: Head, entry: AuditEntry) -> AuditRow | None:
        if self.meanwhile is not None:
            act, self.meanwhile = self.meanwhile, None
            act()
        if head != self.settle():
            return None
        self.log.append(sealed(entry, after=head, recorded_us=len(self.log)))
        return self.log[-1]

    def rows(self, condition: str, **known: Any) -> Iterator[AuditRow]:
        for row in list(self.log):
            same = (row.entry.object == known["id"]) != ("object !=" in condition)
            action = known.get("action", row.entry.action)
            if same and row.entry.action == action and known.get("event", "") in row.entry.after:
                yield row


class MemoryStore:
    """Copies of steps."""

    def __init__(self) -> None:
        self.written: list[AuditRow] = []

    def settle(self, audit: MemoryLog) -> None:
        steps = [row for row in audit.log if row.entry.action.startswith(STEP_ACTION)]
        self.written += [row for row in steps if row not in self.written]

    def write(self, row: AuditRow) -> None:
        self.written.append(row)

    def steps(self, audit: MemoryLog, correction_id: str) -> list[AuditRow]:
        return [
            row for row in audit.rows("", id=correction_id)
            if row.entry.action.startswith(STEP_ACTION)
        ]  # fmt: skip


def correction(exposure: str = "5", name: str = "c-1", **changes: Any) -> Correction:
    found = Correction(
        name, 1, S.DRAFT, CorrectionKind.RETRACT, "org", "2026-06", 0, "place",
        '{"events":["e1e1"]}', "ada", "ada",
        ReasonCode.DUPLICATE_USAGE, "", Decimal(exposure), "USD", 1,
    )  # fmt: skip
    return Correction(**{**{name: getattr(found, name) for name in found.__slots__}, **changes})


def desk(threshold: str = "10") -> tuple[Desk, MemoryLog]:
    audit, store = MemoryLog(), MemoryStore()
    made = Desk(audit, store, policy=ApprovalPolicy.read(threshold))  # type: ignore[arg-type]
    return made, audit


@given(st.lists(st.sampled_from(["submit", "approve", "reject", "begin", "finish"]), max_size=12),
       st.lists(st.sampled_from(["ada", "bob"]), min_size=12, max_size=12),
       st.sampled_from(["5", "10", "10.01", "500"]))  # fmt: skip
def test_whatever_is_tried_the_order_of_states_and_the_policy_hold(
    tried: list[str], actors: list[str], exposure: str
) -> None:
    at, audit = desk()
    at.draft(correction(exposure))
    for verb, actor in zip(tried, actors, strict=False):
        try:
            if verb == "begin":
                at.begin(at.find("c-1"), actor=actor, exposure=Decimal(exposure), events=["e1e1"])
            elif verb == "finish":
                if at.is_begun("c-1"):
                    at.finish("c-1", actor=actor)
            else:
                getattr(at, verb)("c-1", actor=actor, note="")
        except NotAllowed:
            continue
    rows = [row for row in audit.log if row.entry.action.startswith(STEP_ACTION)]
    steps = [read_correction(row.entry.after) for row in rows]
    assert [each.step for each in steps] == list(range(1, len(steps) + 1))
    for before, after in pairwise(steps):
        assert after.state in NEXT[before.state]
    if any(each.state is S.APPLIED for each in steps):
        (approved,) = [each for each in steps if each.state is S.APPROVED]
        assert Decimal(exposure) <= 10 or approved.actor != "ada"
        begun = next(at for at, row in enumerate(audit.log) if row.entry.action == BEGUN)
        assert audit.log[begun].seq < rows[-1].seq, "it is written down before it takes effect"
    assert walk(audit.log).faults == []


def test_nobody_approves_what_is_their_own() -> None:
    at, _ = desk()
    at.draft(correction("50"))
    at.submit("c-1", actor="ada", note="")
    with pytest.raises(NotAllowed, match="somebody else than its author, got ada"):
        at.approve("c-1", actor="ada", note="")
    with pytest.raises(NotAllowed, match="more than 10 needs the approval of another person"):
        at.begin(at.find("c-1"), actor="ada", exposure=Decimal(50))
    at.approve("c-1", actor="bob", note="")
    with pytest.raises(NotAllowed, match=r"50 USD were approved, and 50.01 would move now"):
        at.begin(at.find("c-1"), actor="ada", exposure=Decimal("50.01"))
    at.begin(at.find("c-1"), actor="ada", exposure=Decimal(50))


def test_a_small_draft_is_applied_by_its_author_only() -> None:
    at, audit = desk()
    at.draft(correction("10"))
    with pytest.raises(NotAllowed, match="expected its author ada to apply it, got bob"):
        at.begin(at.find("c-1"), actor="bob", exposure=Decimal(10))
    with pytest.raises(NotAllowed, match=r"10.01 USD would move"):
        at.begin(at.find("c-1"), actor="ada", exposure=Decimal("10.01"))
    at.begin(at.find("c-1"), actor="ada", exposure=Decimal(10))
    rows = len(audit.log)
    at.begin(at.find("c-1"), actor="ada", exposure=Decimal(10))
    assert at.finish("c-1", actor="ada").state is S.APPLIED
    assert at.finish("c-1", actor="ada").state is S.APPLIED
    assert len(audit.log) == rows + 1


def test_of_two_who_decide_at_once_one_is_told_what_the_other_did() -> None:
    at, audit = desk()
    at.draft(correction("50"))
    at.submit("c-1", actor="ada", note="")

    def meanwhile() -> None:
        at.reject("c-1", actor="eve", note="no")

    audit.meanwhile = meanwhile
    with pytest.raises(NotAllowed, match="c-1 is rejected: expected nothing to follow"):
        at.approve("c-1", actor="bob", note="")
    assert at.find("c-1").actor == "eve"
    assert walk(audit.log).faults == []


def test_what_begins_may_not_be_rejected_meanwhile_and_the_other_way_round() -> None:
    for first, second in product(("begin", "reject"), repeat=2):
        if first == second:
            continue
        at, audit = desk()
        at.draft(correction("5"))

        def act(verb: str, at: Desk = at) -> None:
            if verb == "begin":
                at.begin(at.find("c-1"), actor="ada", exposure=Decimal(5))
            else:
                at.reject("c-1", actor="ada", note="")

        audit.meanwhile = partial(act, second)
        with pytest.raises(NotAllowed):
            act(first)
        assert at.is_begun("c-1") == (second == "begin")


def test_an_event_is_taken_back_by_one_correction() -> None:
    at, audit = desk()
    for name in ("c-1", "c-2"):
        at.draft(correction("5", name=name))
    one, two = at.find("c-1"), at.find("c-2")

    def other() -> None:
        at.begin(two, actor="ada", exposure=Decimal(5), events=["e1e1"])

    audit.meanwhile = other
    with pytest.raises(NotAllowed, match="no other correction takes back, got one of c-2"):
        at.begin(one, actor="ada", exposure=Decimal(5), events=["e1e1"])


def test_a_step_that_a_crash_left_out_is_written_by_who_looks_next() -> None:
    at, audit = desk()
    at.draft(correction("5"))
    moved = at.find("c-1").moved(S.PENDING_APPROVAL, actor="ada", note="")
    entry = AuditEntry(f"{STEP_ACTION}{moved.state}", "c-1", "ada", "x", "", "", moved.document())
    row = audit.append_after(audit.settle(), entry)
    assert at.find("c-1") == moved
    assert at._store.written[-1] == row  # type: ignore[attr-defined]


def test_every_transition_is_in_the_table_once() -> None:
    assert set(NEXT) == set(S)
    assert {state for state in S if not NEXT[state]} == {S.APPLIED, S.REJECTED}
    reached = {S.DRAFT}
    for _ in S:
        reached |= {after for before in reached for after in NEXT[before]}
    assert reached == set(S)


@pytest.mark.parametrize(
    ("text", "currency", "threshold"),
    [
        ("500", "USD", "500"), ("USD=500 JPY=70000", "JPY", "70000"), ("USD=500", "EUR", "0"),
        ("USD=500,20.5", "EUR", "20.5"), ("", "USD", "0"),
    ],
)  # fmt: skip
def test_a_threshold_is_read(text: str, currency: str, threshold: str) -> None:
    policy = ApprovalPolicy.read(text)
    assert policy.threshold(currency) == Decimal(threshold)
    assert not policy.needs_approval(Decimal(threshold), currency)
    assert policy.needs_approval(Decimal(threshold) + Decimal("0.01"), currency)


@pytest.mark.parametrize("text", ["1e3", "USD=", "usd=5", "-5", "USD=5x", "5.00001"])
def test_a_threshold_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="METERLINE_APPROVAL_THRESHOLD"):
        ApprovalPolicy.read(text)

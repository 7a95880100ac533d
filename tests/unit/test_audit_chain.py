"""The chain of the audit log: whatever is changed, removed or put in is found."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from metering.audit_chain import (
    NO_HEAD,
    AuditEntry,
    AuditRow,
    canonical_json,
    read,
    row_hash,
    sealed,
    walk,
    written,
)

TEXTS = st.text(max_size=12)
ENTRIES = st.builds(AuditEntry, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
LOGS = st.lists(st.tuples(ENTRIES, st.integers(0, 2**52)), min_size=1, max_size=8)


def log(entries: list[tuple[AuditEntry, int]]) -> list[AuditRow]:
    rows: list[AuditRow] = []
    head = NO_HEAD
    for entry, recorded_us in entries:
        rows.append(sealed(entry, after=head, recorded_us=recorded_us))
        head = rows[-1].head
    return rows


@given(LOGS)
def test_a_log_that_nobody_touched_holds_and_may_be_read_again(
    entries: list[tuple[AuditEntry, int]],
) -> None:
    rows = log(entries)
    found = walk(rows, [each.head for each in rows])
    assert (found.faults, found.rows, found.head) == ([], len(rows), rows[-1].head)
    assert [read(written(each)) for each in rows] == rows
    twice = [each for row in rows for each in (row, row)]
    assert walk(twice, [rows[-1].head]).faults == [], "what was sent again is one row"


@given(LOGS, st.data())
def test_one_field_of_one_row_that_was_changed_is_found(
    entries: list[tuple[AuditEntry, int]], data: st.DataObject
) -> None:
    rows = log(entries)
    at = data.draw(st.integers(0, len(rows) - 1))
    field = data.draw(st.sampled_from([*AuditEntry._fields, "recorded_us"]))
    row = rows[at]
    if field == "recorded_us":
        changed = row._replace(recorded_us=row.recorded_us + 1)
    else:
        entry = row.entry._replace(**{field: getattr(row.entry, field) + "x"})
        changed = row._replace(entry=entry)
    rows[at] = changed
    assert any(each.seq == changed.seq for each in walk(rows, [rows[-1].head]).faults)
    # who changes a row and seals it again has to seal all that follow, and the head that was kept
    rows[at] = changed._replace(hash=row_hash(changed))
    assert walk(rows, [row.head]).faults
    if at + 1 < len(rows):
        assert walk(rows).faults


@given(LOGS, st.data())
def test_a_row_that_was_removed_is_found_also_the_last(
    entries: list[tuple[AuditEntry, int]], data: st.DataObject
) -> None:
    rows = log(entries)
    head = rows[-1].head
    first = data.draw(st.integers(0, len(rows) - 1))
    last = data.draw(st.integers(first + 1, len(rows)))
    del rows[first:last]
    assert walk(rows, [head]).faults


@given(LOGS, ENTRIES, st.data())
def test_a_row_that_was_put_in_is_found(
    entries: list[tuple[AuditEntry, int]], entry: AuditEntry, data: st.DataObject
) -> None:
    rows = log(entries)
    at = data.draw(st.integers(0, len(rows) - 1))
    before = rows[at - 1].head if at else NO_HEAD
    forged = sealed(entry, after=before, recorded_us=7)
    if forged == rows[at]:
        return
    mixed = sorted([*rows, forged], key=lambda row: (row.seq, row.hash))
    assert walk(mixed, [rows[-1].head]).faults
    moved = rows[:at] + [forged] + [row._replace(seq=row.seq + 1) for row in rows[at:]]
    assert walk(moved, [rows[-1].head]).faults


def test_the_hash_is_that_of_the_previous_one_and_the_canonical_row() -> None:
    row = sealed(AuditEntry("a", "o", "ada", "other", "n"), after=NO_HEAD, recorded_us=5)
    text = (
        '{"action":"a","actor":"ada","after":"","before":"","note":"n","object":"o",'
        '"reason_code":"other","recorded_us":5,"seq":1}'
    )
    assert row.hash == sha256(("0" * 64 + text).encode()).hexdigest()
    assert canonical_json({"b": 1, "a": "\u00e9"}) == '{"a":"\u00e9","b":1}'


def test_an_empty_log_holds() -> None:
    assert walk([], [NO_HEAD]).faults == []

"""The audit log as a chain: each row is sealed with a hash of itself and of the row before.

    hash = SHA-256(previous hash, as 64 hexadecimal digits + canonical JSON of the row)

The first row follows 64 zeros. Who has the newest number and hash can tell whether any row was
changed, removed or put in since; who keeps them elsewhere can also tell whether the last are gone.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

#: What the first row follows.
NO_HASH = "0" * 64


class AuditEntry(NamedTuple):
    """What a person (or the steward) does; `before` and `after` are canonical JSON, "" for nothing.

    `action` is a predicate (`price_version_edited`) about an `object` (`growth/1`).
    """

    action: str
    object: str
    actor: str
    reason_code: str
    note: str
    before: str = ""
    after: str = ""


class Head(NamedTuple):
    """The newest row: its number, 0 where there is none, and its hash."""

    seq: int
    hash: str

    def __str__(self) -> str:
        """As it is noted and asked for: SEQ:HASH."""
        return f"{self.seq}:{self.hash}"


NO_HEAD = Head(0, NO_HASH)


class AuditRow(NamedTuple):
    """A sealed entry; `recorded_us` is Unix microseconds UTC, numbers count from 1."""

    seq: int
    recorded_us: int
    entry: AuditEntry
    previous_hash: str
    hash: str

    @property
    def head(self) -> Head:
        """The log's head while this is its newest row."""
        return Head(self.seq, self.hash)


def canonical_json(document: Any) -> str:
    """`document` as JSON in one form: keys sorted, no blanks. Decimals have to be texts."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()


def sealed(entry: AuditEntry, *, after: Head, recorded_us: int) -> AuditRow:
    """The row that follows `after`."""
    row = AuditRow(after.seq + 1, recorded_us, entry, after.hash, "")
    return row._replace(hash=row_hash(row))


def row_hash(row: AuditRow) -> str:
    """What the hash of a row has to be."""
    document = {"seq": row.seq, "recorded_us": row.recorded_us, **row.entry._asdict()}
    return hashlib.sha256((row.previous_hash + canonical_json(document)).encode()).hexdigest()


def written(row: AuditRow) -> str:
    """A row as one text, from which `read` makes it again."""
    return canonical_json([row.seq, row.recorded_us, list(row.entry), row.previous_hash, row.hash])


def read(text: str | bytes) -> AuditRow:
    """The row that `written` made a text of."""
    seq, recorded_us, entry, previous_hash, found = orjson.loads(text)
    return AuditRow(seq, recorded_us, AuditEntry(*entry), previous_hash, found)


class ChainFault(NamedTuple):
    """Where the chain does not hold, and how."""

    seq: int
    what: str


@dataclass(slots=True)
class ChainResult:
    """What a walk along the chain found. `head` is the last row that was seen."""

    rows: int = 0
    head: Head = NO_HEAD
    faults: list[ChainFault] = field(default_factory=list)


def walk(rows: Iterable[AuditRow], kept: Iterable[Head] = ()) -> ChainResult:
    """Look at every row; `rows` ascend by number, then hash. `kept` are heads noted elsewhere.

    A row that is there twice, equal in everything, is one: it was sent again. A head that is kept
    has to be the hash of the row with its number, so it also tells of rows missing at the end.
    """
    found = ChainResult()
    wanted = {(head.seq, head.hash) for head in kept if head.seq}
    unseen = dict.fromkeys(sorted(wanted))
    before: AuditRow | None = None
    for row in rows:
        if row == before:
            continue
        found.rows += 1
        _look(found, row, before=before)
        unseen.pop((row.seq, row.hash), None)
        found.head = row.head
        before = row
    for seq, expected in unseen:
        what = (
            f"expected the hash {expected[:12]} that was kept elsewhere, got another row or none; "
            f"the log ends with number {found.head.seq}"
        )
        found.faults.append(ChainFault(seq, what))
    return found


def _look(found: ChainResult, row: AuditRow, *, before: AuditRow | None) -> None:
    last = NO_HEAD if before is None else before.head
    if row_hash(row) != row.hash:
        what = f"expected the hash {row_hash(row)[:12]} of its content, got {row.hash[:12]}"
        found.faults.append(ChainFault(row.seq, f"the row was changed: {what}"))
    if row.seq == last.seq:
        what = f"two rows have this number: {last.hash[:12]} and {row.hash[:12]}"
        found.faults.append(ChainFault(row.seq, what))
    elif row.seq != last.seq + 1:
        missing = f"rows {last.seq + 1} to {row.seq - 1} are missing"
        found.faults.append(ChainFault(last.seq + 1, missing))
    elif row.previous_hash != last.hash:
        what = f"expected to follow {last.hash[:12]}, got {row.previous_hash[:12]}"
        found.faults.append(ChainFault(row.seq, f"a row was put in or replaced: {what}"))

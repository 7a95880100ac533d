"""What must be true at the end of a run, worked out from the log alone with plain dicts.

Where copies of one identity lie on several partitions, or a value of a unique count does, the log
does not say which copy comes first: raw history chooses among them, and all else follows.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from simulator.clickhouse_model import Coordinate, RawRow, Tables, TotalsKey, TotalsRow
from simulator.clickhouse_reads import month_of
from simulator.traffic import LATENESS, ONE, Event, Partition, Refused

_LATENESS_MS = int(LATENESS.total_seconds() * 1000)
_NOBODY = bytes(16)
CONFLICT = "identity_must_not_repeat_with_other_payload"


@dataclass(slots=True)
class Problems:
    """What is not as it must be. `raw`, which events are accepted, is never excused."""

    raw: list[str] = field(default_factory=list)
    totals: list[str] = field(default_factory=list)  # and the rated columns of raw
    places: list[str] = field(default_factory=list)  # what became of each offset

    def __bool__(self) -> bool:
        return bool(self.raw or self.totals or self.places)

    def all(self) -> list[str]:
        """Every one, the worst first."""
        return [*self.raw, *self.totals, *self.places]


class Oracle:
    """Knows the log of a run."""

    def __init__(self, log: Iterable[Partition]) -> None:
        self._log = list(log)
        self._events = {e.coordinate: e for part in self._log for e in part.events}
        self._copies: dict[bytes, list[Event]] = defaultdict(list)
        values: dict[tuple[str, str, str, int, str], set[int]] = defaultdict(set)
        for event in self._events.values():
            self._copies[event.identity].append(event)
            values[_value_key(event)].add(event.partition)
        self._value_partitions = values

    @property
    def has_cross(self) -> bool:
        """Whether any identity or counted value lies on several partitions."""
        return any(_is_cross(copies) for copies in self._copies.values()) or any(
            len(found) > 1 for key, found in self._value_partitions.items() if key[-1]
        )

    def judges_anew(self, before: Tables, after: Tables) -> bool:
        """Whether all that differs is how copies of identities on several partitions were judged.

        As duplicates, or as conflicts; nothing that was judged is gone.
        """
        changed = before.duplicates.keys() ^ after.duplicates.keys()
        changed |= before.rejected.keys() ^ after.rejected.keys()
        return (
            before.duplicates.items() <= after.duplicates.items()
            and before.rejected.items() <= after.rejected.items()
            and (before.suppressed, before.gaps) == (after.suppressed, after.gaps)
            and all(after.rejected.get(at, CONFLICT) == CONFLICT for at in changed)
            and all(
                at in self._events and _is_cross(self._copies[self._events[at].identity])
                for at in changed
            )
        )

    def check(self, tables: Tables, *, is_strict: bool) -> Problems:
        """`is_strict`: no claim was ever lost, so every coordinate has exactly one outcome."""
        problems = Problems()
        rows = sorted((row for row, _ in tables.raw.values()), key=lambda row: row.coordinate)
        problems.raw = list(self._check_raw(rows))
        if problems.raw:
            return problems
        problems.totals = [
            *self._check_counted(rows), *_check_before(rows), *_check_totals(rows, tables.totals),
        ]  # fmt: skip
        problems.places = [
            *self._check_places(rows, tables, is_strict=is_strict),
            *self._check_watermarks(tables),
        ]
        return problems

    def _check_raw(self, rows: list[RawRow]) -> Iterable[str]:
        found: dict[bytes, RawRow] = {}
        for row in rows:
            if row.identity in found:
                yield f"raw holds {row.identity.hex()[:6]} twice"
            found[row.identity] = row
            event = self._events.get(row.coordinate)
            if event is None or event.identity != row.identity:
                yield f"raw holds what was never sent: {row}"
                continue
            told = (
                row.customer, row.meter, row.group, row.units, row.occurred_us, row.record_ms,
                row.disregarded, row.late,
            )  # fmt: skip
            expected = (
                event.customer, event.meter, event.group, event.units, event.occurred_us,
                event.record_ms, event.disregarded, _is_late(event),
            )  # fmt: skip
            if told != expected:
                yield f"raw differs from the log at {row.coordinate}: {told} != {expected}"
        for identity, copies in self._copies.items():
            if identity not in found:
                yield f"lost: {copies}"
            elif not _is_cross(copies):
                first = min(copies, key=lambda event: event.coordinate)
                if found[identity].coordinate != first.coordinate:
                    yield f"not the first of its partition: {found[identity]}, but {first}"

    def _check_counted(self, rows: list[RawRow]) -> Iterable[str]:
        by_value: dict[tuple[str, str, str, int, str], list[RawRow]] = defaultdict(list)
        for row in rows:
            event = self._events.get(row.coordinate)
            if event is None or row.disregarded:
                continue
            if row.meter == "m_unique":
                by_value[_value_key(event)].append(row)
            elif not row.counted:
                yield f"not counted although no value is: {row}"
        for key, some in by_value.items():
            counted = [row for row in some if row.counted]
            if len(counted) != 1:
                yield f"value {key} counted {len(counted)} times: {some}"
            elif len(self._value_partitions[key]) == 1 and counted[0] is not some[0]:
                yield f"value {key} counted at {counted[0].coordinate}, first {some[0].coordinate}"

    def _check_places(
        self, rows: list[RawRow], tables: Tables, *, is_strict: bool
    ) -> Iterable[str]:
        accepted = {row.identity: self._events[row.coordinate] for row in rows}
        for part in self._log:
            for entry in part.entries:
                if isinstance(entry, Refused):
                    at = (entry.partition, entry.offset, 0)
                    held = tables.suppressed if entry.rule else tables.rejected
                    if at not in held:
                        yield f"no outcome: {entry}"
                    continue
                for event in entry:
                    one = is_strict or not _is_cross(self._copies[event.identity])
                    yield from _check_place(event, accepted, tables, is_exact=one)
            gaps = set(range(part.end)) - set(part.offsets)
            told = {
                at for number, first, following in tables.gaps if number == part.number
                for at in range(first, following)
            }  # fmt: skip
            if told != gaps:
                yield f"gaps of {part.number}: expected {gaps}, got {told}"
        outcomes = (*tables.duplicates, *tables.rejected, *tables.suppressed)
        known = set(self._events) | {
            (e.partition, e.offset, 0) for part in self._log for e in part.entries
            if isinstance(e, Refused)
        }  # fmt: skip
        if not known.issuperset(outcomes):
            yield f"outcomes of what was never sent: {set(outcomes) - known}"

    def _check_watermarks(self, tables: Tables) -> Iterable[str]:
        for part in self._log:
            if not part.end:
                continue
            first, following, reached = tables.watermarks.get(part.number, (-1, -1, -1))
            if (first, following) != (0, part.end):
                yield f"durable {first}..{following} of partition {part.number}, end {part.end}"
            seen = max((min(e.occurred_us // 1000, e.record_ms) for e in part.events), default=0)
            if reached < seen - _LATENESS_MS:
                yield f"watermark of {part.number}: {reached} < {seen} - {_LATENESS_MS}"


def _check_place(
    event: Event, accepted: dict[bytes, Event], tables: Tables, *, is_exact: bool
) -> Iterable[str]:
    at, winner = event.coordinate, accepted[event.identity]
    told = {
        "accepted": winner.coordinate == at,
        "duplicate": at in tables.duplicates,
        "conflict": tables.rejected.get(at) == CONFLICT,
    }
    outcomes = [name for name, is_told in told.items() if is_told]
    if not is_exact:
        if not outcomes:
            yield f"no outcome: {event}"
        return
    expected = "duplicate" if winner.payload == event.payload else "conflict"
    if winner.coordinate == at:
        expected = "accepted"
    if outcomes != [expected]:
        yield f"expected {expected}, got {outcomes}: {event}"


def _check_before(rows: list[RawRow]) -> Iterable[str]:
    """`cumulative_before` follows from what was accepted before on the same partition."""
    units: dict[tuple[int, str, str, str, int], list[RawRow]] = defaultdict(list)
    for row in rows:
        if row.disregarded:
            if row.before:
                yield f"before of a disregarded event is not 0: {row}"
            continue
        key = (row.partition, row.customer, row.meter, row.group, month_of(row.occurred_us))
        earlier = units[key]
        expected = _value(row.meter, earlier)
        if row.before != expected:
            yield f"before is {row.before}, expected {expected}: {row}"
        earlier.append(row)


def _check_totals(rows: list[RawRow], told: dict[TotalsKey, TotalsRow]) -> Iterable[str]:
    cells: dict[TotalsKey, list[RawRow]] = defaultdict(list)
    for row in rows:
        if not row.disregarded:
            window = row.occurred_us // 3_600_000_000 * 3600
            cells[(row.customer, row.meter, row.group, window, row.partition)].append(row)
    for key in {**cells, **told}:
        some, total = cells.get(key, []), told.get(key)
        if not some or total is None:
            yield f"totals and raw differ: {total} against {some}"
            continue
        last = max(some, key=lambda row: (row.occurred_us, row.identity))
        expected = TotalsRow(
            *key, _value(key[1], some), len(some), sum(row.late for row in some),
            min(row.occurred_us for row in some), last.occurred_us,
            last.identity if key[1] == "m_latest" else _NOBODY, total.absorbed,
        )  # fmt: skip
        if total != expected:
            yield f"expected {expected}, got {total}"
        if total.absorbed < max(row.offset for row in some):
            yield f"absorbed before its last event: {total}"


def _value(meter: str, rows: Sequence[RawRow]) -> int:
    if not rows:
        return 0
    if meter == "m_sum":
        return sum(row.units for row in rows)
    if meter == "m_count":
        return ONE * len(rows)
    if meter == "m_max":
        return max(row.units for row in rows)
    if meter == "m_latest":
        return max(rows, key=lambda row: (row.occurred_us, row.identity)).units
    return ONE * sum(row.counted for row in rows)


def _value_key(event: Event) -> tuple[str, str, str, int, str]:
    month = month_of(event.occurred_us)
    return (event.customer, event.meter, event.group, month, event.value)


def _is_cross(copies: list[Event]) -> bool:
    return len({event.partition for event in copies}) > 1


def _is_late(event: Event) -> bool:
    return event.record_ms * 1000 - event.occurred_us > _LATENESS_MS * 1000


def contents(tables: Tables) -> tuple[object, ...]:
    """Everything that a replay must leave as it is."""
    raw: dict[Coordinate, RawRow] = {row.coordinate: row for row, _ in tables.raw.values()}
    return (
        raw, dict(tables.totals), dict(tables.duplicates), dict(tables.rejected),
        dict(tables.suppressed), set(tables.gaps),
    )  # fmt: skip

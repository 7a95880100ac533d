"""Runs the steps of detection: copy hours, build marks and references, judge, read breaches.

    steps                what a crash after each leaves
    1 hours, names       copied from totals; copied again from where they were noted
    2 marks, references  built for marks that are not noted yet; built again, equal
    3 strays             judged again, equal
    4 progress           nothing to do

Only whole hours before `complete_to` are judged: a window that is not over yet, or not complete,
is never compared with one that is.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from alerts.breaches import BREACHES, Breach, meter_parameters
from alerts.judgement import STRAY_WEEKS, STRAYS
from alerts.marks import BUILD_LATE_MARKS, BUILD_MARKS, COPY_HOURS, MARKS_MAX, NAME_PAIRS
from alerts.references import BUILD_REFERENCES
from metering.catalog import Catalog
from sinks.clickhouse import INSERT_SETTINGS, clickhouse_errors

_HOUR = timedelta(hours=1)
#: Hours that are compared with, and as much before them to know what is normal.
HISTORY = timedelta(weeks=9)
#: How long a row may be on its way into the table after it said when it was written.
_OVERLAP = timedelta(minutes=2)
#: Breaches of one check; more are one incident, not news of customers.
BREACHES_MAX = 10_000
#: Marks of a week, and how many (mark, pair) one statement judges.
_WEEK = 168
_PAIRS_AT_ONCE = 2_000_000
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class Judged(NamedTuple):
    """Breaches at `mark`, the last whole hour that is complete (None: there is none yet)."""

    mark: datetime | None
    complete_to: datetime
    breaches: list[Breach]
    has_more: bool


class Detection:
    """Looks for spikes, drops and silence; all that it remembers is in ClickHouse."""

    def __init__(self, client: Client, catalog: Catalog) -> None:
        self._client = client
        self._catalog = catalog

    def judge(self) -> Judged:
        """Bring everything up to what is complete now. Raises `DependencyDown`."""
        complete_to = self._complete_to()
        mark = complete_to.replace(minute=0, second=0, microsecond=0)
        done = self._progress()
        oldest = mark - HISTORY
        if complete_to <= _NEVER:
            return Judged(None, complete_to, [], has_more=False)
        asked = self._now()
        since = max(done.get("hours", _NEVER) - _OVERLAP, _NEVER)
        copied = {"since": since, "oldest": oldest}
        self._write(COPY_HOURS, copied)
        self._write(NAME_PAIRS, copied)
        marked = min(done.get("marks", _NEVER), mark)
        if marked > oldest:
            self._late(copied, marked)
        begin = max(marked + _HOUR, oldest)
        for first, last in _spans(begin, mark, count=MARKS_MAX):
            self._build(BUILD_MARKS, first, last=last)
        for first, last in _spans(begin, mark, count=self._judged_at_once()):
            self._build(BUILD_REFERENCES, first - _HOUR, last=last - _HOUR)
            self._build(STRAYS, first, last=last)
            self._build(STRAY_WEEKS, first, last=last)
        self._note("hours", asked)
        self._note("marks", mark)
        breaches = self.breaches(mark, last=mark)
        return Judged(mark, complete_to, breaches, has_more=len(breaches) >= BREACHES_MAX)

    def breaches(self, first: datetime, *, last: datetime) -> list[Breach]:
        """Breaches at marks `first` to `last`, new ones first."""
        parameters = {
            "first": first, "last": last, "limit": BREACHES_MAX, **meter_parameters(self._catalog),
        }  # fmt: skip
        with clickhouse_errors("reading which windows breach"):
            rows = self._client.query(BREACHES, parameters=parameters).result_rows
        return [Breach(*row) for row in rows]

    def _late(self, copied: dict[str, datetime], marked: datetime) -> None:
        """Build marks of hours that usage came to after they were built, of its pairs only."""
        parameters = {**copied, "marked": marked}
        with clickhouse_errors("looking for late usage"):
            rows = self._client.query(
                "SELECT min(window_start), max(window_start), count() FROM usage_totals"
                " WHERE updated_at >= {since:DateTime('UTC')}"
                " AND window_start >= {oldest:DateTime('UTC')}"
                " AND window_start < {marked:DateTime('UTC')}",
                parameters=parameters,
            ).result_rows
        earliest, latest, count = rows[0]
        if not count:
            return
        first = _utc(earliest).replace(minute=0, second=0) + _HOUR
        until = min(marked, _utc(latest) + timedelta(hours=168))
        for begins, last in _spans(first, until, count=MARKS_MAX):
            for statement in (BUILD_LATE_MARKS, BUILD_REFERENCES):
                self._write(statement, {**parameters, "first": begins, "last": last})

    def _judged_at_once(self) -> int:
        """Marks that fit into one statement: each takes all pairs and their references."""
        with clickhouse_errors("counting pairs"):
            pairs = self._client.query("SELECT count() FROM usage_pairs").result_rows[0][0]
        return max(1, min(_WEEK, _PAIRS_AT_ONCE // max(int(pairs), 1)))

    def _build(self, statement: str, first: datetime, *, last: datetime) -> None:
        self._write(statement, {"first": first, "last": last})

    def _write(self, statement: str, parameters: dict[str, datetime]) -> None:
        with clickhouse_errors("detecting anomalies"):
            self._client.command(statement, parameters=parameters, settings=INSERT_SETTINGS)

    def _complete_to(self) -> datetime:
        with clickhouse_errors("reading what is complete"):
            found = self._client.query("SELECT complete_to FROM complete_to").result_rows
        return _utc(found[0][0])

    def _now(self) -> datetime:
        with clickhouse_errors("asking for the time"):
            found: datetime = self._client.query("SELECT now()").result_rows[0][0]
        return _utc(found)

    def _progress(self) -> dict[str, datetime]:
        with clickhouse_errors("reading how far detection has come"):
            rows = self._client.query(
                "SELECT step, max(done_to) FROM alert_progress GROUP BY step"
            ).result_rows
        return {str(step): _utc(moment) for step, moment in rows}

    def _note(self, step: str, moment: datetime) -> None:
        with clickhouse_errors("noting how far detection has come"):
            self._client.insert(
                "alert_progress", [[step, moment]], column_names=["step", "done_to"],
                settings=INSERT_SETTINGS,
            )  # fmt: skip


def _spans(first: datetime, last: datetime, *, count: int) -> list[tuple[datetime, datetime]]:
    """Marks `first` to `last`, both inclusive, in pieces of at most `count`."""
    found = []
    while first <= last:
        until = min(last, first + (count - 1) * _HOUR)
        found.append((first, until))
        first = until + _HOUR
    return found


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

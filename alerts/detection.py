"""Runs the steps of detection: copy hours, build marks and profiles, judge, read breaches.

    steps             what a crash after each leaves
    1 hours, names    copied from totals; copied again from where they were noted
    2 marks           built for marks that are not noted yet; built again, equal
    3 profiles        the same
    4 deviations      judged again, equal
    5 noise           of a day that is over; built again, equal
    6 progress        nothing to do

What is not complete is never compared with what is: whole hours before `complete_to` are judged,
and of the hour that has begun the part before it, against the same part of what is usual.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client

from alerts.begun_hours import BEGUN_BREACHES, ELAPSED_S_MIN
from alerts.breaches import BREACHES, MARKS_IN_A_ROW, Breach, meter_parameters
from alerts.judgement import BUILD_NOISE, DEVIATIONS, FORGET_DEVIATIONS, READY
from alerts.marks import (
    BUILD_LATE_MARKS,
    BUILD_MARKS,
    BUILD_NEXT_MARK,
    COPY_HOURS,
    MARKS_MAX,
    NAME_PAIRS,
)
from alerts.profiles import BUILD_LATE_PROFILES, BUILD_PROFILES
from alerts.progress import NEVER, in_utc, note, progress
from alerts.silent_customers import silent_customers, with_open_silence
from metering.catalog import Aggregation, Catalog
from sinks.clickhouse import INSERT_SETTINGS, clickhouse_errors

_HOUR = timedelta(hours=1)
#: Hours that a deployment without profiles begins with.
HISTORY = timedelta(weeks=9)
#: How long a row may be on its way into the table after it said when it was written.
_OVERLAP = timedelta(minutes=2)
#: The same where marks are built again for it, which costs: what takes longer changes no mark.
_LATE_OVERLAP = timedelta(seconds=15)
#: Breaches of one check; more are one incident, not news of customers.
BREACHES_MAX = 10_000
#: When a profile is built: what is late has come then, and it is needed after a week.
_PROFILE_AFTER = timedelta(days=1)
#: How many (mark, pair) one statement judges.
_PAIRS_AT_ONCE = 2_000_000
_WEEK = 168


#: Aggregations whose usage adds up as an hour goes on; others say nothing before its end.
_ADD_UP = (Aggregation.SUM, Aggregation.COUNT)


class Judged(NamedTuple):
    """Breaches at `mark`, the last whole hour that is complete (None: there is none yet).

    `begun` are new ones of the hour after it, as far as that is complete; their mark is its end.
    """

    mark: datetime | None
    complete_to: datetime
    breaches: list[Breach]
    begun: list[Breach]
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
        done = progress(self._client)
        oldest = mark - HISTORY
        if complete_to <= NEVER:
            return Judged(None, complete_to, [], [], has_more=False)
        asked = self._now()
        since = max(done.get("hours", NEVER) - _OVERLAP, NEVER)
        copied = {"since": since, "oldest": oldest}
        write(self._client, COPY_HOURS, parameters=copied)
        write(self._client, NAME_PAIRS, parameters=copied)
        marked = min(done.get("judged", NEVER), mark)
        if marked > oldest:
            late_since = max(done.get("hours", NEVER) - _LATE_OVERLAP, NEVER)
            self._late({**copied, "since": late_since}, marked)
        begin = max(marked + _HOUR, oldest)
        for first, last in _spans(begin, mark, count=self._judged_at_once()):
            judge_marks(self._client, first, last=last)
        note(self._client, "hours", done_to=asked)
        note(self._client, "judged", done_to=mark)
        breaches = self.breaches(mark, last=mark)
        has_more = len(breaches) >= BREACHES_MAX
        breaches += silent_customers(self._client, breaches, mark=mark)
        breaches = with_open_silence(self._client, breaches, mark=mark)
        begun = self.begun(mark, elapsed=complete_to - mark)
        return Judged(mark, complete_to, breaches, begun, has_more=has_more)

    def breaches(self, first: datetime, *, last: datetime) -> list[Breach]:
        """Breaches at marks `first` to `last`, new ones first."""
        parameters = {
            "first": first, "last": last, "limit": BREACHES_MAX,
            **meter_parameters(self._catalog.meters.values()),
        }  # fmt: skip
        return self._breaches(BREACHES, parameters)

    def begun(
        self, mark: datetime, *, elapsed: timedelta, statement: str = BEGUN_BREACHES
    ) -> list[Breach]:
        """New breaches in the hour that began at `mark`, of which `elapsed` is complete."""
        elapsed_s = int(elapsed.total_seconds())
        if elapsed_s < ELAPSED_S_MIN:
            return []
        adding_up = {
            key: meter
            for key, meter in self._catalog.meters.items()
            if meter.aggregation in _ADD_UP
        }
        end = mark + _HOUR
        parameters = {
            "first": end, "last": end, "elapsed": elapsed_s, "limit": BREACHES_MAX,
            **meter_parameters(adding_up.values()),
        }  # fmt: skip
        found = self._breaches(statement, parameters)
        return [each._replace(hours=each.hours + 1) for each in found if each.is_new]

    def _breaches(self, statement: str, parameters: Mapping[str, Any]) -> list[Breach]:
        with clickhouse_errors("reading which windows breach"):
            rows = self._client.query(statement, parameters=dict(parameters)).result_rows
        return [Breach(in_utc(row[0]), *row[1:]) for row in rows]

    def _late(self, copied: dict[str, datetime], marked: datetime) -> None:
        """Build again what late usage changes, of its pairs; judge the newest marks again.

        Marks, and profiles: of a day ago and more, up to now, since each rests on that of a week
        before.
        """
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
        first = in_utc(earliest).replace(minute=0, second=0) + _HOUR
        until = min(marked, in_utc(latest) + timedelta(hours=168))
        for begins, last in _spans(first, until, count=MARKS_MAX):
            late = {**parameters, "first": begins, "last": last}
            write(self._client, BUILD_LATE_MARKS, parameters=late)
        for begins, last in _spans(first - _HOUR, marked - _PROFILE_AFTER, count=_WEEK):
            late = {**parameters, "first": begins, "last": last}
            write(self._client, BUILD_LATE_PROFILES, parameters=late)
        if until == marked:
            again = max(first, marked - (MARKS_IN_A_ROW - 1) * _HOUR)
            write(self._client, FORGET_DEVIATIONS, parameters={"first": again, "last": marked})
            judge_days(self._client, _days(again, marked))

    def _judged_at_once(self) -> int:
        """Marks that fit into one statement: each takes all pairs and their references."""
        with clickhouse_errors("counting pairs"):
            pairs = self._client.query("SELECT count() FROM usage_pairs").result_rows[0][0]
        return max(1, min(_WEEK, _PAIRS_AT_ONCE // max(int(pairs), 1)))

    def _complete_to(self) -> datetime:
        with clickhouse_errors("reading what is complete"):
            found = self._client.query("SELECT complete_to FROM complete_to").result_rows
        return in_utc(found[0][0])

    def _now(self) -> datetime:
        with clickhouse_errors("asking for the time"):
            found: datetime = self._client.query("SELECT now()").result_rows[0][0]
        return in_utc(found)


def judge_marks(client: Client, first: datetime, *, last: datetime) -> None:
    """Build and judge marks `first` to `last`, at most a week; what is before has to be built.

    A mark belongs to the day of the hour that it ends.
    """
    days = _days(first, last)
    for begins, ends in days:
        statement = BUILD_MARKS if begins < ends else BUILD_NEXT_MARK
        write(client, statement, parameters={"first": begins, "last": ends})
    past = {"first": first - _PROFILE_AFTER, "last": last - _PROFILE_AFTER}
    write(client, BUILD_PROFILES, parameters=past)
    with clickhouse_errors("asking for profiles"):
        are_ready = client.query(READY, parameters={"first": first, "last": last}).result_rows[0][0]
    if are_ready:
        judge_days(client, days)


def judge_days(client: Client, days: Sequence[tuple[datetime, datetime]]) -> None:
    """Judge marks that are built, a day (first mark, last mark) at a time, in order."""
    for first, last in days:
        yesterday = (first - _HOUR).date() - timedelta(days=1)
        span = {"first": first, "last": last, "yesterday": yesterday}
        write(client, DEVIATIONS, parameters=span)
        if not last.hour:
            write(client, BUILD_NOISE, parameters={**span, "day": yesterday + timedelta(days=1)})


def write(client: Client, statement: str, *, parameters: Mapping[str, Any]) -> None:
    """Run a statement that inserts. Raises `DependencyDown`."""
    with clickhouse_errors("detecting anomalies"):
        client.command(statement, parameters=dict(parameters), settings=INSERT_SETTINGS)


def _days(first: datetime, last: datetime) -> list[tuple[datetime, datetime]]:
    """Marks `first` to `last`, both inclusive, in pieces of one day."""
    found = []
    while first <= last:
        until = min(last, (first - _HOUR).replace(hour=0) + timedelta(days=1))
        found.append((first, until))
        first = until + _HOUR
    return found


def _spans(first: datetime, last: datetime, *, count: int) -> list[tuple[datetime, datetime]]:
    """Marks `first` to `last`, both inclusive, in pieces of at most `count`."""
    found = []
    while first <= last:
        until = min(last, first + (count - 1) * _HOUR)
        found.append((first, until))
        first = until + _HOUR
    return found

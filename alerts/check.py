"""One check: what is found now against what is open, and the news of it to everybody.

    steps         what a crash after each leaves
    1 record      changes stand in `alert_findings`; the next check finds them undelivered
    2 deliver     an outlet has them, and is sent them again, under the same ids
    3 mark        nothing to do

State derives from findings that are written, so a check that starts anew neither repeats one nor
loses one. Two checks at once write the same rows.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from clickhouse_connect.driver.client import Client

from alerts.breaches import Breach
from alerts.deltas import deltas, finding_of
from alerts.detection import BREACHES_MAX, Detection, Judged
from alerts.progress import NEVER, note, progress
from alerts.thresholds import crossed, positions
from metering.alert import Change, Finding, FindingKey, FindingKind, FindingState
from metering.catalog import Catalog
from metering.catalog_alerts import Budgets
from metering.errors import MeterlineError
from sinks.alert_store import AlertStore

_LOG = logging.getLogger(__name__)
#: Messages that an outlet is sent in one check; the rest waits for the next.
_DELIVERED_MAX = 1000
#: Kinds that windows of hours are judged for.
_OF_WINDOWS = (FindingKind.SPIKE, FindingKind.DROP, FindingKind.SILENCE)
#: An outlet is told of what is older only where that is open, or where it knows the beginning.
_NEWS = timedelta(days=7)
#: A billing period is over after at most this, so its thresholds are.
_PERIOD_MAX = timedelta(days=63)


class Outlet(Protocol):
    """Takes changes somewhere; `name` is how deliveries remember it."""

    name: str

    def send(self, changes: Sequence[Change]) -> list[Change]:
        """Those that were taken. Raises `DependencyDown`."""
        ...


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check did. `anomalies` and `thresholds` are those open after it, the worst first.

    `waiting` are messages that an outlet did not take, by its name; 0 where it took all.
    """

    mark: datetime | None
    changes: tuple[Change, ...]
    anomalies: tuple[Finding, ...]
    thresholds: tuple[Finding, ...]
    waiting: Mapping[str, int]

    @property
    def undelivered(self) -> tuple[str, ...]:
        """Outlets that did not take all messages."""
        return tuple(name for name, count in self.waiting.items() if count)


class AlertCheck:
    """Checks anomalies and thresholds. All that it remembers is in ClickHouse."""

    def __init__(
        self, client: Client, catalog: Catalog, *, budgets: Budgets, outlets: Sequence[Outlet]
    ) -> None:
        self._client = client
        self._catalog = catalog
        self._budgets = budgets
        self._outlets = tuple(outlets)
        self._store = AlertStore(client)

    def run(self, now: datetime) -> Checked:
        """Check once; `now` is what changes are dated with. Raises `DependencyDown`.

        An outlet that does not take its messages is named in `undelivered`, and gets them with
        the next check; it holds up nothing else.
        """
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as it is stored
        judged = Detection(self._client, self._catalog).judge()
        if judged.mark is None:
            return Checked(None, (), (), (), self._deliver(now))
        if judged.has_more:
            _LOG.warning("more breaches than one check tells of: look for an incident first")
        opened = self._store.open_findings()
        changes = self._anomalies(judged, opened, now=now)
        done = progress(self._client)
        since = done.get("thresholds", judged.complete_to)
        changes += self._thresholds(judged, opened, now=now, since=since)
        today = judged.mark.replace(hour=0)
        is_new_day = done.get("deltas", NEVER) < today
        if is_new_day:
            changes += self._deltas(judged, opened, now=now)
        self._store.record(changes)
        note(self._client, "thresholds", done_to=judged.complete_to)
        if is_new_day:
            note(self._client, "deltas", done_to=today)
        waiting = self._deliver(now)
        closed = {each.finding for each in changes if each.state is FindingState.RESOLVED}
        news = [each.finding for each in changes if each.state is FindingState.OPENED]
        left = sorted([each for each in opened if each not in closed] + news, key=_severity)
        return Checked(
            judged.mark,
            tuple(changes),
            tuple(each for each in left if each.key.kind.is_anomaly),
            tuple(each for each in left if not each.key.kind.is_anomaly),
            waiting,
        )

    def _anomalies(
        self, judged: Judged, opened: Iterable[Finding], *, now: datetime
    ) -> list[Change]:
        assert judged.mark is not None
        found = {_key(each): each for each in judged.breaches}
        begun = {_key(each): each for each in judged.begun}
        units = {meter.key: meter.unit for meter in self._catalog.meters.values()}
        units[""] = "event"
        known = [each for each in opened if each.key.kind in _OF_WINDOWS]
        is_open = {each.key for each in known}
        new = {key: each for key, each in found.items() if each.is_new and key not in is_open}
        told = {_direction(key) for key in (*is_open, *new)}
        new |= {key: each for key, each in begun.items() if _direction(key) not in told}
        changes = [
            Change(
                _finding(key, each, judged=judged, unit=units[key.meter]), FindingState.OPENED, now
            )
            for key, each in new.items()
        ]
        if judged.has_more:  # what is not told of may hold still
            return changes
        return changes + [
            Change(each, FindingState.RESOLVED, now)
            for each in known
            if each.key not in found and each.window_start <= judged.mark
        ]

    def _thresholds(
        self, judged: Judged, opened: Iterable[Finding], *, now: datetime, since: datetime
    ) -> list[Change]:
        """Also of periods that ended since the last check, once: usage reaches up to the end."""
        complete_to = judged.complete_to
        known = self._store.known_since(min(since, complete_to) - _PERIOD_MAX)
        found = [
            finding
            for position in positions(self._client, self._budgets, now=complete_to, since=since)
            for finding in crossed(position, complete_to=complete_to)
        ]
        periods = {(each.key.customer_id, each.window_start) for each in found}
        changes = [
            Change(each, FindingState.OPENED, now) for each in found if each.finding_id not in known
        ]
        return changes + [
            Change(each, FindingState.RESOLVED, now)
            for each in opened
            if not each.key.kind.is_anomaly
            and (each.key.customer_id, each.window_start) not in periods
        ]

    def _deltas(self, judged: Judged, opened: Iterable[Finding], *, now: datetime) -> list[Change]:
        assert judged.mark is not None
        known = self._store.known_since(judged.complete_to - _PERIOD_MAX)
        found = {}
        for each in deltas(self._client, self._catalog, mark=judged.mark, limit=BREACHES_MAX):
            unit = self._catalog.meters[each.meter].unit
            finding = finding_of(each, unit=unit, complete_to=judged.complete_to)
            found[finding.finding_id] = finding
        changes = [
            Change(each, FindingState.OPENED, now)
            for name, each in found.items()
            if name not in known
        ]
        if len(found) >= BREACHES_MAX:  # as above
            return changes
        return changes + [
            Change(each, FindingState.RESOLVED, now)
            for each in opened
            if each.key.kind is FindingKind.DELTA and each.finding_id not in found
        ]

    def _deliver(self, now: datetime) -> dict[str, int]:
        """Send what is news; by outlet, how much it did not take."""
        left = {}
        for outlet in self._outlets:
            waiting = self._store.undelivered(outlet.name, since=now - _NEWS, limit=_DELIVERED_MAX)
            try:
                taken = outlet.send(waiting) if waiting else []
            except MeterlineError as error:  # also one that a person has to mend
                _LOG.warning("alerts wait for %s: %s", outlet.name, error)
                taken = []
            self._store.mark_delivered(outlet.name, taken, now=now)
            left[outlet.name] = len(waiting) - len(taken)
        return left


def _key(breach: Breach) -> FindingKey:
    kind = FindingKind.SPIKE
    if not breach.is_up:
        kind = FindingKind.SILENCE if breach.is_silent else FindingKind.DROP
    return FindingKey(kind, breach.customer_id, breach.meter)


def _direction(key: FindingKey) -> tuple[str, str, bool]:
    """What is told of once, be it by a whole hour or by one that has begun."""
    return key.customer_id, key.meter, key.kind is FindingKind.SPIKE


def _finding(key: FindingKey, breach: Breach, *, judged: Judged, unit: str) -> Finding:
    return Finding(
        key, breach.mark, int(breach.hours), observed=_decimal(breach.observed),
        expected=_decimal(breach.expected), unit=unit, complete_to=judged.complete_to,
    )  # fmt: skip


def _decimal(number: object) -> Decimal:
    return Decimal(f"{number:.9g}")


def _severity(finding: Finding) -> tuple[Decimal, str, str]:
    """How many times more or less an anomaly is, how much of a limit is used up; then by name.

    Silence, and usage where none was expected, come first.
    """
    ratio = finding.ratio
    if not finding.key.kind.is_anomaly:
        times = ratio or Decimal(0)
    elif not ratio:
        times = Decimal("Infinity")
    else:
        times = max(ratio, 1 / ratio)
    return -times, finding.key.customer_id, finding.key.meter

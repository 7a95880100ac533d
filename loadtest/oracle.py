"""Compares what must have come out with what did, number by number."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from rich.table import Table

from loadtest.outcome import Outcome, Total, TotalKey
from loadtest.prices import Charge, ChargeKey

_POLL_S_MIN = 0.5


class Difference(NamedTuple):
    """One number that is not what it must be; both sides as text, "-" where there is none."""

    what: str
    expected: str
    got: str


class Comparison(NamedTuple):
    """What was found, and where it differs from what was expected."""

    got: Outcome
    differences: list[Difference]


class Counted(Protocol):
    """What can be asked for its numbers."""

    def outcome(self) -> Outcome:
        """All numbers as of now."""


class Observed(Counted, Protocol):
    """What can be asked how far it is as well."""

    def accounted(self) -> int:
        """Events that ended somewhere so far."""


def compare(expected: Outcome, got: Outcome) -> list[Difference]:
    """All differences: the counts first, then rejects by code, then every hourly total."""
    pairs: list[tuple[str, object, object]] = [
        ("accepted", expected.accepted, got.accepted),
        ("duplicates", expected.duplicates, got.duplicates),
        ("suppressed", expected.suppressed, got.suppressed),
        ("disregarded", expected.disregarded, got.disregarded),
    ]
    if expected.late is not None:
        pairs.append(("late", expected.late, got.late))
    pairs += [
        (f"rejected {code}", expected.rejected.get(code, 0), got.rejected.get(code, 0))
        for code in sorted(expected.rejected.keys() | got.rejected.keys())
    ]
    pairs += [
        (_described(key), expected.totals.get(key), got.totals.get(key))
        for key in sorted(expected.totals.keys() | got.totals.keys())
    ]
    return [
        Difference(what, _text(wants), _text(has)) for what, wants, has in pairs if wants != has
    ]


def compare_charges(
    expected: Mapping[ChargeKey, Charge], got: Mapping[ChargeKey, Charge]
) -> list[Difference]:
    """Every charge, to the last digit; where nothing was used, nothing is compared."""
    return [
        Difference(
            f"charge {' '.join(map(str, key))}",
            _charge_text(expected.get(key)),
            _charge_text(got.get(key)),
        )
        for key in sorted(expected.keys() | got.keys())
        if expected.get(key) != got.get(key)
    ]


def _charge_text(charge: Charge | None) -> str:
    if charge is None:
        return "-"
    return ", ".join(f"{name} {float(value):f}" for name, value in charge._asdict().items())


def await_accounted(
    observed: Observed,
    events: int,
    *,
    deadline_s: float,
    on_accounted: Callable[[int], None] = lambda _events: None,
) -> int:
    """Wait until `events` are accounted for, at most `deadline_s` seconds; returns how many are.

    `on_accounted` hears of every reading. Reads at most a third of the time.
    """
    started = time.monotonic()
    while True:
        asked = time.monotonic()
        accounted = observed.accounted()
        answered = time.monotonic()
        on_accounted(accounted)
        if accounted >= events or answered - started > deadline_s:
            return accounted
        time.sleep(max(_POLL_S_MIN, 2 * (answered - asked)))


def settle(observed: Counted, expected: Outcome, *, deadline_s: float) -> Comparison:
    """The comparison once it holds no difference, or the last one within `deadline_s` seconds.

    Totals are written after raw events, so that they may follow a moment later.
    """
    started = time.monotonic()
    while True:
        got = observed.outcome()
        differences = compare(expected, got)
        if not differences or time.monotonic() - started > deadline_s:
            return Comparison(got, differences)
        time.sleep(2 * _POLL_S_MIN)


def differences_table(differences: list[Difference], rows_max: int = 40) -> Table:
    """The first `rows_max` differences, to print."""
    shown = f"the first {rows_max} of " if len(differences) > rows_max else ""
    table = Table(title=f"{shown}{len(differences)} differences", title_justify="left")
    table.add_column("what", overflow="fold")
    table.add_column("expected", justify="right", overflow="fold")
    table.add_column("got", justify="right", overflow="fold")
    for difference in differences[:rows_max]:
        table.add_row(*difference)
    return table


def _described(key: TotalKey) -> str:
    window = datetime.fromtimestamp(key.window_start, UTC).strftime("%Y-%m-%dT%H:%MZ")
    return f"{key.customer_id} {key.meter} {key.group} {window}"


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Total):
        quantity = f"{value.quantity:f}"
        if "." in quantity:
            quantity = quantity.rstrip("0").rstrip(".")
        return f"{quantity} in {value.events} events"
    return str(value)

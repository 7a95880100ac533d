"""Usage that could not be counted: rejected events of the period that nobody has mended yet.

Those of an unbound subject are variances: nobody knows who pays, so their amount is 0 and their
quantity is told. The others only say what a review record is about.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from clickhouse_connect.driver.client import Client

from metering import rfc3339
from metering.quantity import units
from metering.rejection import RejectionCode
from metering.shapes import CLOUDEVENT, CLOUDEVENT_MARK, PLAIN
from reconcile.period import Period
from reconcile.variance import Check, Finding, Subject, VarianceClass, text_of

_UNBOUND = str(RejectionCode.SUBJECT_MUST_BE_BOUND)
#: Said about an event that is there already, in another form: nothing is missing.
_NOT_MISSING = str(RejectionCode.IDENTITY_MUST_NOT_REPEAT_WITH_OTHER_PAYLOAD)
_DECODER = msgspec.json.Decoder(float_hook=str)
_DAY_MS = 86_400_000
#: Of raw history only the places that are among the rejected: a set of all takes gigabytes.
_REJECTED = """
SELECT toString(code), event, customer_id, meter, toUnixTimestamp64Milli(record_time),
       concat(toString(stream), '/', toString(partition), '/', toString(offset), '/',
              toString(`index`)) AS place
FROM rejected_events FINAL
WHERE code != %(not_missing)s AND record_time >= fromUnixTimestamp64Milli(%(from_ms)s, 'UTC')
  AND (stream, partition, offset, `index`) NOT IN
      (SELECT stream, partition, offset, `index` FROM reject_replays)
  AND (stream, partition, offset, `index`) NOT IN
      (SELECT stream, partition, offset, `index` FROM usage_events
       WHERE (stream, partition, offset, `index`) IN
           (SELECT stream, partition, offset, `index` FROM rejected_events))
ORDER BY stream, partition, offset, `index`
"""


class Rejected(NamedTuple):
    """One event as its sender meant it, as far as it can be read; quantity in 10^-12."""

    code: str
    customer_id: str
    subject: str
    meter: str
    quantity: int
    place: str


@dataclass(frozen=True, slots=True)
class _Fields:
    values: dict[str, Any]

    def text(self, name: str) -> str:
        """The first spelling that is there; "" where none is."""
        shape: Mapping[str, tuple[str, ...]] = (
            CLOUDEVENT if CLOUDEVENT_MARK in self.values else PLAIN
        )
        for path in shape[name]:
            found: Any = self.values
            for part in path.split("."):
                found = found.get(part) if isinstance(found, dict) else None
            if found is not None and not isinstance(found, dict | list | bool):
                return str(found)
        return ""


def read_rejected(client: Client, period: Period) -> list[Rejected]:
    """Rejected events that occurred in the calendar month (or arrived, where they do not say)."""
    bounds = period.parameters
    parameters = {"not_missing": _NOT_MISSING, "from_ms": bounds["month_from"] * 1000 - _DAY_MS}
    rows = client.query(
        _REJECTED, parameters=parameters, column_formats={"event": "bytes"}
    ).result_rows
    return list(_read(rows, from_s=bounds["month_from"], until_s=bounds["month_until"]))


def _read(rows: Any, *, from_s: int, until_s: int) -> Iterator[Rejected]:
    for code, event, customer_id, meter, record_ms, place in rows:
        fields = _Fields(_object(event))
        occurred_us = rfc3339.microseconds(fields.text("occurred_at"))
        moment = record_ms // 1000 if occurred_us is None else occurred_us // 1_000_000
        if not from_s <= moment < until_s:
            continue
        quantity = units(fields.text("quantity"))
        yield Rejected(
            code, customer_id, fields.text("subject"), meter or fields.text("meter"),
            quantity if type(quantity) is int else 0, place,
        )  # fmt: skip


def _object(event: bytes | str) -> dict[str, Any]:
    try:
        value = _DECODER.decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def unbound_findings(rejected: list[Rejected]) -> list[Finding]:
    """One finding for each unbound subject and meter."""
    found: dict[tuple[str, str], list[Rejected]] = {}
    for each in rejected:
        if each.code == _UNBOUND:
            found.setdefault((each.subject, each.meter), []).append(each)
    return [_finding(subject, meter, events) for (subject, meter), events in sorted(found.items())]


def _finding(subject: str, meter: str, events: list[Rejected]) -> Finding:
    quantity = sum(each.quantity for each in events)
    reason = (
        f"{len(events)} events, {text_of(quantity)} units, of subject {subject}, which is bound to "
        "no customer: bind it, then `meterline rejects replay`"
    )
    return Finding(
        check=Check.LINES, variance=VarianceClass.UNBOUND_SUBJECT, currency="", amount=0,
        reason=reason, expected_quantity=quantity, got_quantity=0,
        subject=Subject(customer_id="", meter=meter, reference=f"subject {subject}"),
    )  # fmt: skip

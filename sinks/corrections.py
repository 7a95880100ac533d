"""Corrections in ClickHouse: their steps, and the events that they take back; append-only.

The audit log holds every step whole, and first. What is written here is a copy of it for questions;
`settle` writes the copies that a crash left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from metering.audit_chain import AuditRow
from metering.correction import CorrectionKind, CorrectionState, read_correction
from sinks.audit import AuditLog
from sinks.clickhouse import clickhouse_errors, insert_arrow

#: First part of the actions whose row holds a step of a correction.
STEP_ACTION = "correction_"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = pa.timestamp("us", tz="UTC")
_LEFT_OUT = (
    f"startsWith(action, '{STEP_ACTION}') AND (object, JSONExtractUInt(after, 'step')) NOT IN "
    "(SELECT correction_id, toUInt64(step) FROM corrections)"
)
_TEXTS = (
    "state", "kind", "customer_id", "period", "object", "payload", "author", "actor",
    "reason_code", "note", "currency",
)  # fmt: skip
_LISTED = """
SELECT correction_id, toString(state), toString(kind), customer_id, period, object, author, actor,
       toString(reason_code), note, toString(exposure), toString(currency),
       toUnixTimestamp64Micro(changed_at)
FROM correction_states
WHERE (%(state)s = '' OR state = %(state)s) AND (%(customer)s = '' OR customer_id = %(customer)s)
  AND (%(kind)s = '' OR kind = %(kind)s)
ORDER BY changed_at DESC, correction_id LIMIT %(limit)s
"""
_HELD = """
SELECT count() FROM invoice_holds
WHERE customer_id = %(customer)s AND toUnixTimestamp(period_start) = %(start)s
"""


class ListedCorrection(NamedTuple):
    """A correction as lists show it; `changed_us` is Unix microseconds UTC."""

    correction_id: str
    state: str
    kind: str
    customer_id: str
    period: str
    object: str
    author: str
    actor: str
    reason_code: str
    note: str
    exposure: str
    currency: str
    changed_us: int


class TakenBack(NamedTuple):
    """The key of an event that does not count any more."""

    customer_id: str
    meter: str
    identity: bytes


class CorrectionStore:
    """Reads and writes corrections. Every call may raise `DependencyDown`."""

    def __init__(self, client: Client) -> None:
        """Through `client`, whose database is the deployment's."""
        self._client = client

    def settle(self, audit: AuditLog) -> None:
        """Write the steps that stand in the audit log and not here."""
        for row in list(audit.rows(_LEFT_OUT)):
            self.write(row)

    def write(self, row: AuditRow) -> None:
        """Write the step that a row of the audit log holds; again is the same."""
        found = read_correction(row.entry.after)
        arrays = {
            "correction_id": pa.array([found.correction_id]),
            "step": pa.array([found.step], pa.uint32()),
            **{name: pa.array([str(getattr(found, name))]) for name in _TEXTS},
            "period_start": pa.array([found.period_start], pa.uint32()),
            "exposure": pa.array([found.exposure]).cast(pa.decimal256(76, 4)),
            "calculation_version": pa.array([found.calculation_version], pa.uint32()),
            "audit_seq": pa.array([row.seq], pa.uint64()),
            "recorded_at": pa.array([_EPOCH + timedelta(microseconds=row.recorded_us)], _MOMENT),
        }
        insert_arrow(self._client, "corrections", pa.table(arrays))

    def steps(self, audit: AuditLog, correction_id: str) -> list[AuditRow]:
        """All steps of a correction, the newest last, as the audit log holds them."""
        condition = f"object = %(id)s AND startsWith(action, '{STEP_ACTION}')"
        return list(audit.rows(condition, id=correction_id))

    def listed(
        self,
        *,
        state: CorrectionState | None = None,
        kind: CorrectionKind | None = None,
        customer_id: str = "",
        limit: int = 50,
    ) -> Iterator[ListedCorrection]:
        """Corrections as they stand, those that changed last first."""
        parameters = {
            "state": state or "", "kind": kind or "", "customer": customer_id, "limit": limit,
        }  # fmt: skip
        with clickhouse_errors("listing corrections"):
            rows = self._client.query(_LISTED, parameters=parameters).result_rows
        for row in rows:
            yield ListedCorrection(*row)

    def is_held(self, customer_id: str, period_start: int) -> bool:
        """Whether a billing period (Unix seconds) is not to be invoiced."""
        parameters = {"customer": customer_id, "start": period_start}
        with clickhouse_errors("asking for holds"):
            rows = self._client.query(_HELD, parameters=parameters).result_rows
        return bool(rows[0][0])

    def take_back(
        self, events: Sequence[TakenBack], *, correction_id: str, recorded_us: int
    ) -> None:
        """Have events not count from now on; again is the same."""
        insert_arrow(
            self._client,
            "retracted_events",
            pa.table(
                {
                    "customer_id": pa.array([each.customer_id for each in events]),
                    "meter": pa.array([each.meter for each in events]),
                    "identity": pa.array([each.identity for each in events], pa.binary(16)),
                    "correction_id": pa.array([correction_id] * len(events)),
                    "is_retracted": pa.array([True] * len(events)),
                    "recorded_at": _moments([recorded_us] * len(events)),
                }
            ),
        )


def _moments(found: Iterable[int]) -> pa.Array:
    return pa.array([_EPOCH + timedelta(microseconds=each) for each in found], _MOMENT)

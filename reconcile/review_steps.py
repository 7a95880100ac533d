"""What people do with review records: each step is a row of the log, with who, when and why."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from clickhouse_connect.driver.client import Client

from metering.errors import PermanentError
from reconcile.review_rules import Status
from reconcile.store import WRITE_SETTINGS
from reconcile.variance import Severity

_COLUMNS = (
    "period", "customer_id", "meter", "id", "workspace_id", "customer_name", "plan", "product",
    "currency", "expected", "quantity", "delta", "unit_price", "invoice_impact", "status",
    "severity", "invoice_hold", "reason", "source", "batch_id", "schema_version", "reviewer",
    "received_at", "action", "actor", "note", "run_id", "recorded_at",
)  # fmt: skip
_NAMES = ", ".join(_COLUMNS)
_LIST = f"""
SELECT {_NAMES} FROM review_worklist WHERE {{condition}}
ORDER BY indexOf(['danger', 'warning', 'info', 'ok'], toString(severity)),
         abs(invoice_impact) DESC, period, customer_id, meter
LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One review record, as a row of the log has it. Amounts and quantities are exact."""

    period: str
    customer_id: str
    meter: str
    id: str
    workspace_id: str
    customer_name: str
    plan: str
    product: str
    currency: str
    expected: Decimal
    quantity: Decimal
    delta: Decimal
    unit_price: Decimal
    invoice_impact: Decimal
    status: str
    severity: str
    invoice_hold: bool
    reason: str
    source: str
    batch_id: str
    schema_version: str
    reviewer: str
    received_at: datetime
    action: str
    actor: str
    note: str
    run_id: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which records are meant; empty means any."""

    period: str = ""
    status: str = ""
    customer_id: str = ""
    only_held: bool = False
    only_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a person did: assigned, resolved, held, released. Both texts are required."""

    action: str
    actor: str
    note: str
    reviewer: str = ""


class ReviewLog:
    """Reads review records and appends steps to them."""

    def __init__(self, client: Client) -> None:
        """Use `client`, whose database is the deployment's."""
        self._client = client

    def records(self, wanted: Wanted, *, limit: int) -> list[Record]:
        """The records that matter most first: by severity, then by money at stake."""
        conditions = ["1"]
        bound: dict[str, Any] = {"limit": limit}
        for name in ("period", "status", "customer_id"):
            if value := getattr(wanted, name):
                conditions.append(f"{name} = %({name})s")
                bound[name] = value
        conditions += ["invoice_hold"] if wanted.only_held else []
        conditions += ["(status != 'rated' OR invoice_hold)"] if wanted.only_open else []
        sql = _LIST.format(condition=" AND ".join(conditions))
        return [_record(row) for row in self._client.query(sql, parameters=bound).result_rows]

    def record(self, record_id: str) -> Record:
        """One by its id. Raises `PermanentError` where there is none."""
        sql = f"SELECT {_NAMES} FROM review_worklist WHERE id = %(id)s"
        rows = self._client.query(sql, parameters={"id": record_id}).result_rows
        if not rows:
            msg = (
                f"expected the id of a review record, got {record_id!r}; `meterline review list` "
                "shows them"
            )
            raise PermanentError(msg)
        return _record(rows[0])

    def history(self, record_id: str) -> list[Record]:
        """Every row of one, the oldest first."""
        sql = f"SELECT {_NAMES} FROM review_records_log WHERE id = %(id)s ORDER BY recorded_at"
        rows = self._client.query(sql, parameters={"id": record_id}).result_rows
        return [_record(row) for row in rows]

    def append(self, record_id: str, step: Step) -> Record:
        """Take a step; what the record is now. Raises `PermanentError` without who and why."""
        if not step.actor.strip() or not step.note.strip():
            msg = "expected who does it (--actor) and why (--note), got an empty text"
            raise PermanentError(msg)
        found = _after(self.record(record_id), step)
        row = [getattr(found, name) for name in _COLUMNS]
        self._client.insert(
            "review_records_log", [row], column_names=_COLUMNS, settings=WRITE_SETTINGS
        )
        return found


def _after(record: Record, step: Step) -> Record:
    found = replace(
        record, action=step.action, actor=step.actor, note=step.note, run_id="",
        recorded_at=datetime.now(UTC),
    )  # fmt: skip
    if step.action == "assigned":
        return replace(found, reviewer=step.reviewer)
    if step.action == "resolved":
        return replace(
            found, status=str(Status.RATED), severity=str(Severity.OK), invoice_hold=False,
            reviewer=record.reviewer or step.actor,
        )  # fmt: skip
    return replace(found, invoice_hold=step.action == "held")


def _record(row: Any) -> Record:
    return Record(**dict(zip(_COLUMNS, row, strict=True)))

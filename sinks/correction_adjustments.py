"""Adjustments that corrections write: what changed in money after an invoice, and credits.

1  lines     of all kinds, keyed by their place; again is the same, or newer until 2
2  the head  makes them visible; the first one that was written counts
A crash between leaves lines that nobody sees; the same correction writes them again.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from metering.audit_chain import canonical_json
from metering.decimals import decimal256_of_words
from sinks.clickhouse import clickhouse_errors, insert_arrow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WIDE_BYTES = 32
_EXISTING = """
SELECT toString(kind), toString(meter), `group`, toUnixTimestamp(part_start),
       toUnixTimestamp(part_end)
FROM adjustment_lines FINAL
WHERE customer_id = %(customer)s AND toUnixTimestamp(period_start) = %(start)s AND run_id = %(run)s
ORDER BY line
"""
_VISIBLE = """
SELECT count() FROM adjustments
WHERE customer_id = %(customer)s AND toUnixTimestamp(period_start) = %(start)s AND run_id = %(run)s
"""


class AdjustmentLine(NamedTuple):
    """What a line is for, and its figures before and after.

    Times are Unix seconds; quantities 10^-12 units, exact charges 10^-24 and amounts 10^-4 of the
    currency's unit.
    """

    kind: str
    meter: str
    group: str
    part_start: int
    part_end: int
    quantity_before: int
    quantity_after: int
    included_before: int
    included_after: int
    overage_before: int
    overage_after: int
    exact_before: int
    exact_after: int
    amount_before: int
    amount_after: int
    plan: str
    price_version: int

    @property
    def amount(self) -> int:
        """The signed difference."""
        return self.amount_after - self.amount_before


class Adjustment(NamedTuple):
    """What all lines are for. `posted_to` is the start of the open period it is charged in."""

    customer_id: str
    period_start: int
    correction_id: str
    invoice_id: str
    kind: str
    posted_to: int
    currency: str
    minor_digits: int
    calculation_version: int
    catalog: str
    actor: str
    reason: str


class CorrectionAdjustments:
    """Writes them. Every call may raise `DependencyDown`."""

    def __init__(self, client: Client) -> None:
        """Through `client`, whose database is the deployment's."""
        self._client = client

    def is_visible(self, found: Adjustment) -> bool:
        """Whether it was written before, as a whole."""
        with clickhouse_errors("asking for an adjustment"):
            rows = self._client.query(_VISIBLE, parameters=_key(found)).result_rows
        return bool(rows[0][0])

    def write(self, found: Adjustment, lines: Sequence[AdjustmentLine], *, issued_us: int) -> None:
        """Write it, unless it is there; `issued_us` is Unix microseconds UTC."""
        if self.is_visible(found):
            return
        lines = [*lines, *self._left_over(found, len(lines))]
        name = sha256(canonical_json(_key(found)).encode()).hexdigest()[:20]
        adjustment_id = f"adj-{name}"
        insert_arrow(
            self._client, "adjustment_lines", _lines(found, lines, adjustment_id=adjustment_id)
        )
        head = _head(found, lines, adjustment_id=adjustment_id)
        moment = _EPOCH + timedelta(microseconds=issued_us)
        head["issued_at"] = pa.array([moment], pa.timestamp("us", tz="UTC"))
        insert_arrow(self._client, "adjustments", pa.table(head))

    def _left_over(self, found: Adjustment, count: int) -> list[AdjustmentLine]:
        """Lines of a run that a crash ended, beyond those of now: they come to nothing."""
        with clickhouse_errors("reading lines of an adjustment"):
            rows = self._client.query(_EXISTING, parameters=_key(found)).result_rows
        return [
            AdjustmentLine._make((*row, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "", 0))
            for row in rows[count:]
        ]


def _key(found: Adjustment) -> dict[str, object]:
    return {
        "customer": found.customer_id, "start": found.period_start, "run": found.correction_id,
    }  # fmt: skip


def _lines(found: Adjustment, lines: Sequence[AdjustmentLine], *, adjustment_id: str) -> pa.Table:
    count = len(lines)
    scales = {"quantity": 12, "included": 12, "overage": 12, "exact": 24, "amount": 4}
    columns = {
        "customer_id": pa.array([found.customer_id] * count),
        "period_start": pa.array([found.period_start] * count, pa.uint32()),
        "run_id": pa.array([found.correction_id] * count),
        "line": pa.array(range(1, count + 1), pa.uint32()),
        "line_id": pa.array([f"{adjustment_id}/{at}" for at in range(1, count + 1)]),
        "adjustment_id": pa.array([adjustment_id] * count),
        "currency": pa.array([found.currency] * count),
        "amount": _decimals([each.amount for each in lines], 4),
    }
    for name in ("kind", "meter", "group", "plan"):
        columns[name] = pa.array([getattr(each, name) for each in lines], pa.string())
    for name in ("part_start", "part_end", "price_version"):
        columns[name] = pa.array([getattr(each, name) for each in lines], pa.uint32())
    for name, scale in scales.items():
        for side in ("before", "after"):
            values = [getattr(each, f"{name}_{side}") for each in lines]
            columns[f"{name}_{side}"] = _decimals(values, scale)
    return pa.table(columns)


def _head(
    found: Adjustment, lines: Sequence[AdjustmentLine], *, adjustment_id: str
) -> dict[str, pa.Array]:
    text = canonical_json([[str(value) for value in each] for each in lines])
    return {
        "customer_id": pa.array([found.customer_id]),
        "period_start": pa.array([found.period_start], pa.uint32()),
        "run_id": pa.array([found.correction_id]),
        "adjustment_id": pa.array([adjustment_id]),
        "invoice_id": pa.array([found.invoice_id]),
        "kind": pa.array([found.kind]),
        "posted_to": pa.array([found.posted_to], pa.uint32()),
        "currency": pa.array([found.currency]),
        "minor_digits": pa.array([found.minor_digits], pa.uint8()),
        "total": _decimals([sum(each.amount for each in lines)], 4),
        "lines": pa.array([len(lines)], pa.uint32()),
        "lines_hash": pa.array([sha256(text.encode()).hexdigest()]),
        "calculation_version": pa.array([found.calculation_version], pa.uint32()),
        "catalog": pa.array([found.catalog]),
        "actor": pa.array([found.actor]),
        "reason": pa.array([found.reason]),
    }


def _decimals(values: Sequence[int], scale: int) -> pa.Array:
    data = b"".join(value.to_bytes(_WIDE_BYTES, "little", signed=True) for value in values)
    return decimal256_of_words(np.frombuffer(data, np.uint64).reshape(-1, 4), scale=scale)

"""Usage events written by hand, for the cases that a seeded load leaves to chance."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from harness import Deployment


def usage(
    event_id: str,
    customer: str,
    meter: str = "api_requests",
    *,
    quantity: str = "1",
    ago: timedelta = timedelta(seconds=5),
    at: datetime | None = None,
    **dimensions: str,
) -> bytes:
    """One event in the own shape; it says that it occurred `at`, or that long `ago`."""
    moment = at or datetime.now(UTC) - ago
    event = {
        "id": event_id,
        "customer_id": customer,
        "meter": meter,
        "quantity": quantity,
        "occurred_at": moment.isoformat(),
        "dimensions": dimensions,
    }
    return json.dumps(event).encode()


def total(deployment: Deployment, customer: str, meter: str = "api_requests") -> Decimal:
    """Usage of a customer over all windows, as the live view shows it."""
    rows = deployment.query(
        "SELECT toString(sum(quantity)) FROM live_usage"
        " WHERE customer_id = %(customer)s AND meter = %(meter)s",
        customer=customer, meter=meter,
    )  # fmt: skip
    return Decimal(rows[0][0])


def counted(deployment: Deployment, customer: str) -> int:
    """Events of a customer in raw history."""
    rows = deployment.query(
        "SELECT count() FROM usage_events FINAL WHERE customer_id = %(customer)s",
        customer=customer,
    )
    return int(rows[0][0])


def duplicates(deployment: Deployment, customer: str) -> list[tuple[int, int, int]]:
    """(partition, partition of the owner, offset of the owner) of a customer's duplicates."""
    rows = deployment.query(
        "SELECT partition, owner_partition, owner_offset FROM duplicate_events FINAL"
        " WHERE customer_id = %(customer)s ORDER BY partition, offset",
        customer=customer,
    )
    return [(int(a), int(b), int(c)) for a, b, c in rows]

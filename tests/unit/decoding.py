"""What the decoder's tests share: a catalog, an event that is right, and a way to decode it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from metering.batch import EventBatch, RawBatch, Source
from metering.catalog import (
    Aggregation,
    Binding,
    Catalog,
    Disregarded,
    Meter,
    SuppressionRule,
)
from metering.decode import Decoder
from metering.rejection import Rejection
from metering.settings import load_settings

#: When every record arrived: 2026-06-12T08:00:00Z.
RECORD_MS = 1_781_251_200_000
SETTINGS = load_settings(identity_key="meterline", future_tolerance=timedelta(minutes=5))
CATALOG = Catalog(
    meters={
        meter.key: meter
        for meter in (
            Meter("api_requests", "request", Aggregation.SUM, ("region",)),
            Meter("storage_gb", "GB", Aggregation.MAX),
            Meter("documents_processed", "document", Aggregation.COUNT),
            Meter("agent_minutes", "minute", Aggregation.SUM),
            Meter("seats", "seat", Aggregation.LATEST),
            Meter("active_users", "user", Aggregation.UNIQUE_COUNT, counted_dimension="user_id"),
            Meter("credits", "credit", Aggregation.SUM, ("plan", "region"), allow_negative=True),
        )
    },
    bindings=(
        Binding(
            "vm-17",
            "org_1",
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 6, 1, tzinfo=UTC),
        ),
        Binding("vm-17", "org_2", datetime(2026, 6, 1, tzinfo=UTC)),
        Binding("vm-99", "org_1", datetime(2026, 1, 1, tzinfo=UTC)),
    ),
    rules=(
        SuppressionRule("load-test", "hosts of load tests", subject="loadtest-*"),
        SuppressionRule("probe", "our own probes", customer_id="org_probe", source="probe"),
    ),
    disregarded=(Disregarded("vm-99", "internal"),),
)


def event(**changes: Any) -> dict[str, Any]:
    """An event in own shape that is right, with `changes`; a change to None takes a field out."""
    whole = {
        "id": "req:1",
        "customer_id": "org_123",
        "meter": "api_requests",
        "quantity": 1,
        "occurred_at": "2026-06-12T07:18:00Z",
        "dimensions": {"region": "eu"},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def anything(*values: Any) -> tuple[Any, ...]:
    """`values`, of any type each."""
    return values


def written(event: Any) -> bytes:
    """`event` as JSON; bytes stay what they are."""
    return event if isinstance(event, bytes) else json.dumps(event).encode()


def batch(*values: Any, first_offset: int = 100) -> RawBatch:
    """One message for each value, at consecutive offsets."""
    return RawBatch(
        source=Source("usage.events", 3, 1),
        offsets=[first_offset + at for at in range(len(values))],
        record_times_ms=[RECORD_MS] * len(values),
        values=[None if value is None else written(value) for value in values],
        first_offset=first_offset,
        next_offset=first_offset + len(values),
    )


def decoded(*values: Any, catalog: Catalog = CATALOG, by_the_book: bool = False) -> EventBatch:
    """What the decoder makes of one message for each value."""
    return Decoder(catalog, SETTINGS, by_the_book=by_the_book).decode(batch(*values))


def accepted(value: Any) -> dict[str, Any]:
    """The one event of a message, as a row of the columns, the same on both paths."""
    result, by_the_book = decoded(value), decoded(value, by_the_book=True)
    assert result.columns.equals(by_the_book.columns)
    assert result.rejections == []
    assert len(result) == 1
    return dict(result.columns.to_pylist()[0])


def rejected(value: Any) -> Rejection:
    """The one rejection of a message, the same on both paths."""
    result, by_the_book = decoded(value), decoded(value, by_the_book=True)
    assert result.rejections == by_the_book.rejections
    assert len(result) == 0
    assert result.suppressions == []
    (rejection,) = result.rejections
    return rejection


def units(result: EventBatch) -> list[int]:
    """Quantities of a batch in 10^-12."""
    data = result.quantities.tobytes()
    return [
        int.from_bytes(data[at : at + 16], "little", signed=True) for at in range(0, len(data), 16)
    ]

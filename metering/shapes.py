"""Under which names producers send the fields of a usage event: the one table of it.

A path `a.b` is member `b` of object `a`. The first path that is there and not null gives the field;
other members are ignored. `docs/events.md` shows the same table to people.
"""

from collections.abc import Mapping
from typing import Final

Shape = Mapping[str, tuple[str, ...]]

#: Meterline's own names, and those that usage-billing guides use. An idempotency key is what its
#: sender made for this purpose, so it goes before an id. The time of receipt is the time of an
#: event only where its sender knows no better.
PLAIN: Final[Shape] = {
    "id": ("idempotencyKey", "id"),
    "customer_id": ("customer_id", "customerId", "organizationId", "customer.id"),
    "subject": ("subject", "workspaceId"),
    "meter": ("meter",),
    "quantity": ("quantity",),
    "occurred_at": ("occurred_at", "occurredAt", "timestamp", "ingestion.receivedAt"),
    "dimensions": ("dimensions",),
    "source": ("source", "ingestion.source"),
    "batch_id": ("batch_id", "batchId", "ingestion.batchId"),
    "schema_version": ("schema_version", "schemaVersion", "ingestion.schemaVersion"),
}

#: CloudEvents 1.0 as JSON: an event with this member, whatever else it has.
CLOUDEVENT_MARK: Final = "specversion"
CLOUDEVENT_VERSION: Final = "1.0"
CLOUDEVENT_DATA: Final = "data"
CLOUDEVENT_BINARY_DATA: Final = "data_base64"
CLOUDEVENT: Final[Shape] = {
    "id": ("id",),
    "customer_id": ("data.customer_id", "data.customerId", "data.organizationId"),
    "subject": ("subject",),
    "meter": ("type",),
    "quantity": ("data.quantity", "data.value"),
    "occurred_at": ("time",),
    "dimensions": ("data.dimensions",),
    "source": ("source",),
    "batch_id": ("data.batch_id", "data.batchId"),
    "schema_version": ("dataschema",),
}

#: Members of `data` that are fields; the other scalars are dimensions where none are given.
CLOUDEVENT_DATA_FIELDS: Final = frozenset(
    path.removeprefix("data.")
    for paths in CLOUDEVENT.values()
    for path in paths
    if path.startswith("data.")
)

#: Top-level members that make an event another shape than Meterline's own.
FOREIGN_MEMBERS: Final = (
    *sorted({path.split(".")[0] for paths in PLAIN.values() for path in paths} - set(PLAIN)),
    CLOUDEVENT_MARK,
)

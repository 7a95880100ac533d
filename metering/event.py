"""One usage event between its bytes and the columns: texts, not yet checked as a whole."""

from typing import cast

import msgspec

from metering.shapes import FOREIGN_MEMBERS

#: What no member at all looks like; never valid JSON, so never sent.
ABSENT = msgspec.Raw(b"")
NO_DIMENSIONS = msgspec.Raw(b"{}")


class UsageEvent(msgspec.Struct, gc=False):
    """Fields in Meterline's own shape.

    Read from the wire as `OwnShapeEvent`, or written canonically by `read_event` (then it passes
    every check of the columns). `identity_id` is what replaces the id in the identity; never from
    the wire.
    """

    id: str
    meter: str
    occurred_at: str
    quantity: msgspec.Raw = ABSENT
    customer_id: str | None = None
    subject: str | None = None
    dimensions: msgspec.Raw = NO_DIMENSIONS
    source: str | None = None
    batch_id: str | None = None
    schema_version: str | None = None
    identity_id: str | None = None


#: The same, for decoding: it refuses events in which another shape's members are set, so that such
#: an event is never half understood.
OwnShapeEvent = cast(
    "type[UsageEvent]",
    msgspec.defstruct(
        "OwnShapeEvent",
        [(name, None, None) for name in (*FOREIGN_MEMBERS, "identity_id")],
        bases=(UsageEvent,),
        gc=False,
    ),
)

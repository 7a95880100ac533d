"""Events of other shapes put into Meterline's own, unchecked: the columns check them with the rest.

Cheaper than reading them by the book, which then only happens to what is in doubt.
"""

import msgspec

from metering import shapes
from metering.dimensions import canonical
from metering.event import ABSENT, NO_DIMENSIONS, UsageEvent
from metering.event_fields import Fields, fields_of, key_of, scalars_of, text_of
from metering.identity import cloudevent_id

_REQUIRED = ("id", "meter", "occurred_at")
_OPTIONAL = ("customer_id", "subject", "source", "batch_id", "schema_version")


def in_own_shape(raw: bytes) -> UsageEvent | None:
    """Put the event in `raw` (valid JSON) into own shape; None where it has to be read singly."""
    fields = fields_of(raw)
    if fields is None:
        return None
    values = fields.values
    texts = {name: text_of(values[name]) for name in _REQUIRED + _OPTIONAL if name in values}
    if None in texts.values():
        return None
    event_id, meter, occurred_at = (texts.get(name) for name in _REQUIRED)
    if event_id is None or meter is None or occurred_at is None:
        return None
    identity_id = None
    if fields.version is not None:
        source = key_of(values.get("source"))
        if not source or not _is_plain_cloudevent(fields):
            return None
        identity_id = cloudevent_id(source, event_id)
    quantity = values.get("quantity")
    return UsageEvent(
        event_id,
        meter,
        occurred_at,
        ABSENT if quantity is None else msgspec.Raw(quantity),
        texts.get("customer_id"),
        texts.get("subject"),
        _dimensions(fields),
        texts.get("source"),
        texts.get("batch_id"),
        texts.get("schema_version"),
        identity_id,
    )


def _is_plain_cloudevent(fields: Fields) -> bool:
    return (
        text_of(fields.version or b"") == shapes.CLOUDEVENT_VERSION
        and not fields.has_binary_data
        and (fields.data is None or fields.data.startswith(b"{"))
    )


def _dimensions(fields: Fields) -> msgspec.Raw:
    given = fields.values.get("dimensions")
    if given is not None:
        return msgspec.Raw(given)
    if fields.data is not None:
        return msgspec.Raw(canonical(scalars_of(fields.data)).encode())
    return NO_DIMENSIONS

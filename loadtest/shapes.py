"""Usage events as JSON, in each of the shapes that the pipeline says it accepts."""

from collections.abc import Callable
from random import Random
from typing import Any

import orjson

from loadtest.meters import Aggregation
from loadtest.usage import Shape, Usage, rfc3339

Json = dict[str, Any]
_HALF = 0.5
#: Shares of notations: quantities as plain JSON number or as text; times with Z.
_AS_NUMBER, _AS_TEXT, _IN_UTC = 0.8, 0.15, 0.9
_WITHOUT_QUANTITY = (Aggregation.COUNT, Aggregation.UNIQUE_COUNT)


def render(usage: Usage, random: Random) -> Json:
    """The event in its shape; `random` chooses among notations that mean the same."""
    return _RENDERERS[usage.shape](usage, random)


def encode(content: object) -> bytes:
    """JSON bytes; quantities stay digit for digit what they are."""
    return orjson.dumps(content)


def number(text: str) -> orjson.Fragment:
    """A JSON number of exactly these characters."""
    return orjson.Fragment(text)


def _own(usage: Usage, random: Random) -> Json:
    event: Json = {"id": usage.id}
    if usage.names_customer:
        event["customer_id"] = usage.customer_id
    if usage.subject is not None:
        event["subject"] = usage.subject
    event["meter"] = usage.meter.name
    event.update(_quantity("quantity", usage, random))
    event["occurred_at"] = _moment(usage.occurred_us, random)
    event["dimensions"] = usage.dimensions
    event["source"] = "api-gateway"
    event["batch_id"] = f"batch-{usage.serial // 500:08d}"
    event["schema_version"] = "1"
    return event


def _cloud_event(usage: Usage, random: Random) -> Json:
    """Dimensions stand in an object of their own, or beside the quantity as OpenMeter's do."""
    data: Json = {}
    if usage.names_customer:
        data["customer_id"] = usage.customer_id
    if random.random() < _HALF:
        data.update(_quantity("quantity", usage, random))
        data["dimensions"] = usage.dimensions
    else:
        data.update(_quantity("value", usage, random))
        data.update(usage.dimensions)
    event: Json = {
        "specversion": "1.0",
        "id": usage.id,
        "source": f"/services/{usage.meter.name}",
        "type": usage.meter.name,
        "time": _moment(usage.occurred_us, random),
        "datacontenttype": "application/json",
        "data": data,
    }
    if usage.subject is not None:
        event["subject"] = usage.subject
    return event


def _camel_case(usage: Usage, random: Random) -> Json:
    event: Json = {"idempotencyKey": usage.id, "meter": usage.meter.name}
    if usage.names_customer:
        way = int(random.random() * 3)
        name = ("organizationId", "customerId", "customer")[way]
        event[name] = {"id": usage.customer_id} if name == "customer" else usage.customer_id
    if usage.subject is not None:
        event["subject" if random.random() < _HALF else "workspaceId"] = usage.subject
    event.update(_quantity("quantity", usage, random))
    name = "occurredAt" if random.random() < _HALF else "timestamp"
    event[name] = _moment(usage.occurred_us, random)
    event["dimensions"] = usage.dimensions
    return event


_RENDERERS: dict[Shape, Callable[[Usage, Random], Json]] = {
    Shape.OWN: _own,
    Shape.CLOUD_EVENT: _cloud_event,
    Shape.CAMEL_CASE: _camel_case,
}


def _quantity(name: str, usage: Usage, random: Random) -> Json:
    """Mostly a JSON number, else decimal text, an exponent, or left out where that means 1."""
    text = usage.quantity.text
    chance = random.random()
    if chance < _AS_NUMBER:
        return {name: number(text)}
    if chance < _AS_NUMBER + _AS_TEXT:
        return {name: text}
    if text == "1" and usage.meter.aggregation in _WITHOUT_QUANTITY:
        return {}
    whole, _, fraction = text.partition(".")
    sign = "-" if whole.startswith("-") else ""
    digits = (whole.removeprefix("-") + fraction).lstrip("0") or "0"
    return {name: number(f"{sign}{digits}e-{len(fraction)}")}


def _moment(unix_us: int, random: Random) -> str:
    chance = random.random()
    return rfc3339(unix_us, 0 if chance < _IN_UTC else 1 + int(chance * 100) % 2)

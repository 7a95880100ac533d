"""Malformed input, each piece with the code that must name it.

`MESSAGES` are broken as a whole; `EVENT_DEFECTS` spoil one field of a sound event and stand in the
documented order of precedence, so that of two defects the earlier one names the rejection.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from loadtest.population import unbound_subject
from loadtest.shapes import Json, number
from loadtest.usage import rfc3339

_DAY_US = 86_400_000_000
_TOO_LONG = "x" * 257
#: Share of spoilt events that have two defects.
_TWO_AT_ONCE = 0.2

#: (code, value of the Kafka message).
MESSAGES: tuple[tuple[str, bytes | None], ...] = (
    ("message_must_have_a_value", None),
    ("message_must_have_a_value", b""),
    ("message_must_be_valid_json", b'{"id":"cut","customer_id":"cust-000001","met'),
    ("message_must_be_valid_json", b"not json at all"),
    ("message_must_be_valid_json", b'{"id":"nan","customer_id":"cust-000001","quantity":NaN}'),
    ("message_must_be_valid_json", b'{"id":"\xff\xfe"}'),
    ("message_must_be_valid_json", b'{"id":"two"}{"id":"values"}'),
    ("message_must_be_object_or_array", b"42"),
    ("message_must_be_object_or_array", b'"text"'),
    ("message_must_be_object_or_array", b"null"),
    ("array_must_not_be_empty", b"[]"),
    ("event_must_be_object", b"[17]"),
    ("event_must_be_object", b'[["nested"]]'),
    ("id_must_be_present", b"{}"),
)

#: The same for what is too large; kept apart because each is worth thousands of others in bytes.
LARGE_MESSAGES: tuple[tuple[str, bytes], ...] = (
    ("message_must_not_exceed_size_limit", b'{"id":"' + b"x" * 1024 * 1024 + b'"}'),
    ("array_must_not_exceed_length_limit", b"[" + b"{}," * 1000 + b"{}]"),
    ("event_must_not_exceed_size_limit", b'{"id":"' + b"x" * 64 * 1024 + b'"}'),
)


class Defect(NamedTuple):
    """One way to spoil a sound event in the own shape; `parts` names what it touches."""

    code: str
    parts: str
    spoil: Callable[[Json, Random, int], None]


def spoil(event: Json, random: Random, now_us: int) -> str:
    """Spoil `event` in one way, or in two at once; returns the code that must name it."""
    first = random.randrange(len(EVENT_DEFECTS))
    chosen = [EVENT_DEFECTS[first]]
    if random.random() < _TWO_AT_ONCE:
        second = EVENT_DEFECTS[random.randrange(len(EVENT_DEFECTS))]
        if not set(second.parts.split()) & set(chosen[0].parts.split()):
            chosen.append(second)
    chosen.sort(key=EVENT_DEFECTS.index)
    for defect in chosen:
        defect.spoil(event, random, now_us)
    return chosen[0].code


def all_codes() -> set[str]:
    """Every code that malformed input of this file is rejected with."""
    messages = (*MESSAGES, *LARGE_MESSAGES)
    return {code for code, _ in messages} | {defect.code for defect in EVENT_DEFECTS}


def future(random: Random, now_us: int) -> int:
    """A moment that is clearly ahead of `now_us`: 15 minutes to ten days."""
    return now_us + int((900 + random.random() * 860_000) * 1_000_000)


def _without(field: str) -> Callable[[Json, Random, int], None]:
    def spoil_field(event: Json, _random: Random, _now_us: int) -> None:
        event.pop(field, None)

    return spoil_field


def _one_of(field: str, *values: object) -> Callable[[Json, Random, int], None]:
    def spoil_field(event: Json, random: Random, _now_us: int) -> None:
        event[field] = values[int(random.random() * len(values))]

    return spoil_field


def _old_cloud_event(event: Json, _random: Random, _now_us: int) -> None:
    event.update(specversion="0.3", type=event.get("meter"), data={"quantity": 1})


def _cloud_event_without_source(event: Json, _random: Random, _now_us: int) -> None:
    event.update(specversion="1.0", data={})
    event.pop("source")


def _cloud_event_with_text(event: Json, _random: Random, _now_us: int) -> None:
    event.update(specversion="1.0", source="/test", data="quantity=1")


def _naive(event: Json, _random: Random, now_us: int) -> None:
    event["occurred_at"] = rfc3339(now_us).removesuffix("Z")


def _in_future(event: Json, random: Random, now_us: int) -> None:
    event["occurred_at"] = rfc3339(future(random, now_us))


def _add_to_dimensions(key: str, value: object) -> Callable[[Json, Random, int], None]:
    def spoil_field(event: Json, _random: Random, _now_us: int) -> None:
        event["dimensions"] = {**event["dimensions"], key: value}

    return spoil_field


def _crowded(event: Json, _random: Random, _now_us: int) -> None:
    event["dimensions"] = {f"key-{index}": "value" for index in range(17)}


def _unbound(event: Json, random: Random, _now_us: int) -> None:
    event.pop("customer_id", None)
    event["subject"] = unbound_subject(random.randrange(1000))


EVENT_DEFECTS: tuple[Defect, ...] = (
    Defect("cloudevent_must_be_version_1_0", "shape", _old_cloud_event),
    Defect("cloudevent_must_have_a_source", "shape source", _cloud_event_without_source),
    Defect("cloudevent_data_must_be_object", "shape source", _cloud_event_with_text),
    Defect("id_must_be_present", "id", _without("id")),
    Defect("id_must_be_text_of_1_to_256_characters", "id", _one_of("id", 17, "", _TOO_LONG, "\0")),
    Defect("customer_or_subject_must_be_present", "customer", _without("customer_id")),
    Defect(
        "customer_must_be_text_of_1_to_256_characters",
        "customer",
        _one_of("customer_id", 5, "", _TOO_LONG),
    ),
    Defect(
        "subject_must_be_text_of_1_to_256_characters", "customer", _one_of("subject", 5, _TOO_LONG)
    ),
    Defect("meter_must_be_present", "meter", _without("meter")),
    Defect("meter_must_be_known", "meter", _one_of("meter", "api_request", "SEATS")),
    Defect("quantity_must_be_present", "quantity", _without("quantity")),
    Defect("quantity_must_be_number", "quantity", _one_of("quantity", "ten", [1], {}, "1,5")),
    Defect("quantity_must_be_finite", "quantity", _one_of("quantity", "NaN", "-Infinity")),
    Defect(
        "quantity_must_be_below_10_pow_20",
        "quantity",
        _one_of("quantity", number("1e400"), number("1E+999999999"), number("1" + "0" * 20)),
    ),
    Defect(
        "quantity_must_have_at_most_12_fraction_digits",
        "quantity",
        _one_of("quantity", number("0.1234567890123"), "1e-13"),
    ),
    Defect("quantity_must_not_be_negative", "quantity", _one_of("quantity", number("-1"), "-0.5")),
    Defect("occurred_at_must_be_present", "moment", _without("occurred_at")),
    Defect("occurred_at_must_be_rfc3339_with_offset", "moment", _naive),
    Defect(
        "occurred_at_must_be_rfc3339_with_offset",
        "moment",
        _one_of("occurred_at", "yesterday", "2026-02-30T00:00:00Z", 1_767_225_600),
    ),
    Defect(
        "occurred_at_must_not_precede_1971",
        "moment",
        _one_of("occurred_at", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"),
    ),
    Defect("occurred_at_must_not_be_in_future", "moment", _in_future),
    Defect("dimensions_must_be_text_pairs", "dimensions", _one_of("dimensions", ["eu"], "eu")),
    Defect("dimensions_must_be_text_pairs", "dimensions", _add_to_dimensions("seats", 3)),
    Defect("dimensions_must_have_at_most_16_pairs", "dimensions", _crowded),
    Defect(
        "dimensions_must_not_exceed_256_characters",
        "dimensions",
        _add_to_dimensions("note", _TOO_LONG),
    ),
    Defect("counted_dimension_must_be_present", "meter quantity", _one_of("meter", "active_users")),
    Defect("optional_fields_must_be_text", "source", _one_of("source", 5, ["a"])),
    Defect("subject_must_be_bound", "customer", _unbound),
)

"""What a rejection says to a person: what was expected, what came, what to do. One row a code."""

from typing import Final

from metering.rejection import RejectionCode

_SHOWN_MAX = 80

#: Code -> (expected ..., what to do). `docs/rejections.md` shows the same table.
SENTENCES: Final[dict[RejectionCode, tuple[str, str]]] = {
    RejectionCode.MESSAGE_MUST_HAVE_A_VALUE: (
        "a message with a value",
        "send no tombstones to this topic",
    ),
    RejectionCode.MESSAGE_MUST_NOT_EXCEED_SIZE_LIMIT: (
        "a message of at most 1048576 bytes",
        "send fewer events per message",
    ),
    RejectionCode.MESSAGE_MUST_BE_VALID_JSON: (
        "JSON in UTF-8 without a byte order mark, nested at most 256 levels",
        "mend the producer's encoding",
    ),
    RejectionCode.MESSAGE_MUST_BE_OBJECT_OR_ARRAY: (
        "a JSON object or an array of objects",
        "send the event as an object",
    ),
    RejectionCode.ARRAY_MUST_NOT_BE_EMPTY: (
        "at least one event in the array",
        "send nothing where there is nothing to send",
    ),
    RejectionCode.ARRAY_MUST_NOT_EXCEED_LENGTH_LIMIT: (
        "an array of at most 1000 events",
        "split it into several messages",
    ),
    RejectionCode.EVENT_MUST_BE_OBJECT: (
        "each event of the array as a JSON object",
        "send the event as an object",
    ),
    RejectionCode.EVENT_MUST_NOT_EXCEED_SIZE_LIMIT: (
        "an event of at most 65536 bytes",
        "leave out what metering does not need",
    ),
    RejectionCode.CLOUDEVENT_MUST_BE_VERSION_1_0: (
        'specversion "1.0"',
        "send CloudEvents 1.0, or leave specversion out",
    ),
    RejectionCode.CLOUDEVENT_MUST_HAVE_A_SOURCE: (
        "a CloudEvent's source as text of 1 to 256 characters without control characters",
        "set source: id is unique only within it",
    ),
    RejectionCode.CLOUDEVENT_DATA_MUST_BE_OBJECT: (
        "a CloudEvent's data as a JSON object",
        "send data as JSON, not as text or data_base64",
    ),
    RejectionCode.ID_MUST_BE_PRESENT: (
        "an id (or idempotencyKey)",
        "derive one from the work, so that a retry repeats it",
    ),
    RejectionCode.ID_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS: (
        "the id as text of 1 to 256 characters without control characters",
        "send a shorter id, as a string",
    ),
    RejectionCode.CUSTOMER_OR_SUBJECT_MUST_BE_PRESENT: (
        "a customer_id or a subject",
        "say whose usage it is",
    ),
    RejectionCode.CUSTOMER_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS: (
        "the customer_id as text of 1 to 256 characters without control characters",
        "send the customer's key, as a string",
    ),
    RejectionCode.SUBJECT_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS: (
        "the subject as text of 1 to 256 characters without control characters",
        "send the subject's key, as a string, or leave it out",
    ),
    RejectionCode.METER_MUST_BE_PRESENT: (
        "a meter",
        "name the meter that the usage belongs to",
    ),
    RejectionCode.METER_MUST_BE_KNOWN: (
        "a meter of the catalog",
        "correct the name, or add the meter to meters.yaml and replay",
    ),
    RejectionCode.QUANTITY_MUST_BE_PRESENT: (
        "a quantity (only count and unique_count meters do without)",
        "send how much was used",
    ),
    RejectionCode.QUANTITY_MUST_BE_NUMBER: (
        "the quantity as a JSON number or decimal text",
        'send it like 12.5 or "12.5"',
    ),
    RejectionCode.QUANTITY_MUST_BE_FINITE: (
        "a finite quantity",
        "mend the producer's calculation",
    ),
    RejectionCode.QUANTITY_MUST_BE_BELOW_10_POW_20: (
        "a quantity below 10^20 in size",
        "use a larger unit for the meter",
    ),
    RejectionCode.QUANTITY_MUST_HAVE_AT_MOST_12_FRACTION_DIGITS: (
        "a quantity with at most 12 fraction digits",
        "round it where it is measured",
    ),
    RejectionCode.QUANTITY_MUST_NOT_BE_NEGATIVE: (
        "a quantity of 0 or more for this meter",
        "correct the event, or set allow_negative for the meter and replay",
    ),
    RejectionCode.OCCURRED_AT_MUST_BE_PRESENT: (
        "occurred_at",
        "send when the usage happened",
    ),
    RejectionCode.OCCURRED_AT_MUST_BE_RFC3339_WITH_OFFSET: (
        "occurred_at as RFC 3339 with an offset, seconds 00 to 59",
        "send it like 2026-06-12T07:18:00Z",
    ),
    RejectionCode.OCCURRED_AT_MUST_NOT_PRECEDE_1971: (
        "occurred_at in 1971 or later",
        "mend the producer's clock",
    ),
    RejectionCode.OCCURRED_AT_MUST_NOT_BE_IN_FUTURE: (
        "occurred_at no further ahead of the record's arrival than the tolerance",
        "mend the producer's clock and send it again",
    ),
    RejectionCode.DIMENSIONS_MUST_BE_TEXT_PAIRS: (
        "dimensions as an object of strings, without empty keys or control characters",
        "send every value as a string",
    ),
    RejectionCode.DIMENSIONS_MUST_HAVE_AT_MOST_16_PAIRS: (
        "at most 16 dimensions",
        "leave out what no meter groups by",
    ),
    RejectionCode.DIMENSIONS_MUST_NOT_EXCEED_256_CHARACTERS: (
        "dimension keys and values of at most 256 characters",
        "shorten them",
    ),
    RejectionCode.COUNTED_DIMENSION_MUST_BE_PRESENT: (
        "the dimension that the meter counts, not empty",
        "send it among the dimensions",
    ),
    RejectionCode.OPTIONAL_FIELDS_MUST_BE_TEXT: (
        "source, batch_id, schema_version as text of at most 256 characters, none control",
        "send strings, or leave them out",
    ),
    RejectionCode.SUBJECT_MUST_BE_BOUND: (
        "a subject that is bound to a customer when the usage occurred",
        "add it to bindings.yaml and replay",
    ),
    RejectionCode.IDENTITY_MUST_NOT_REPEAT_WITH_OTHER_PAYLOAD: (
        "the same quantity and dimensions as the first event with this identity",
        "send a correction under its own id",
    ),
}


def sentence(code: RejectionCode, got: str) -> str:
    """Write `expected ..., got ...; what to do`, for the operator's list of rejects."""
    expected, remedy = SENTENCES[code]
    return f"expected {expected}, got {got}; {remedy}"


def shortened(value: bytes) -> str:
    """Bytes as a sentence may show them: one line, at most 80 characters, always valid text."""
    text = value[: 4 * _SHOWN_MAX].decode("utf-8", "replace")
    text = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."

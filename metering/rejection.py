"""Why an event was not counted: one code per predicate, in order of precedence.

The order of the members *is* the order in which the decoder checks them; the first that fails
names the rejection. The same order stands in `docs/rejections.md` and in the tests.
"""

from dataclasses import dataclass
from enum import StrEnum


class RejectionCode(StrEnum):
    """Each name states what must hold; a rejection carries the one that did not."""

    # the Kafka message
    MESSAGE_MUST_HAVE_A_VALUE = "message_must_have_a_value"
    MESSAGE_MUST_NOT_EXCEED_SIZE_LIMIT = "message_must_not_exceed_size_limit"
    MESSAGE_MUST_BE_VALID_JSON = "message_must_be_valid_json"
    MESSAGE_MUST_BE_OBJECT_OR_ARRAY = "message_must_be_object_or_array"
    ARRAY_MUST_NOT_BE_EMPTY = "array_must_not_be_empty"
    ARRAY_MUST_NOT_EXCEED_LENGTH_LIMIT = "array_must_not_exceed_length_limit"
    # one event of it
    EVENT_MUST_BE_OBJECT = "event_must_be_object"
    EVENT_MUST_NOT_EXCEED_SIZE_LIMIT = "event_must_not_exceed_size_limit"
    CLOUDEVENT_MUST_BE_VERSION_1_0 = "cloudevent_must_be_version_1_0"
    CLOUDEVENT_MUST_HAVE_A_SOURCE = "cloudevent_must_have_a_source"
    CLOUDEVENT_DATA_MUST_BE_OBJECT = "cloudevent_data_must_be_object"
    ID_MUST_BE_PRESENT = "id_must_be_present"
    ID_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS = "id_must_be_text_of_1_to_256_characters"
    CUSTOMER_OR_SUBJECT_MUST_BE_PRESENT = "customer_or_subject_must_be_present"
    CUSTOMER_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS = "customer_must_be_text_of_1_to_256_characters"
    SUBJECT_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS = "subject_must_be_text_of_1_to_256_characters"
    METER_MUST_BE_PRESENT = "meter_must_be_present"
    METER_MUST_BE_KNOWN = "meter_must_be_known"
    QUANTITY_MUST_BE_PRESENT = "quantity_must_be_present"
    QUANTITY_MUST_BE_NUMBER = "quantity_must_be_number"
    QUANTITY_MUST_BE_FINITE = "quantity_must_be_finite"
    QUANTITY_MUST_BE_BELOW_10_POW_20 = "quantity_must_be_below_10_pow_20"
    QUANTITY_MUST_HAVE_AT_MOST_12_FRACTION_DIGITS = "quantity_must_have_at_most_12_fraction_digits"
    QUANTITY_MUST_NOT_BE_NEGATIVE = "quantity_must_not_be_negative"
    OCCURRED_AT_MUST_BE_PRESENT = "occurred_at_must_be_present"
    OCCURRED_AT_MUST_BE_RFC3339_WITH_OFFSET = "occurred_at_must_be_rfc3339_with_offset"
    OCCURRED_AT_MUST_NOT_PRECEDE_1971 = "occurred_at_must_not_precede_1971"
    OCCURRED_AT_MUST_NOT_BE_IN_FUTURE = "occurred_at_must_not_be_in_future"
    DIMENSIONS_MUST_BE_TEXT_PAIRS = "dimensions_must_be_text_pairs"
    DIMENSIONS_MUST_HAVE_AT_MOST_16_PAIRS = "dimensions_must_have_at_most_16_pairs"
    DIMENSIONS_MUST_NOT_EXCEED_256_CHARACTERS = "dimensions_must_not_exceed_256_characters"
    COUNTED_DIMENSION_MUST_BE_PRESENT = "counted_dimension_must_be_present"
    OPTIONAL_FIELDS_MUST_BE_TEXT = "optional_fields_must_be_text"
    # the event against what is known
    SUBJECT_MUST_BE_BOUND = "subject_must_be_bound"
    IDENTITY_MUST_NOT_REPEAT_WITH_OTHER_PAYLOAD = "identity_must_not_repeat_with_other_payload"


@dataclass(frozen=True, slots=True)
class Rejection:
    """One event that was not counted, with everything needed to mend and send it again.

    Coordinate: `offset` and `index` (position in the message's array, 0 for a single object) in
    the partition of the batch that holds it. `event` is the event's own bytes as received.
    """

    offset: int
    index: int
    record_time_ms: int
    code: RejectionCode
    sentence: str
    event: bytes
    event_id: str = ""
    customer_id: str = ""
    meter: str = ""


@dataclass(frozen=True, slots=True)
class Suppression:
    """One event that an operator's rule dropped, by coordinate; `rule` names the rule."""

    offset: int
    index: int
    record_time_ms: int
    rule: str

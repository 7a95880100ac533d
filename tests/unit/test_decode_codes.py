"""One row for each rejection code, in the order of precedence."""

from typing import Any

import pytest
from decoding import RECORD_MS, anything, decoded, event, rejected, written

from metering.rejection import RejectionCode
from metering.rejection_sentence import SENTENCES

LONG = "x" * 257
CLOUD = {
    "specversion": "1.0",
    "id": "1",
    "source": "edge",
    "type": "api_requests",
    "subject": "vm-17",
    "time": "2026-06-12T07:18:00Z",
    "data": {"value": 1},
}
Code = RejectionCode

#: Every code but the one that only the dedup memory can tell, with messages that get it.
ROWS: dict[RejectionCode, list[Any]] = {
    Code.MESSAGE_MUST_HAVE_A_VALUE: [None, b""],
    Code.MESSAGE_MUST_NOT_EXCEED_SIZE_LIMIT: [b'{"id":"' + b"x" * (1 << 20) + b'"}'],
    Code.MESSAGE_MUST_BE_VALID_JSON: [
        b"{",
        b" ",
        b"\xff",
        b'{"id":NaN}',
        b'{"id":01}',
        b'\xef\xbb\xbf{"id":"1"}',
        b'{"id":"\\ud800"}',
        b'{"id":"\xed\xa0\x80"}',
        b'{"id":"a\x01"}',
        b'{"other":"\xff"}',
        written(event(other="?")).replace(b"?", b"\xff"),
        b'{"other":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
        written(event()) + b"x",
    ],
    Code.MESSAGE_MUST_BE_OBJECT_OR_ARRAY: [b"null", b"1", b'"text"', b"true", b"-1e5"],
    Code.ARRAY_MUST_NOT_BE_EMPTY: [b"[]", b" [ ] "],
    Code.ARRAY_MUST_NOT_EXCEED_LENGTH_LIMIT: [b"[" + b",".join([b"{}"] * 1001) + b"]"],
    Code.EVENT_MUST_BE_OBJECT: [b"[1]", b"[null]", b"[[]]", b'["{}"]'],
    Code.EVENT_MUST_NOT_EXCEED_SIZE_LIMIT: [event(other="x" * (1 << 16))],
    Code.CLOUDEVENT_MUST_BE_VERSION_1_0: [
        {**CLOUD, "specversion": v} for v in anything("0.3", 1.0, "", [])
    ],
    Code.CLOUDEVENT_MUST_HAVE_A_SOURCE: [
        {**CLOUD, "source": v} for v in anything(None, "", 1, LONG, "\n")
    ],
    Code.CLOUDEVENT_DATA_MUST_BE_OBJECT: [
        *({**CLOUD, "data": v} for v in anything("text", 1, [], True)),
        {**CLOUD, "data_base64": "e30="},
    ],
    Code.ID_MUST_BE_PRESENT: [
        event(id=None),
        {**event(), "id": None},
        b"{}",
        {**CLOUD, "id": None},
    ],
    Code.ID_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS: [
        event(id=value)
        for value in anything("", 1, 1.5, True, [], {}, LONG, "a\x00", "\x1f", "é" * 257)
    ],
    Code.CUSTOMER_OR_SUBJECT_MUST_BE_PRESENT: [
        event(customer_id=None),
        {**event(), "customer_id": None, "subject": None},
        event(customer_id=None, customer="Northstar Analytics"),
    ],
    Code.CUSTOMER_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS: [
        *(event(customer_id=value) for value in anything("", 1, [], LONG, "a\nb")),
        event(customer_id="", subject="vm-17"),
    ],
    Code.SUBJECT_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS: [
        *(event(customer_id=None, subject=value) for value in anything("", 1, {}, LONG, "\t")),
        event(subject=""),
    ],
    Code.METER_MUST_BE_PRESENT: [event(meter=None), {**event(), "meter": None}],
    Code.METER_MUST_BE_KNOWN: [
        event(meter=value) for value in anything("", "unknown", "API_REQUESTS", 1)
    ],
    Code.QUANTITY_MUST_BE_PRESENT: [event(quantity=None), {**event(), "quantity": None}],
    Code.QUANTITY_MUST_BE_NUMBER: [
        *(
            event(quantity=value)
            for value in anything(True, [], [1], {}, {"a": 1}, "", " 1", "1 ", "1_0")
        ),
        *(
            event(quantity=value)
            for value in anything("0x1", "1,5", "+", ".", "1e", "--1", "٣", "1\n", "e5")
        ),
    ],
    Code.QUANTITY_MUST_BE_FINITE: [
        event(quantity=value)
        for value in anything("NaN", "-nan", "sNaN", "Infinity", "-inf", "+INF")
    ],
    Code.QUANTITY_MUST_BE_BELOW_10_POW_20: [
        event(quantity=10**20),
        event(quantity=-(10**20)),
        event(quantity="1E+999999999"),
        event(quantity="1E+" + "9" * 10_000),
        event(quantity=10**400),
        written(event(quantity=7)).replace(b": 7", b": 1e400"),
        event(quantity="123456789012345678901.5"),
    ],
    Code.QUANTITY_MUST_HAVE_AT_MOST_12_FRACTION_DIGITS: [
        event(quantity=value)
        for value in anything("0.0000000000001", "1.1234567890123", "1e-13", "1E-999999999")
    ],
    Code.QUANTITY_MUST_NOT_BE_NEGATIVE: [event(quantity=-1), event(quantity="-0.000000000001")],
    Code.OCCURRED_AT_MUST_BE_PRESENT: [event(occurred_at=None), {**event(), "occurred_at": None}],
    Code.OCCURRED_AT_MUST_BE_RFC3339_WITH_OFFSET: [
        event(occurred_at=value)
        for value in anything(
            "",
            1_781_251_200,
            "now",
            "2026-06-12",
            "2026-06-12T07:18:00",
            "2026-06-12T07:18Z",
            "2026-06-12T07:18:00+02",
            "2026-06-12T07:18:00+0200",
            "2026-06-12T07:18:00+24:00",
            "2026-06-12T07:18:00+02:60",
            "2026-06-12T07:18:60Z",
            "2026-06-12T24:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-06-31T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-06-00T00:00:00Z",
            "2026-06-12T07:18:00.Z",
            "2026-06-12T07:18:00,5Z",
            "20260612T071800Z",
            " 2026-06-12T07:18:00Z",
            "2026-06-12T07:18:00Z\n",
            "٢٠٢٦-06-12T07:18:00Z",
        )
    ],
    Code.OCCURRED_AT_MUST_NOT_PRECEDE_1971: [
        event(occurred_at=value)
        for value in anything(
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00+00:01",
            "1970-01-01T00:00:00Z",
            "1970-12-31T23:59:59.999999Z",
            "1971-01-01T00:00:00+00:01",
            "0001-01-01T00:00:00Z",
            "0000-02-29T00:00:00Z",
        )
    ],
    Code.OCCURRED_AT_MUST_NOT_BE_IN_FUTURE: [
        event(occurred_at="2026-06-12T08:05:00.000001Z"),
        event(occurred_at="9999-12-31T23:59:59.999999999-23:59"),
    ],
    Code.DIMENSIONS_MUST_BE_TEXT_PAIRS: [
        event(dimensions=value)
        for value in anything(
            [], "x", 1, {"a": 1}, {"a": None}, {"": "x"}, {"a": "\n"}, {"\t": "x"}
        )
    ],
    Code.DIMENSIONS_MUST_HAVE_AT_MOST_16_PAIRS: [
        event(dimensions={str(at): "x" for at in range(17)})
    ],
    Code.DIMENSIONS_MUST_NOT_EXCEED_256_CHARACTERS: [
        event(dimensions={LONG: "x"}),
        event(dimensions={"x": LONG}),
    ],
    Code.COUNTED_DIMENSION_MUST_BE_PRESENT: [
        event(meter="active_users"),
        event(meter="active_users", dimensions={"user_id": ""}),
        event(meter="active_users", dimensions=None),
    ],
    Code.OPTIONAL_FIELDS_MUST_BE_TEXT: [
        *(event(source=value) for value in anything(1, [], LONG, "\n")),
        event(batch_id=1),
        event(schema_version=3),
    ],
    Code.SUBJECT_MUST_BE_BOUND: [
        event(customer_id=None, subject="vm-18"),
        event(customer_id=None, subject="vm-17", occurred_at="2025-12-31T23:59:59.999999Z"),
        CLOUD | {"subject": "org_1"},
    ],
}


def test_every_code_has_a_row_and_rows_stand_in_the_order_of_precedence() -> None:
    decided_later = RejectionCode.IDENTITY_MUST_NOT_REPEAT_WITH_OTHER_PAYLOAD
    assert list(ROWS) == [code for code in RejectionCode if code is not decided_later]


def test_every_code_has_its_sentence_in_the_order_of_precedence() -> None:
    assert list(SENTENCES) == list(RejectionCode)


@pytest.mark.parametrize("code", ROWS, ids=str)
def test_each_message_of_a_row_is_rejected_with_the_code_of_the_row(code: RejectionCode) -> None:
    for message in ROWS[code]:
        assert rejected(message).code == code, message


def test_an_event_with_several_faults_is_rejected_for_the_first_of_them() -> None:
    faults: list[tuple[RejectionCode, dict[str, Any]]] = [
        (Code.ID_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS, {"id": 1}),
        (Code.CUSTOMER_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS, {"customer_id": 1}),
        (Code.SUBJECT_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS, {"subject": 1}),
        (Code.METER_MUST_BE_KNOWN, {"meter": "unknown"}),
        (Code.QUANTITY_MUST_BE_BELOW_10_POW_20, {"quantity": "-1e30"}),
        (Code.OCCURRED_AT_MUST_BE_RFC3339_WITH_OFFSET, {"occurred_at": "now"}),
        (Code.DIMENSIONS_MUST_BE_TEXT_PAIRS, {"dimensions": {"a": 1}}),
        (Code.OPTIONAL_FIELDS_MUST_BE_TEXT, {"source": 1}),
    ]
    message = event()
    for _, change in faults:
        message |= change
    for code, change in faults:
        assert rejected(message).code == code
        message |= {name: event().get(name) for name in change}
    assert len(decoded(message)) == 1


def test_of_two_faults_of_a_quantity_the_first_counts() -> None:
    assert rejected(event(quantity="-1e20")).code == Code.QUANTITY_MUST_BE_BELOW_10_POW_20
    both = rejected(event(quantity="-100000000000000000000.1234567890123"))
    assert both.code == Code.QUANTITY_MUST_BE_BELOW_10_POW_20
    tiny = rejected(event(quantity="-1e-13"))
    assert tiny.code == Code.QUANTITY_MUST_HAVE_AT_MOST_12_FRACTION_DIGITS


def test_a_rejection_keeps_the_bytes_the_coordinate_and_what_could_be_read() -> None:
    raw = b' { "id" : "a" , "customer_id":"org_9","meter":"unknown" , "n" : 1 }\n'
    result = decoded(event(), [event(), raw.decode() and {"id": "b"}], raw)
    assert [(each.offset, each.index) for each in result.rejections] == [(101, 1), (102, 0)]
    last = result.rejections[-1]
    assert last.event == raw.strip()
    assert (last.event_id, last.customer_id, last.meter) == ("a", "org_9", "unknown")
    assert last.record_time_ms == RECORD_MS


def test_a_sentence_says_what_was_expected_what_came_and_what_to_do() -> None:
    assert rejected(event(quantity="NaN")).sentence == (
        'expected a finite quantity, got "NaN"; mend the producer\'s calculation'
    )


def test_a_sentence_shows_no_more_than_80_characters_of_a_value_on_one_line() -> None:
    for value in anything("é" * 5000, "\n" * 5000, "\x00\x7f\u2028" * 100):
        told = rejected(event(meter=value)).sentence
        assert len(told) < 250
        assert told.isprintable()

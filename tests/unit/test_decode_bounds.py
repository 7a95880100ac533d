"""Each bound, on both sides of it; and other systems' lessons about single events."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from decoding import accepted, anything, decoded, event, rejected, units, written

from metering.rejection import RejectionCode


@pytest.mark.parametrize("name", ["id", "customer_id", "subject"])
def test_texts_may_have_256_characters_of_any_width(name: str) -> None:
    for text in ("x" * 256, "é" * 256, "\N{MONEY BAG}" * 256, "x", "\x7f", " "):
        assert accepted(event(**{name: text}))[name] == text
    for text in ("x" * 257, "é" * 257, "\N{MONEY BAG}" * 257, "", "\x1f"):
        assert (
            rejected(event(**{name: text})).code
            == f"{_name(name)}_must_be_text_of_1_to_256_characters"
        )


def _name(field: str) -> str:
    return field.removesuffix("_id")


@pytest.mark.parametrize("name", ["source", "batch_id", "schema_version"])
def test_optional_texts_may_be_empty_and_have_256_characters(name: str) -> None:
    for text in ("", "x" * 256, "é" * 256):
        assert accepted(event(**{name: text}))[name] == text
    assert accepted(event())[name] == ""


@pytest.mark.parametrize(
    ("sent", "exact"),
    [
        (0, "0"),
        ("-0", "0"),
        ("-0.000", "0"),
        ("0E+999999999", "0"),
        ("0" * 60_000 + "7", "7"),
        ("0.5" + "0" * 60_000, "0.5"),
        ("+5", "5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1.0000000000000", "1"),
        ("0.000000000001", "0.000000000001"),
        ("1e-12", "0.000000000001"),
        ("10e-13", "0.000000000001"),
        ("1E3", "1000"),
        ("1e19", "10000000000000000000"),
        ("12.5e+1", "125"),
        ("1" + "0" * 40 + "e-40", "1"),
        ("99999999999999999999.999999999999", "99999999999999999999.999999999999"),
        (9_007_199_254_740_993, "9007199254740993"),
        (10**20 - 1, "99999999999999999999"),
        ("9223372.036854775807", "9223372.036854775807"),
        ("9223372.036854775808", "9223372.036854775808"),
        ("18446744.073709551616", "18446744.073709551616"),
    ],
)
def test_a_quantity_is_taken_exactly(sent: Any, exact: str) -> None:
    result = decoded(event(quantity=sent), event(quantity=1))
    assert result.rejections == []
    assert units(result)[0] == Fraction(exact) * 10**12
    assert accepted(event(quantity=sent))["quantity"] == Decimal(exact)


@pytest.mark.parametrize(
    ("number", "exact"),
    [("0.1", "0.1"), ("1.0000000000000000001e0", None), ("1E2", "100"), ("-0", "0"), ("-0.0", "0")],
)
def test_a_json_number_is_never_a_float(number: str, exact: str | None) -> None:
    message = written(event(quantity=7)).replace(b"7,", number.encode() + b",")
    if exact is None:
        code = RejectionCode.QUANTITY_MUST_HAVE_AT_MOST_12_FRACTION_DIGITS
        assert rejected(message).code == code
    else:
        assert accepted(message)["quantity"] == Decimal(exact)


def test_a_negative_quantity_is_taken_where_the_meter_allows_it() -> None:
    result = decoded(
        event(meter="credits", quantity="-99999999999999999999.999999999999"),
        event(meter="credits", quantity=-1),
    )
    assert units(result) == [-(10**32) + 1, -(10**12)]


def test_a_missing_quantity_is_1_for_meters_that_count() -> None:
    counted = {**event(meter="documents_processed"), "quantity": None}
    assert accepted(counted)["quantity"] == 1
    del counted["quantity"]
    assert accepted(counted)["quantity"] == 1
    users = event(meter="active_users", dimensions={"user_id": "u1"}, quantity=None)
    assert accepted(users)["quantity"] == 1
    assert accepted(event(meter="documents_processed", quantity=5))["quantity"] == 5


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("1971-01-01T00:00:00Z", "1971-01-01T00:00:00+00:00"),
        ("1971-01-01T01:00:00+01:00", "1971-01-01T00:00:00+00:00"),
        ("2026-06-12T08:05:00Z", "2026-06-12T08:05:00+00:00"),
        ("2026-06-12T08:05:00.0000009Z", "2026-06-12T08:05:00+00:00"),
        ("2024-02-29t23:59:59z", "2024-02-29T23:59:59+00:00"),
        ("2026-06-12 07:18:00Z", "2026-06-12T07:18:00+00:00"),
        ("2026-06-12T07:18:00.1Z", "2026-06-12T07:18:00.100000+00:00"),
        ("2026-06-12T07:18:00.123456789Z", "2026-06-12T07:18:00.123456+00:00"),
        ("2026-06-12T07:18:00.9999999+00:00", "2026-06-12T07:18:00.999999+00:00"),
        ("2026-06-12T07:18:00-00:00", "2026-06-12T07:18:00+00:00"),
        ("2026-06-13T07:17:00+23:59", "2026-06-12T07:18:00+00:00"),
        ("2026-06-11T07:19:00-23:59", "2026-06-12T07:18:00+00:00"),
    ],
)
def test_a_time_is_taken_to_the_microsecond(sent: str, meant: str) -> None:
    assert accepted(event(occurred_at=sent))["occurred_at"].isoformat() == meant


def test_dimensions_may_be_16_pairs_of_256_characters() -> None:
    most = {f"{at:0256}": "é" * 256 for at in range(16)}
    assert accepted(event(dimensions=most))["group"] == '{"region":""}'
    assert accepted(event(dimensions={"a": ""}))["dimensions"] == '{"a":""}'


def test_an_array_may_have_1000_events() -> None:
    assert len(decoded([event(id=str(at)) for at in range(1000)])) == 1000


def test_an_event_may_have_64_kib_and_blanks_around_it_do_not_count() -> None:
    bare = len(written(event(other="")))
    widest = written(event(other="x" * ((1 << 16) - bare)))
    assert len(widest) == 1 << 16
    assert len(decoded(widest, b"\n " + widest + b"\r\n\t", [event(), event()])) == 4
    assert rejected(widest.replace(b"xx", b"xxx", 1)).code == (
        RejectionCode.EVENT_MUST_NOT_EXCEED_SIZE_LIMIT
    )


def test_a_message_may_have_1_mib() -> None:
    events = b"[" + b",".join([written(event())] * 500)
    message = events + b" " * ((1 << 20) - len(events) - 1) + b"]"
    assert len(decoded(message)) == 500
    code = RejectionCode.MESSAGE_MUST_NOT_EXCEED_SIZE_LIMIT
    assert decoded(message + b" ").rejections[0].code == code


def _nested(levels: int) -> bytes:
    """An event of so many levels, itself among them."""
    inner = b"[" * (levels - 1) + b'"' + b"[{" * 300 + b'\\"]"' + b"]" * (levels - 1)
    return written(event(other="?")).replace(b'"?"', inner)


def _at_depth(frames: int, message: bytes) -> int:
    return _at_depth(frames - 1, message) if frames else len(decoded(message))


def test_a_message_may_have_256_levels_wherever_the_decoder_is_called_from() -> None:
    array = b"[" + _nested(255) + b"," + _nested(3) + b"]"
    for frames in (0, 300):
        assert _at_depth(frames, _nested(256)) == 1
        assert _at_depth(frames, array) == 2
        assert _at_depth(frames, _nested(257)) == 0
        assert _at_depth(frames, array.replace(b"[[", b"[[[", 1).replace(b"]]", b"]]]", 1)) == 0
    assert rejected(_nested(257)).code == RejectionCode.MESSAGE_MUST_BE_VALID_JSON


def test_the_group_has_every_key_of_the_meter_in_one_order_and_none_for_a_meter_without() -> None:
    row = accepted(event(meter="credits", dimensions={"region": "eu", "other": "x"}))
    assert row["group"] == '{"plan":"","region":"eu"}'
    assert accepted(event(meter="storage_gb"))["group"] == "{}"


def test_case_7_the_same_id_in_two_billing_periods_has_one_identity() -> None:
    result = decoded(
        event(occurred_at="2026-04-30T23:59:59.999999Z"),
        event(occurred_at="2026-05-01T00:00:00Z"),
    )
    assert len({row["identity"] for row in result.columns.to_pylist()}) == 1
    assert len(set(result.digests.tolist())) == 1


def test_case_8_the_same_identity_with_another_payload_has_another_digest() -> None:
    result = decoded(
        event(),
        event(occurred_at="2026-06-12T07:19:00Z"),
        event(quantity=2),
        event(dimensions={"region": "us"}),
    )
    identities = {row["identity"] for row in result.columns.to_pylist()}
    assert len(identities) == 1
    first, retry, *others = result.digests.tolist()
    assert first == retry
    assert first not in others


def test_case_10_the_same_id_from_two_customers_is_two_events() -> None:
    result = decoded(event(customer_id="org_1"), event(customer_id="org_2"))
    assert len({row["identity"] for row in result.columns.to_pylist()}) == 2


def test_case_11_no_bad_quantity_is_taken_or_changed() -> None:
    for quantity in anything(
        "abc",
        "NaN",
        "Infinity",
        "-Infinity",
        -1,
        "1e20",
        "1E+999999999",
        True,
        [],
        "",
    ):
        assert rejected(event(quantity=quantity)).code.startswith("quantity_must_")


def test_case_17_quantities_are_exact() -> None:
    tenths = decoded(*[event(id=str(at), quantity=0.1) for at in range(3)])
    assert sum(units(tenths)) == 3 * 10**11
    assert units(decoded(event(quantity=10**18))) == [10**18 * 10**12]

"""Identities are injective, digests see what matters and nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metering.dimensions import canonical
from metering.identity import (
    CUSTOMER,
    DIGEST_BITS,
    SUBJECT,
    cloudevent_id,
    dimensions_hash,
    identities,
    identity,
    identity_seed,
    payload_digests,
)
from metering.quantity import units

SEED = identity_seed("meterline")
TEXTS = st.text(st.sampled_from("ab-:0123456789c\N{MONEY BAG}"), min_size=1, max_size=6)


def _identity(value: str, meter: str, event_id: str, *, kind: str = CUSTOMER) -> bytes:
    return identity(kind, value, meter=meter, event_id=event_id, seed=SEED)


def _digest(quantity: str, dimensions: dict[str, str]) -> int:
    number = units(quantity)
    assert isinstance(number, int)
    words = np.frombuffer(number.to_bytes(16, "little", signed=True), np.int64)
    hashes = np.array([dimensions_hash(canonical(dimensions))], np.uint64)
    return int(payload_digests(words[:1], words[1:], hashes)[0])


def test_case_10_parts_of_an_identity_do_not_run_into_each_other() -> None:
    assert _identity("a-b", "m", "c") != _identity("a", "m", "b-c")
    assert _identity("a-b", "c", "d") != _identity("a", "b-c", "d")
    assert _identity("1", "1:a", "x") != _identity("11:1", "a", "x")


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=2, max_size=2, unique=True))
def test_two_different_events_have_different_identities(parts: list[tuple[str, str, str]]) -> None:
    first, second = parts
    assert _identity(*first) != _identity(*second)


def test_a_customer_and_a_subject_of_the_same_name_are_different() -> None:
    assert _identity("a", "m", "1") != _identity("a", "m", "1", kind=SUBJECT)


def test_another_key_gives_other_identities() -> None:
    other = identity(CUSTOMER, "a", meter="m", event_id="1", seed=identity_seed("other"))
    assert other != _identity("a", "m", "1")


def test_an_identity_is_what_it_was_when_this_was_written() -> None:
    assert _identity("org_123", "api_requests", "req:1").hex() == "91fe0191e3341e9c77cb1b4aaa21e3a3"


def test_the_source_and_id_of_a_cloudevent_do_not_run_into_each_other() -> None:
    assert cloudevent_id("a", "bc") != cloudevent_id("ab", "c")
    assert cloudevent_id("a", "bc") < " ", "no id of another shape can be the same"


@given(st.lists(st.tuples(st.none() | TEXTS, TEXTS, TEXTS, TEXTS)))
def test_identities_of_many_events_are_those_of_each(
    events: list[tuple[str | None, str, str, str]],
) -> None:
    joined = identities(
        [customer for customer, _, _, _ in events],
        [subject for _, subject, _, _ in events],
        meters=[meter for _, _, meter, _ in events],
        event_ids=[event_id for _, _, _, event_id in events],
        seed=SEED,
    )
    assert joined.tobytes() == b"".join(
        _identity(subject, meter, event_id, kind=SUBJECT)
        if customer is None
        else _identity(customer, meter, event_id)
        for customer, subject, meter, event_id in events
    )


def test_the_same_quantity_and_dimensions_have_the_same_digest_however_they_are_written() -> None:
    one = _digest("1", {"a": "1", "b": "2"})
    assert _digest("1.00", {"b": "2", "a": "1"}) == one
    assert _digest("10e-1", {"b": "2", "a": "1"}) == one
    assert _digest("-0", {}) == _digest("0", {})


def test_another_quantity_or_dimension_has_another_digest() -> None:
    digests = [
        _digest(quantity, dimensions)
        for quantity in ("1", "-1", "1.000000000001", "18446744.073709551617", "2")
        for dimensions in ({}, {"a": "1"}, {"a": "2"}, {"b": "1"}, {"a": "1", "b": ""})
    ]
    assert len(set(digests)) == len(digests)


def test_digests_have_26_bits_and_use_them_all() -> None:
    lo = np.arange(100_000, dtype=np.int64) * 10**12
    digests = payload_digests(lo, lo >> 63, np.zeros(len(lo), np.uint64))
    assert digests.dtype == np.uint32
    assert int(digests.max()) < 1 << DIGEST_BITS
    assert np.bitwise_or.reduce(digests) == (1 << DIGEST_BITS) - 1
    expected_pairs = len(lo) ** 2 / 2 / 2**DIGEST_BITS
    assert len(lo) - len(np.unique(digests)) < 3 * expected_pairs

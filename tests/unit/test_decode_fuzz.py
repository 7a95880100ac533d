"""A million broken messages: every one ends as events, rejections or suppressions, none raises."""

import json
import os
import random
from collections import Counter

import numpy as np
from decoding import CATALOG, SETTINGS, batch, event, written
from test_decode_shapes import CLOUD, GUIDE, RECONCILIATION

from metering.batch import EventBatch, RawBatch
from metering.decode import Decoder

MESSAGES = 1_000_000
BATCH = 10_000
#: One batch in so many is read by the book as well, and compared.
COMPARED_EVERY = 50
NUMBERS = (
    *(b"0", b"-0", b"-1", b"1e400", b"1E+999999999", b"1E-999999999", b"0.1", b"NaN", b"01", b"1."),
    *(
        b'"NaN"',
        b'"-Infinity"',
        b'"1e5"',
        b'" 1"',
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'""',
        b"9" * 40,
    ),
    *(b"99999999999999999999.999999999999", b"18446744073709551616", b"0.0000000000001"),
)
SPLICES = (
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\n", b'"', b"\\", b"[", b"]")
    * 9,
    *(b"{", b"}", b",", b":", b"null", b"\xef\xbb\xbf") * 9,
    *(b"[" * 2000, b'{"a":' * 2000, b"x" * 70_000),
)


def _corpus() -> list[bytes]:
    many = [event(id=str(at), quantity=at) for at in range(3)]
    return [
        written(event()),
        written(event(quantity="12.5", source="edge", batch_id="b", schema_version="v")),
        written(
            event(customer_id=None, subject="vm-17", occurred_at="2026-06-12T07:18:00.1+02:00")
        ),
        written(event(subject="loadtest-1")),
        written(event(meter="active_users", dimensions={"user_id": "u1"})),
        written(many),
        written([event(), json.loads(GUIDE), CLOUD]),
        GUIDE,
        RECONCILIATION,
        written(CLOUD),
    ]


def _with_a_bit_flipped(message: bytes, at: int, chance: random.Random) -> bytes:
    return message[:at] + bytes([message[at] ^ (1 << chance.randrange(8))]) + message[at + 1 :]


def _cut_off(message: bytes, at: int, _: random.Random) -> bytes:
    return message[:at]


def _with_something_in_between(message: bytes, at: int, chance: random.Random) -> bytes:
    return message[:at] + chance.choice(SPLICES) + message[at:]


def _with_a_stretch_twice_or_missing(message: bytes, at: int, chance: random.Random) -> bytes:
    return message[: chance.randrange(len(message))] + message[at:]


def _with_another_number(message: bytes, _: int, chance: random.Random) -> bytes:
    return message.replace(b"1", chance.choice(NUMBERS), chance.randrange(4))


def _with_other_values(message: bytes, _: int, chance: random.Random) -> bytes:
    timeless = message.replace(b'"2026-06-12T07:18:00Z"', chance.choice(NUMBERS))
    return timeless.replace(b'"eu"', chance.choice(NUMBERS))


def _noise(_: bytes, __: int, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(40))


def _unchanged(message: bytes, _: int, __: random.Random) -> bytes:
    return message


MUTATIONS = (
    _with_a_bit_flipped,
    _cut_off,
    _with_something_in_between,
    _with_a_stretch_twice_or_missing,
    _with_another_number,
    _with_other_values,
    _noise,
    _unchanged,
)


def _mutated(message: bytes, chance: random.Random) -> bytes:
    return chance.choice(MUTATIONS)(message, chance.randrange(len(message)), chance)


def _check(raw: RawBatch, result: EventBatch) -> None:
    result.columns.validate(full=True)
    assert len(result) == result.columns.num_rows
    assert {meter for meter, _ in result.series} <= CATALOG.meters.keys()
    assert set(result.codes.tolist()) == set(range(len(result.series)))
    outcomes = Counter(zip(result.offsets.tolist(), result.indexes.tolist(), strict=True))
    outcomes.update((each.offset, each.index) for each in result.rejections)
    outcomes.update((each.offset, each.index) for each in result.suppressions)
    assert max(outcomes.values()) == 1, "an event has one outcome"
    offsets = np.array([offset for offset, _ in outcomes]) - raw.first_offset
    highest = np.full(len(raw.values), -1)
    np.maximum.at(highest, offsets, np.array([index for _, index in outcomes]))
    assert (np.bincount(offsets, minlength=len(raw.values)) == highest + 1).all()
    assert highest.min() == 0, "a message has at least one outcome"
    for each in result.rejections:
        assert each.event in (raw.values[each.offset - raw.first_offset] or b"")
    for at in np.flatnonzero(highest > 0).tolist():
        assert len(json.loads(raw.values[at] or b"")) == highest[at] + 1


def test_a_million_broken_messages_all_end_as_something() -> None:
    seed = int(os.environ.get("METERLINE_FUZZ_SEED") or random.SystemRandom().getrandbits(32))
    print(f"METERLINE_FUZZ_SEED={seed}")  # noqa: T201 - shown where the test fails
    chance = random.Random(seed)
    corpus = _corpus()
    decoder = Decoder(CATALOG, SETTINGS)
    by_the_book = Decoder(CATALOG, SETTINGS, by_the_book=True)
    accepted = 0
    for at in range(MESSAGES // BATCH):
        values = [_mutated(chance.choice(corpus), chance) for _ in range(BATCH)]
        raw = batch(*values, first_offset=at * BATCH)
        result = decoder.decode(raw)
        _check(raw, result)
        accepted += len(result)
        if at % COMPARED_EVERY == 0:
            oracle = by_the_book.decode(raw)
            assert oracle.columns.equals(result.columns)
            assert oracle.rejections == result.rejections
            assert oracle.suppressions == result.suppressions
    assert MESSAGES // 10 < accepted < MESSAGES, "neither all nor nothing is broken"

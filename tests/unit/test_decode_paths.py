"""The columns and the event reader say the same about every event.

The reader, one event at a time and by the book, is the oracle of the vectorised path.
"""

import json
from typing import Any

from decoding import CATALOG, SETTINGS, batch, decoded, event, units
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.batch import EventBatch
from metering.decode import Decoder

TEXTS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["a", "", "é", "x" * 256, "x" * 257, "é" * 256, "\x00", "\x1f", "\x7f", "\n"]),
    st.text(max_size=5),
    st.sampled_from(["vm-17", "vm-18", "vm-99", "loadtest-1", "org_probe"]),
)
DIGITS = st.text("0123456789", max_size=24)
NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.integers(),
    st.integers(-(10**40), 10**40),
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(["", "-", "+", "--", " "]),
        DIGITS,
        st.sampled_from(["", ".", ".0", "e", "E+", "e-"]),
        DIGITS,
        st.sampled_from(["", "", "e1", "E-3", " ", "\n", "_", "e999999999", "e-999999999"]),
    ),
    st.sampled_from(["NaN", "inf", "1e400", True, None, [], {}, 0.1, 1e21, -0.0, 1.5e-12]),
)
TIMES: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        "{:04d}-{:02d}-{:02d}{}{:02d}:{:02d}:{:02d}{}{}".format,
        st.sampled_from([0, 1, 1969, 1970, 1971, 2024, 2025, 2026, 9999]),
        st.integers(0, 13),
        st.integers(0, 32),
        st.sampled_from("TTTt _"),
        st.integers(0, 24),
        st.integers(0, 60),
        st.integers(0, 60),
        st.sampled_from(["", ".1", ".123456", ".1234567", ".", ".999999999"]),
        st.sampled_from(
            ["Z", "Z", "z", "+00:00", "-23:59", "+24:00", "+02", "+0200", "", "+05:60"]
        ),
    ),
    st.sampled_from(
        ["2026-06-12T07:18:00Z", "2026-06-12T08:05:00Z", "2026-06-12T08:05:00.000001Z"]
    ),
    st.sampled_from([None, 1, "", "٢026-06-12T07:18:00Z"]),
)
DIMENSIONS: st.SearchStrategy[Any] = st.one_of(
    st.dictionaries(st.sampled_from(["region", "user_id", "plan", "", "\n", "é"]), TEXTS),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=18),
    st.sampled_from([None, [], {"a": 1}, "x", {"a": {"b": "c"}}]),
)
METERS = st.sampled_from([*CATALOG.meters, *CATALOG.meters, "unknown", "", 1, None])
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "id": st.one_of(TEXTS, st.just(1)),
    "customer_id": st.one_of(TEXTS, st.none()),
    "subject": st.one_of(TEXTS, st.none()),
    "meter": METERS,
    "quantity": NUMBERS,
    "occurred_at": TIMES,
    "dimensions": DIMENSIONS,
    "source": st.one_of(TEXTS, st.just("probe")),
    "batch_id": TEXTS,
    "schema_version": st.one_of(TEXTS, st.just([])),
    "idempotencyKey": st.one_of(TEXTS, st.none()),
    "customerId": st.one_of(TEXTS, st.none()),
    "organizationId": TEXTS,
    "customer": st.one_of(TEXTS, st.fixed_dictionaries({}, optional={"id": TEXTS})),
    "workspaceId": TEXTS,
    "occurredAt": TIMES,
    "timestamp": TIMES,
    "ingestion": st.fixed_dictionaries(
        {}, optional={"source": TEXTS, "batchId": TEXTS, "receivedAt": TIMES}
    ),
    "identity_id": TEXTS,
    "specversion": st.sampled_from(["1.0", "0.3", None]),
    "type": METERS,
    "time": TIMES,
    "data": st.one_of(
        TEXTS,
        st.none(),
        st.fixed_dictionaries(
            {}, optional={"value": NUMBERS, "quantity": NUMBERS, "region": TEXTS, "n": NUMBERS}
        ),
    ),
}
#: Mostly right, with a few members changed: what changes everything is rejected by its first fault.
CHANGED = st.builds(
    lambda change: {**event(), **change},
    st.sets(st.sampled_from(sorted(MEMBERS)), max_size=3).flatmap(
        lambda names: st.fixed_dictionaries({name: MEMBERS[name] for name in sorted(names)})
    ),
)
MESSAGES = st.one_of(CHANGED, CHANGED, st.lists(CHANGED, max_size=4), st.just(None))


def _said(result: EventBatch) -> dict[str, Any]:
    return {
        "columns": result.columns.to_pylist(),
        "series": [result.series[code] for code in result.codes.tolist()],
        "quantities": result.quantities.tolist(),
        "counted": result.counted_values or [""] * len(result),
        "identities": result.identities.tolist(),
        "digests": result.digests.tolist(),
        "offsets": result.offsets.tolist(),
        "indexes": result.indexes.tolist(),
        "occurred": result.occurred_us.tolist(),
        "recorded": result.record_ms.tolist(),
        "billable": result.billable.tolist(),
        "rejections": result.rejections,
        "suppressions": result.suppressions,
    }


@settings(max_examples=1500, deadline=None)
@given(st.lists(MESSAGES, max_size=6))
def test_both_paths_say_the_same_about_every_event(messages: list[Any]) -> None:
    assert _said(decoded(*messages)) == _said(decoded(*messages, by_the_book=True))


@settings(max_examples=300, deadline=None)
@given(NUMBERS, TIMES, DIMENSIONS)
def test_an_event_means_the_same_alone_and_among_others(
    quantity: Any, occurred_at: Any, dimensions: Any
) -> None:
    changed = {
        **event(meter="credits"),
        "quantity": quantity,
        "occurred_at": occurred_at,
        "dimensions": dimensions,
    }
    alone = decoded(changed)
    among = decoded(changed, event(), event(quantity="x"), event(occurred_at="x"), b"{")
    assert units(among)[: len(alone)] == units(alone)
    assert among.rejections[: len(alone.rejections)] == alone.rejections
    assert len(among) == len(alone) + 1


def test_a_decoder_that_decoded_before_says_the_same_as_a_new_one() -> None:
    used = Decoder(CATALOG, SETTINGS)
    messages = [event(id=str(at), dimensions={"region": str(at % 7)}) for at in range(50)]
    for _ in range(2):
        assert _said(used.decode(batch(*messages))) == _said(decoded(*messages))


def test_a_few_bad_events_do_not_slow_or_change_the_others() -> None:
    good = [event(id=str(at), quantity=f"{at}.5") for at in range(1000)]
    mixed: list[Any] = list(good)
    for at in range(0, 1000, 100):
        mixed[at] = json.loads(json.dumps({**good[at], "quantity": "NaN"}))
    result = decoded(*mixed)
    expected = [at * 10**12 + 5 * 10**11 for at in range(1000) if at % 100]
    assert units(result) == expected
    assert [each.offset for each in result.rejections] == list(range(100, 1100, 100))

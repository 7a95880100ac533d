"""Every shape that producers send, the source documents' own examples among them."""

import json
from typing import Any

import pytest
from decoding import accepted, batch, decoded, event, rejected

from metering import shapes
from metering.identity import SUBJECT, cloudevent_id, identity, identity_seed
from metering.rejection import RejectionCode

#: "Usage-Based Billing: A 2026 Implementation Guide", section 1, its placeholders filled in.
GUIDE = b"""{
"idempotencyKey": "req:8f14e45f",
"customerId": "org_123",
"meter": "api_requests",
"quantity": 1,
"occurredAt": "2026-06-12T07:18:00Z"
}"""

#: "From Usage Event to Invoice Line", verbatim. It has no id, so a retry could not be told apart.
INVOICE_LINE = b"""{
"organizationId": "org_123",
"meter": "api_requests",
"quantity": 1000,
"timestamp": "2026-04-30T12:00:00Z"
}"""

#: "Usage Event Reconciliation Block", the recommended usage event shape, as JSON.
RECONCILIATION = b"""{
    "id": "use_2048",
    "workspaceId": "wrk_northstar",
    "customer": {"id": "cus_northstar", "name": "Northstar Analytics", "plan": "Enterprise"},
    "product": "AI seats",
    "meter": "agent_minutes",
    "period": "2026-06",
    "quantity": 18420,
    "unitPrice": 0.018,
    "invoiceImpact": 331.56,
    "status": "needs-review",
    "reconciliation": {
        "delta": 1280,
        "reason": "Backfill exceeded contract cap",
        "severity": "warning",
        "invoiceHold": true
    },
    "ingestion": {
        "source": "events-api",
        "batchId": "batch_7712",
        "receivedAt": "2026-06-12T07:18:00Z",
        "schemaVersion": "meter.v3"
    }
}"""

CLOUD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "00001",
    "source": "my-app",
    "type": "api_requests",
    "subject": "vm-17",
    "time": "2026-06-12T07:18:00.5Z",
    "data": {"value": "12.50", "region": "eu", "cached": True, "ms": 1.50, "none": None, "o": {}},
}


def test_own_shape_is_accepted_with_every_field() -> None:
    row = accepted(
        event(subject="vm-17", source="edge", batch_id="b1", schema_version="v3", quantity="0.25")
    )
    assert row["customer_id"] == "org_123"
    assert row["subject"] == "vm-17"
    assert row["id"] == "req:1"
    assert row["meter"] == "api_requests"
    assert row["group"] == '{"region":"eu"}'
    assert str(row["quantity"]) == "0.250000000000"
    assert row["occurred_at"].isoformat() == "2026-06-12T07:18:00+00:00"
    assert (row["source"], row["batch_id"], row["schema_version"]) == ("edge", "b1", "v3")
    assert (row["offset"], row["index"], row["disregarded"]) == (100, 0, False)


def test_the_guides_event_is_accepted() -> None:
    row = accepted(GUIDE)
    assert (row["id"], row["customer_id"]) == ("req:8f14e45f", "org_123")


def test_the_invoice_line_event_is_accepted_once_it_has_an_id() -> None:
    assert rejected(INVOICE_LINE).code == RejectionCode.ID_MUST_BE_PRESENT
    row = accepted(INVOICE_LINE.replace(b"{", b'{"idempotencyKey": "job-1",', 1))
    assert row["customer_id"] == "org_123"
    assert row["quantity"] == 1000
    assert row["occurred_at"].isoformat() == "2026-04-30T12:00:00+00:00"


def test_the_reconciliation_blocks_event_is_accepted_verbatim() -> None:
    row = accepted(RECONCILIATION)
    assert (row["id"], row["customer_id"], row["subject"]) == (
        "use_2048",
        "cus_northstar",
        "wrk_northstar",
    )
    assert row["quantity"] == 18420
    assert row["occurred_at"].isoformat() == "2026-06-12T07:18:00+00:00"
    assert (row["source"], row["batch_id"], row["schema_version"]) == (
        "events-api",
        "batch_7712",
        "meter.v3",
    )


def test_receipt_is_the_time_of_an_event_only_where_no_other_time_is_given() -> None:
    whole = json.loads(RECONCILIATION)
    assert accepted({**whole, "occurredAt": "2026-06-01T00:00:00Z"})["occurred_at"].day == 1


def test_a_cloudevent_is_accepted_and_its_subject_resolved_by_the_bindings() -> None:
    row = accepted(CLOUD)
    assert (row["customer_id"], row["subject"]) == ("org_2", "vm-17")
    assert (row["id"], row["source"]) == ("00001", "my-app")
    assert str(row["quantity"]) == "12.500000000000"
    assert row["occurred_at"].microsecond == 500_000


def test_scalars_of_a_cloudevents_data_are_dimensions_unless_it_has_some() -> None:
    assert json.loads(accepted(CLOUD)["dimensions"]) == {
        "region": "eu",
        "cached": "true",
        "ms": "1.5",
    }
    given = {"quantity": 1, "region": "eu", "dimensions": {"region": "us"}}
    assert json.loads(accepted({**CLOUD, "data": given})["dimensions"]) == {"region": "us"}


def test_a_customer_in_a_cloudevents_data_goes_before_its_subject() -> None:
    row = accepted({**CLOUD, "data": {"value": 1, "customer_id": "org_9"}})
    assert row["customer_id"] == "org_9"
    assert row["dimensions"] == "{}"


def test_a_cloudevents_subject_is_never_taken_for_a_customer() -> None:
    unbound = {**CLOUD, "subject": "org_1"}
    assert rejected(unbound).code == RejectionCode.SUBJECT_MUST_BE_BOUND


def test_a_cloudevent_needs_a_time_of_its_own() -> None:
    timeless = {name: value for name, value in CLOUD.items() if name != "time"}
    assert rejected(timeless).code == RejectionCode.OCCURRED_AT_MUST_BE_PRESENT


def test_a_cloudevent_without_data_counts_on_a_count_meter() -> None:
    row = accepted({**CLOUD, "type": "documents_processed", "data": None})
    assert row["quantity"] == 1


def test_a_cloudevents_identity_is_of_its_source_and_id_together() -> None:
    seed = identity_seed("meterline")
    assert accepted(CLOUD)["identity"] == identity(
        SUBJECT,
        "vm-17",
        meter="api_requests",
        event_id=cloudevent_id("my-app", "00001"),
        seed=seed,
    )
    other_source = accepted({**CLOUD, "source": "my-app0", "id": "0001"})
    assert other_source["identity"] != accepted(CLOUD)["identity"]


def test_an_idempotency_key_goes_before_an_id() -> None:
    assert accepted(event(idempotencyKey="job-1"))["id"] == "job-1"


def test_an_event_in_own_shape_with_a_foreign_name_in_it_is_not_half_understood() -> None:
    row = accepted(event(customer_id=None, subject="vm-17", customerId="org_7"))
    assert row["customer_id"] == "org_7"


@pytest.mark.parametrize("name", [*shapes.FOREIGN_MEMBERS, *shapes.PLAIN])
def test_a_null_member_is_an_absent_member(name: str) -> None:
    if name in ("id", "customer_id", "meter", "quantity", "occurred_at"):
        assert rejected({**event(), name: None}).code.endswith("_must_be_present")
    else:
        with_null, without = {**event(), name: None}, event(**{name: None})
        assert accepted(with_null) == accepted(without)


def test_unknown_members_are_ignored() -> None:
    assert accepted(event(trace={"id": [1, {"a": None}]}, identity_id="x")) == accepted(event())


def test_of_a_member_that_comes_twice_the_last_counts() -> None:
    row = accepted(
        b'{"id":1,"id":"a","customer_id":"org_1","meter":"api_requests","quantity":5,"quantity":7,'
        b'"dimensions":{"a":"1","a":"2"},"occurred_at":"2026-06-12T07:18:00Z"}'
    )
    assert (row["id"], row["quantity"], row["dimensions"]) == ("a", 7, '{"a":"2"}')


def test_an_array_may_mix_shapes_and_keeps_their_order_by_index() -> None:
    mixed = [
        event(id="a"),
        json.loads(GUIDE),
        5,
        CLOUD,
        event(id="b", quantity="NaN"),
        event(id="c"),
    ]
    result = decoded(event(id="before"), mixed, event(id="after"))
    ids = result.columns.column("id").to_pylist()
    assert ids == ["before", "a", "req:8f14e45f", "00001", "c", "after"]
    assert result.offsets.tolist() == [100, 101, 101, 101, 101, 102]
    assert result.indexes.tolist() == [0, 0, 1, 3, 5, 0]
    assert [(each.offset, each.index) for each in result.rejections] == [(101, 2), (101, 4)]


def test_escapes_in_names_and_values_mean_what_they_stand_for() -> None:
    row = accepted(
        b'{"\\u0069d":"\\u0061","customer_id":"org\\/1","meter":"api_requests",'
        b'"quantity":"\\u0031\\u0032","occurred_at":"2026-06-12\\u005407:18:00Z"}'
    )
    assert (row["id"], row["customer_id"], row["quantity"]) == ("a", "org/1", 12)


def test_an_empty_batch_is_an_empty_batch() -> None:
    result = decoded()
    assert len(result) == 0
    assert result.columns.num_rows == 0
    assert result.identities.shape == (0, 2)
    assert (result.first_offset, result.next_offset) == (100, 100)


def test_a_batch_of_nothing_but_faults_covers_its_offsets() -> None:
    result = decoded(None, b"x", [1])
    assert len(result) == 0
    assert len(result.rejections) == 3
    assert result.next_offset == batch(None, b"x", [1]).next_offset

"""What the catalog answers about events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from decoding import CATALOG, decoded, event, rejected

from metering.batch import EventBatch
from metering.catalog import Aggregation, Binding, Catalog, Meter, SuppressionRule
from metering.rejection import RejectionCode, Suppression

START = datetime(2026, 6, 1, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000


def test_a_binding_holds_from_its_start_until_before_its_end() -> None:
    end = START + timedelta(days=1)
    catalog = Catalog({}, (Binding("vm", "org_1", START, end),))
    end_us = START_US + 86_400_000_000
    assert catalog.resolve_subject("vm", START_US - 1) is None
    assert catalog.resolve_subject("vm", START_US) == "org_1"
    assert catalog.resolve_subject("vm", end_us - 1) == "org_1"
    assert catalog.resolve_subject("vm", end_us) is None
    assert catalog.resolve_subject("other", START_US) is None


def test_a_subject_that_changed_hands_is_billed_to_whom_it_belonged_to_when_it_was_used() -> None:
    result = decoded(
        event(customer_id=None, subject="vm-17", occurred_at="2026-05-31T23:59:59.999999Z"),
        event(customer_id=None, subject="vm-17", occurred_at="2026-06-01T00:00:00Z"),
    )
    assert result.columns.column("customer_id").to_pylist() == ["org_1", "org_2"]


def test_a_corrected_binding_leaves_the_identity_of_an_event_as_it_was() -> None:
    message = event(customer_id=None, subject="vm-17")
    mended = Catalog(CATALOG.meters, (Binding("vm-17", "org_7", START),))
    before, after = decoded(message), decoded(message, catalog=mended)
    assert (_customers(before), _customers(after)) == (["org_2"], ["org_7"])
    assert before.identities.tolist() == after.identities.tolist()


def test_an_event_that_names_its_customer_needs_no_binding() -> None:
    assert _customers(decoded(event(subject="vm-unknown"))) == ["org_123"]


def test_an_unbound_subject_is_named_in_the_rejection_with_the_time() -> None:
    rejection = rejected(event(customer_id=None, subject="vm-18"))
    assert rejection.code == RejectionCode.SUBJECT_MUST_BE_BOUND
    assert "got vm-18 at 2026-06-12T07:18:00.000000Z" in rejection.sentence
    assert (rejection.event_id, rejection.meter) == ("req:1", "api_requests")


def test_suppressed_events_are_dropped_by_rule_and_coordinate() -> None:
    result = decoded(
        event(),
        [event(id="a"), event(id="b", subject="loadtest-1")],
        event(customer_id="org_probe", source="probe"),
        event(customer_id="org_probe", source="other"),
    )
    assert [(each.offset, each.index, each.rule) for each in result.suppressions] == [
        (101, 1, "load-test"),
        (102, 0, "probe"),
    ]
    assert isinstance(result.suppressions[0], Suppression)
    assert result.columns.column("offset").to_pylist() == [100, 101, 103]
    assert result.rejections == []


def test_a_rule_drops_an_unbound_subject_before_it_is_rejected() -> None:
    result = decoded(event(customer_id=None, subject="loadtest-7"))
    assert (len(result), result.rejections, len(result.suppressions)) == (0, [], 1)


def test_a_rule_drops_no_event_that_is_not_valid() -> None:
    result = decoded(event(subject="loadtest-7", quantity=-1))
    assert result.suppressions == []
    assert result.rejections[0].code == RejectionCode.QUANTITY_MUST_NOT_BE_NEGATIVE


def test_a_rule_sees_the_customer_that_a_subject_is_bound_to() -> None:
    rule = SuppressionRule("org", "gone", customer_id="org_2")
    catalog = replace(CATALOG, rules=(rule,))
    result = decoded(event(customer_id=None, subject="vm-17"), event(), catalog=catalog)
    assert _customers(result) == ["org_123"]
    assert [each.rule for each in result.suppressions] == ["org"]


def test_every_glob_of_a_rule_has_to_match_the_whole_text() -> None:
    rule = SuppressionRule("rule", "why", subject="test-[ab]?", meter="api*")
    catalog = Catalog({}, rules=(rule,))
    assert catalog.suppression("test-a1", "", "api_requests", "") == "rule"
    assert catalog.suppression("test-a1", "", "storage", "") is None
    assert catalog.suppression("test-a12", "", "api_requests", "") is None
    assert catalog.suppression("TEST-a1", "", "api_requests", "") is None
    assert catalog.suppression("", "", "api_requests", "") is None


def test_of_two_rules_that_match_the_first_by_name_counts_in_any_order() -> None:
    rules = (SuppressionRule("b", "why", meter="*"), SuppressionRule("a", "why", meter="*"))
    for ordered in (rules, rules[::-1]):
        assert Catalog({}, rules=ordered).suppression("", "", "m", "") == "a"


def test_events_of_a_disregarded_subject_are_kept_and_not_billable() -> None:
    result = decoded(event(customer_id=None, subject="vm-99"), event())
    assert result.billable.tolist() == [False, True]
    assert result.columns.column("disregarded").to_pylist() == [True, False]


def test_counted_values_are_there_where_a_unique_count_meter_is() -> None:
    users = event(meter="active_users", dimensions={"user_id": "u1"})
    assert decoded(users, event()).counted_values == ["u1", ""]
    assert decoded(event()).counted_values is None


def test_the_hash_is_of_the_content_and_not_of_its_order() -> None:
    meters = list(CATALOG.meters.values())
    turned = Catalog(
        {meter.key: meter for meter in reversed(meters)},
        CATALOG.bindings[::-1],
        CATALOG.rules[::-1],
        CATALOG.disregarded[::-1],
    )
    assert turned.content_hash == CATALOG.content_hash
    regrouped = Meter("credits", "credit", Aggregation.SUM, ("region", "plan"), allow_negative=True)
    same = Catalog({**CATALOG.meters, "credits": regrouped}, CATALOG.bindings, CATALOG.rules)
    other = Catalog(CATALOG.meters, CATALOG.bindings, CATALOG.rules)
    assert same.content_hash == other.content_hash


def test_the_hash_changes_with_every_part_of_the_content() -> None:
    binding = CATALOG.bindings[0]
    rule = CATALOG.rules[0]
    changed = [
        CATALOG,
        replace(CATALOG, meters={}),
        replace(CATALOG, bindings=()),
        replace(CATALOG, bindings=(replace(binding, until=None),)),
        replace(CATALOG, bindings=(replace(binding, customer_id="x"),)),
        replace(CATALOG, rules=(replace(rule, reason="x"),)),
        replace(CATALOG, rules=(replace(rule, subject=None, meter="loadtest-*"),)),
        replace(CATALOG, disregarded=()),
    ]
    assert len({catalog.content_hash for catalog in changed}) == len(changed)


def _customers(result: EventBatch) -> list[str]:
    found: list[str] = result.columns.column("customer_id").to_pylist()
    return found

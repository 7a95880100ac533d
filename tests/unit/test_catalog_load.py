"""Reading catalogs: what is right is understood, and every fault is told with its line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.catalog import Aggregation, Binding, Disregarded, Meter, SuppressionRule
from metering.catalog_load import load_catalog
from metering.errors import SettingsInvalid

METERS = "meters:\n  - {key: requests, unit: request, aggregation: sum}\n"
EXAMPLE = Path(__file__).parents[2] / "catalog"


def _faults(folder: Path, **files: str) -> list[str]:
    for name, text in {"meters": METERS, **files}.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsInvalid) as raised:
        load_catalog(folder)
    return [fault.removeprefix(f"{folder}/") for fault in raised.value.faults]


def test_every_file_is_read(tmp_path: Path) -> None:
    files = {
        "meters": "meters:\n- {key: users, unit: user, aggregation: unique_count,"
        " counted_dimension: user_id, group_by: [region, plan], allow_negative: true}\n",
        "bindings": "bindings:\n- {subject: vm-17, customer_id: org_123,"
        " from: 2026-01-01T02:00:00+02:00, until: '2026-02-01T00:00:00Z'}\n",
        "suppressions": 'suppressions:\n- {match: {subject: "test-*", meter: "us?rs"},reason: w}\n',
        "disregarded": "disregarded:\n- {subject: vm-99, reason: internal}\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    catalog = load_catalog(tmp_path)
    assert catalog.meters == {
        "users": Meter(
            "users", "user", Aggregation.UNIQUE_COUNT, ("region", "plan"), True, "user_id"
        )
    }
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert catalog.bindings == (Binding("vm-17", "org_123", start, end),)
    name = "subject=test-* meter=us?rs"
    assert catalog.rules == (SuppressionRule(name, "w", subject="test-*", meter="us?rs"),)
    assert catalog.disregarded == (Disregarded("vm-99", "internal"),)


def test_the_example_catalog_is_right_and_has_every_aggregation() -> None:
    meters = load_catalog(EXAMPLE).meters.values()
    assert {meter.aggregation for meter in meters} == set(Aggregation)


def test_comments_and_order_do_not_change_the_hash(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    rows = ["- {key: a, unit: x, aggregation: sum}", "- {aggregation: max, key: b, unit: x}"]
    for folder, text in (
        (first, "meters:\n" + "\n".join(rows)),
        (second, "# why\nmeters:\n" + "\n# because\n".join(rows[::-1])),
    ):
        folder.mkdir()
        (folder / "meters.yaml").write_text(text, encoding="utf-8")
    assert load_catalog(first).content_hash == load_catalog(second).content_hash


def test_a_folder_without_meters_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"meters\.yaml:1: file: expected to exist"):
        load_catalog(tmp_path)


def test_all_faults_of_all_files_are_told_together(tmp_path: Path) -> None:
    faults = _faults(
        tmp_path,
        meters="meters:\n- {key: a}\n- {key: b, unit: x, aggregation: sum, grp: []}\n",
        bindings="bindings:\n- {subject: 17, customer_id: c, from: 2026-01-01}\n",
        disregarded="disregarded: []\nother: 1\n",
    )
    assert faults == [
        (
            "meters.yaml:2: meters[0].unit: expected text of 1 to 256 characters"
            " without control characters, got nothing"
        ),
        (
            "meters.yaml:2: meters[0].aggregation: expected one of"
            " sum, count, max, latest, unique_count, got nothing"
        ),
        (
            "meters.yaml:3: meters[1].grp: expected one of key, unit, aggregation, group_by,"
            " allow_negative, counted_dimension, alerts, got 'grp'"
        ),
        (
            "bindings.yaml:2: bindings[0].subject: expected text of 1 to 256 characters"
            " without control characters, got 17 (int)"
        ),
        (
            "bindings.yaml:2: bindings[0].from: expected a time like 2026-01-31T00:00:00Z,"
            " with an offset, got 2026-01-01 (timestamp)"
        ),
        "disregarded.yaml:2: disregarded.other: expected one of disregarded, got 'other'",
    ]


@pytest.mark.parametrize(
    ("meter", "fault"),
    [
        ("key: Requests, unit: x, aggregation: sum", "2: meters[0].key: expected text like"),
        ("key: 'a b', unit: x, aggregation: sum", "2: meters[0].key: expected text like"),
        ("key: a, unit: '', aggregation: sum", "2: meters[0].unit: expected text"),
        ("key: a, unit: x, aggregation: avg", "2: meters[0].aggregation: expected one of"),
        ("key: a, unit: x, aggregation: [sum]", "2: meters[0].aggregation: expected one of"),
        ("key: a, unit: x, aggregation: sum, group_by: region", "group_by: expected a list"),
        ("key: a, unit: x, aggregation: sum, group_by: [1]", "group_by: expected text"),
        ("key: a, unit: x, aggregation: sum, group_by: [b, b]", "expected entries that differ"),
        (
            f"key: a, unit: x, aggregation: sum, group_by: {[f'd{at}' for at in range(17)]}",
            "group_by: expected at most 16 entries, got 17",
        ),
        ("key: a, unit: x, aggregation: sum, allow_negative: 'true'", "expected true or false"),
        ("key: a, unit: x, aggregation: sum, allow_negative: yes", "expected true or false"),
        ("key: a, unit: x, aggregation: unique_count", "counted_dimension: expected text"),
        (
            "key: a, unit: x, aggregation: sum, counted_dimension: b",
            "counted_dimension: expected it only where aggregation is unique_count, got 'sum'",
        ),
        ("key: a, key: b, unit: x, aggregation: sum", "meters[0].key: expected a key only once"),
    ],
)
def test_a_faulty_meter_is_told(tmp_path: Path, meter: str, fault: str) -> None:
    (told,) = _faults(tmp_path, meters=f"meters:\n- {{{meter}}}\n")
    assert told.startswith("meters.yaml:2: ")
    assert fault in told


def test_a_meter_that_comes_twice_is_told_with_both_lines(tmp_path: Path) -> None:
    (told,) = _faults(tmp_path, meters=METERS + "  - {key: requests, unit: x, aggregation: max}\n")
    assert told == (
        "meters.yaml:3: meters[1].key: expected a key that is not taken (line 2 has it),"
        " got 'requests'"
    )


@pytest.mark.parametrize(
    "moment",
    [".nan", "2026-01-01", "2026-01-01T00:00:00", "2026-02-30T00:00:00Z", "now", "[]", "~"],
)
def test_a_time_without_meaning_or_offset_is_told(tmp_path: Path, moment: str) -> None:
    row = f"- {{subject: a, customer_id: b, from: {moment}}}"
    (told,) = _faults(tmp_path, bindings=f"bindings:\n{row}\n")
    assert told.startswith("bindings.yaml:2: bindings[0].from: expected a time like")


def test_overlapping_bindings_of_a_subject_are_told_with_both_lines(tmp_path: Path) -> None:
    faults = _faults(
        tmp_path,
        bindings="""bindings:
- {subject: vm, customer_id: a, from: 2026-03-01T00:00:00Z}
- {subject: vm, customer_id: b, from: 2026-01-01T00:00:00Z, until: 2026-03-01T00:00:00Z}
- {subject: vm, customer_id: c, from: 2026-04-01T00:00:00Z}
- {subject: other, customer_id: c, from: 2026-01-01T00:00:00Z, until: 2026-01-01T00:00:00Z}
""",
    )
    assert faults == [
        (
            "bindings.yaml:5: bindings[3].until: expected a time after from,"
            " got 2026-01-01T00:00:00Z (timestamp)"
        ),
        (
            "bindings.yaml:4: bindings[2].from: expected no overlap with the binding"
            " of 'vm' in line 2, got 2026-04-01T00:00:00Z (timestamp)"
        ),
    ]


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("{match: {}, reason: a}", "match: expected at least one of"),
        ("{match: x, reason: a}", "match: expected a mapping, got 'x'"),
        ("{reason: a}", "match: expected a mapping, got nothing"),
        ("{match: {subject: a}}", "reason: expected text"),
        ("{match: {subjct: a}, reason: b}", "expected one of subject, customer_id, meter, source"),
        ("{match: {meter: reqests}, reason: b}", "expected a glob that matches a meter"),
        ("{match: {subject: 1}, reason: b}", "match.subject: expected text"),
    ],
)
def test_a_faulty_suppression_rule_is_told(tmp_path: Path, rule: str, fault: str) -> None:
    faults = _faults(tmp_path, suppressions=f"suppressions:\n- {rule}\n")
    assert any(fault in told and told.startswith("suppressions.yaml:2: ") for told in faults)


def test_rules_and_disregarded_subjects_that_come_twice_are_told(tmp_path: Path) -> None:
    faults = _faults(
        tmp_path,
        suppressions="suppressions:\n" + "- {match: {subject: a}, reason: b}\n" * 2,
        disregarded="disregarded:\n" + "- {subject: a, reason: b}\n" * 2,
    )
    assert [told.split(": ")[0] for told in faults] == ["suppressions.yaml:3", "disregarded.yaml:3"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "meters",
        "meters: 1",
        "meters:",
        "meters:\n- a",
        "meters: [",
        "a: b: c",
        "meters: !!python/object/apply:os.system [true]",
        "meters: []\n---\nmeters: []",
        "meters: &a [*a]",
        "[" * 5000,
        "1: 2",
        "\x00",
    ],
)
def test_a_file_of_another_form_is_told_and_never_raises_anything_else(
    tmp_path: Path, text: str
) -> None:
    assert all(told.startswith("meters.yaml:") for told in _faults(tmp_path, meters=text))


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "meters.yaml").write_bytes(b"meters: \xff")
    with pytest.raises(SettingsInvalid, match="expected readable UTF-8"):
        load_catalog(tmp_path)

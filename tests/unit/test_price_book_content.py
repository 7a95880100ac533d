"""Content hashes, differences and schemas: what means the same is the same, and is published."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from catalogs import PLANS, SUBSCRIPTIONS, book, faults

from metering.plan_version import StoredVersion
from rating_engine.fields import Fields
from rating_engine.models.table import MODELS, read_price
from rating_engine.price_book.canonical import content_hash, differences
from rating_engine.price_book.changes import ChangeKind, version_changes
from rating_engine.price_book.counted_shapes import COUNTED_FILES, COUNTED_SHAPES
from rating_engine.price_book.plan import PriceVersion
from rating_engine.price_book.schema import FILES, schema_text, schemas
from rating_engine.price_book.shapes import MODEL_NAMES, SHAPES
from rating_engine.terms import read_charge

CATALOG = Path(__file__).parents[2] / "catalog"
NOW_US = 1_777_000_000_000_000  # 2026-04-24


def version(folder: Path, plans: str, at: int = 0) -> PriceVersion:
    folder.mkdir(exist_ok=True)
    return book(folder, plans=plans).plans["growth"].versions[at]


def stored(of: PriceVersion) -> StoredVersion:
    return StoredVersion(of.plan, of.version, of.effective_us, of.content, of.content_hash)


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ('unit_price: "0.001"', "unit_price: '0.00100'"),
        ('unit_price: "0.001"', "unit_price: '1e-3'"),
        ('allowance: "1000"', "allowance: 1000"),
        ("effective_from: 2026-01-01T00:00:00Z", "effective_from: '2026-01-01T02:00:00+02:00'"),
        ("currency: USD", "currency: USD  # dollars"),
        ("currency: USD", "currency: USD\n  prorate_allowance: false"),
        ("currency: USD", "currency: USD\n  period: {every: month, anchor_day: 1, time_zone: UTC}"),
        ("  - version: 1\n", "  - version: 1\n    base_fee: '0.00'\n    rounding: half_even\n"),
        (
            '{meter: requests, allowance: "1000",',
            '{allowance: "1000", minimum: 0, meter: requests,',
        ),
    ],
)
def test_another_notation_has_the_same_hash(tmp_path: Path, said: str, instead: str) -> None:
    assert said in PLANS
    first = version(tmp_path / "first", PLANS)
    second = version(tmp_path / "second", PLANS.replace(said, instead, 1))
    assert first.content == second.content
    assert first.content_hash == second.content_hash


@pytest.mark.parametrize(
    ("said", "instead", "difference"),
    [
        ('"0.001"', '"0.0011"', "charges[requests].price.unit_price: 0.001 -> 0.0011"),
        ("USD", "EUR", "currency: USD -> EUR"),
        ('allowance: "1000", ', "", "charges[requests].allowance: 1000 -> nothing"),
        (
            "currency: USD",
            "currency: USD\n  prorate_allowance: true",
            "prorate_allowance: nothing -> true",
        ),
        ("currency: USD", "currency: USD\n  period: {anchor_day: 2}", "period.anchor_day: nothing"),
    ],
)
def test_another_content_has_another_hash_and_shows_the_difference(
    tmp_path: Path, said: str, instead: str, difference: str
) -> None:
    first = version(tmp_path / "first", PLANS)
    second = version(tmp_path / "second", PLANS.replace(said, instead, 1))
    assert first.content_hash != second.content_hash
    (found,) = differences(first.content, second.content)
    assert str(found).startswith(difference)


def test_the_order_of_charges_and_group_prices_means_nothing(tmp_path: Path) -> None:
    def plans(*charges: str) -> str:
        lines = "".join(f"    - {charge}\n" for charge in charges)
        return (
            "plans:\n- key: growth\n  currency: USD\n  versions:\n  - version: 1\n"
            f"    effective_from: 2026-01-01T00:00:00Z\n    charges:\n{lines}"
        )

    eu = "{values: {region: eu}, price: {model: per_unit, unit_price: '1'}}"
    us = "{values: {region: us}, price: {model: per_unit, unit_price: '2'}}"
    rest = "default: {model: per_unit, unit_price: '3'}"
    seats = "{meter: seats, price: {model: per_unit, unit_price: '1'}}"

    def requests(prices: str) -> str:
        price = f"{{model: dimensional, dimensions: [region], prices: [{prices}], {rest}}}"
        return f"{{meter: requests, price: {price}}}"

    first = version(tmp_path / "first", plans(seats, requests(f"{eu}, {us}")))
    second = version(tmp_path / "second", plans(requests(f"{us}, {eu}"), seats))
    assert first.content == second.content
    third = version(tmp_path / "third", plans(seats, requests(eu)))
    names = {change.place for change in differences(first.content, third.content)}
    assert "charges[requests].price.prices[region=us].price.unit_price" in names


def test_the_stored_form_stays_as_it_is(tmp_path: Path) -> None:
    """What was loaded years ago is compared with it: another form would refuse every catalog."""
    found = version(tmp_path, PLANS, 1)
    assert found.content == (
        '{"key":"growth","currency":"USD","version":2,'
        '"effective_from":"2026-04-16T00:00:00.000000Z","base_fee":"30","charges":['
        '{"meter":"requests","allowance":"1000","price":{"model":"per_unit","unit_price":"0.002"}},'
        '{"meter":"storage","price":{"model":"per_unit","unit_price":"1"}}]}'
    )
    assert found.content_hash == content_hash(found.content)
    assert found.content_hash == "eaacd508ffec92e23ffbeabd27de3cef3b8a0c6be14212b520f2785bfb12c07c"


def test_lists_of_texts_do_not_share_a_hash_by_joining() -> None:
    assert content_hash("ab", "c") != content_hash("a", "bc")
    assert content_hash() != content_hash("")


def test_the_catalogs_hash_changes_with_every_file(tmp_path: Path) -> None:
    def found(name: str, **files: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        return book(folder, **files).content_hash

    plain = found("plain", subscriptions=SUBSCRIPTIONS)
    assert plain == found("again", subscriptions="# why\n" + SUBSCRIPTIONS)
    others = {
        found("without"),
        found("plans", subscriptions=SUBSCRIPTIONS, plans=PLANS.replace('"30"', '"31"')),
        found("customer", subscriptions=SUBSCRIPTIONS.replace("customer_id: a", "customer_id: b")),
        found("binding", subscriptions=SUBSCRIPTIONS, disregarded="disregarded: []\n",
              bindings="bindings: [{subject: s, customer_id: a, from: 2026-01-01T00:00:00Z}]"),
    }  # fmt: skip
    assert len(others | {plain}) == 5


# What loading may change.


def changed(folder: Path, plans: str, *, withdrawn: bool = False) -> list[tuple[str, bool]]:
    before = version(folder / "before", PLANS), version(folder / "before", PLANS, 1)
    kept = [stored(each)._replace(withdrawn=withdrawn) for each in before]
    (folder / "after").mkdir()
    after = book(folder / "after", plans=plans).plans
    found = version_changes(
        kept, [each for plan in after.values() if plan.key == "growth" for each in plan.versions],
        now_us=NOW_US,
    )  # fmt: skip
    return [(f"{each.kind} {each.version}", each.rewrites_past) for each in found]


def later(plans: str) -> str:
    return plans.replace("2026-04-16", "2026-05-01")


def test_what_took_effect_may_not_change(tmp_path: Path) -> None:
    assert changed(tmp_path, PLANS.replace('"0.001"', '"0.003"')) == [("changed 1", True)]


def test_nothing_changed_is_no_change(tmp_path: Path) -> None:
    assert changed(tmp_path, "# comment\n" + PLANS) == []


def test_what_took_effect_may_not_begin_later(tmp_path: Path) -> None:
    assert changed(tmp_path, later(PLANS)) == [("changed 2", True)]


def test_what_took_effect_may_not_go(tmp_path: Path) -> None:
    only = PLANS[: PLANS.index("  - version: 2")] + PLANS[PLANS.index("- key: euro") :]
    assert changed(tmp_path, only) == [("withdrawn 2", True)]


def test_a_new_version_may_come_ahead_and_not_behind(tmp_path: Path) -> None:
    third = "  - {{version: 3, effective_from: {}T00:00:00Z}}\n- key: euro"
    ahead = PLANS.replace("- key: euro", third.format("2026-05-01"))
    assert changed(tmp_path, ahead) == [("added 3", False)]
    behind = tmp_path / "behind"
    behind.mkdir()
    text = PLANS.replace("- key: euro", third.format("2026-04-20"))
    assert changed(behind, text) == [("added 3", True)]


def test_the_first_load_brings_the_whole_past(tmp_path: Path) -> None:
    assert changed(tmp_path, PLANS, withdrawn=True) == [("added 1", False), ("added 2", False)]


def test_what_is_ahead_may_change_and_go(tmp_path: Path) -> None:
    plans = later(PLANS)
    ahead = version(tmp_path / "a", plans, 1)
    other = version(tmp_path / "b", plans.replace('"30"', '"40"'), 1)
    (edit,) = version_changes([stored(ahead)], [other], now_us=NOW_US)
    assert (edit.kind, edit.rewrites_past) == (ChangeKind.CHANGED, False)
    assert [str(each) for each in edit.differences] == ["base_fee: 30 -> 40"]
    (gone,) = version_changes([stored(ahead)], [], now_us=NOW_US)
    assert (gone.kind, gone.rewrites_past, gone.stored.withdrawn) == (
        ChangeKind.WITHDRAWN, False, True
    )  # fmt: skip
    assert version_changes([gone.stored], [], now_us=NOW_US + 10**15) == []


# Schemas.


def test_published_schemas_are_current() -> None:
    published = {path.name: path.read_text("utf-8") for path in (CATALOG / "schema").glob("*")}
    current = {name: schema_text(schema) for name, schema in schemas().items()}
    assert published == current, "run: meterline catalog schema --out catalog/schema"


@pytest.mark.parametrize("name", [file.name for file in FILES])
def test_example_files_name_their_schema_and_fit_it(name: str) -> None:
    text = (CATALOG / f"{name}.yaml").read_text("utf-8")
    assert text.startswith(f"# yaml-language-server: $schema=schema/{name}.json\n")
    schema = schemas()[f"{name}.json"]
    document = yaml.load(text, Loader=yaml.BaseLoader)
    assert fits(document, schema, root=schema)
    document[name][0]["colour"] = "red"
    assert not fits(document, schema, root=schema)


def test_shapes_have_the_fields_that_readers_allow() -> None:
    assert set(MODEL_NAMES) == set(MODELS)
    for name in (*MODEL_NAMES, "dimensional"):
        found = Fields({"model": name, "?": 1}, [])
        read_price(found)
        assert allowed(found) == set(SHAPES[name].names), name
    found = Fields({"?": 1}, [])
    read_charge(found)
    assert allowed(found) == set(SHAPES["charge"].names)
    commit = Fields({"commit": {"?": 1}}, [])
    read_charge(commit)
    assert allowed(commit) == set(SHAPES["commit_bucket"].names)
    for model, shape in (("graduated", "tier"), ("stairstep", "stair")):
        found = Fields({"model": model, "tiers": [{"?": 1}]}, [])
        read_price(found)
        assert allowed(found) == set(SHAPES[shape].names)
    found = Fields({"model": "dimensional", "dimensions": ["d"], "prices": [{"?": 1}]}, [])
    read_price(found)
    assert allowed(found) == set(SHAPES["group_price"].names)


def test_shapes_have_the_fields_that_readers_of_what_is_counted_allow(tmp_path: Path) -> None:
    texts = {
        file.name: f"{file.name}:\n- {{'?': 1, match: {{'?': 1}}}}\n" for file in COUNTED_FILES
    }
    found = faults(tmp_path, **texts)
    for file in COUNTED_FILES:
        (shape,) = file.fields[0].of
        place = f"{file.name}.yaml:2: {file.name}[0].?: expected one of "
        (told,) = [each for each in found if each.startswith(place)]
        names = told.removeprefix(place).removesuffix(", got '?'").split(", ")
        assert set(names) == set(COUNTED_SHAPES[shape].names)
    (told,) = [each for each in found if "suppressions[0].match.?" in each]
    assert all(name in told for name in COUNTED_SHAPES["match"].names)


def allowed(fields: Fields) -> set[str]:
    """What a reader offers instead of the field `?`."""
    (fault,) = [each for each in fields.faults if each.path[-1] == "?"]
    return set(fault.expected.removeprefix("one of ").split(", "))


def fits(value: Any, schema: Mapping[str, Any], *, root: Mapping[str, Any]) -> bool:
    """The part of JSON Schema that is used here; every scalar is text."""

    def passing(members: list[Any]) -> int:
        return sum(fits(value, each, root=root) for each in members)

    if "$ref" in schema:
        return fits(value, root["definitions"][schema["$ref"].rsplit("/", 1)[1]], root=root)
    if any(word in schema for word in ("allOf", "oneOf", "anyOf")):
        return (
            passing(schema.get("allOf", [])) == len(schema.get("allOf", []))
            and passing(schema.get("oneOf", [])) == min(1, len(schema.get("oneOf", [])))
            and passing(schema.get("anyOf", [])) >= min(1, len(schema.get("anyOf", [])))
        )
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    if schema["type"] in {"object", "array"}:
        return fits_members(value, schema, root=root)
    if schema["type"] in {"integer", "boolean"}:
        return isinstance(value, str) and (value.isdecimal() or value in {"true", "false"})
    return isinstance(value, str) and re.search(schema.get("pattern", ""), value) is not None


def fits_members(value: Any, schema: Mapping[str, Any], *, root: Mapping[str, Any]) -> bool:
    if schema["type"] == "array":
        return isinstance(value, list) and all(
            fits(each, schema["items"], root=root) for each in value
        )
    if not isinstance(value, dict) or not set(schema.get("required", ())) <= value.keys():
        return False
    known, others = schema.get("properties", {}), schema["additionalProperties"]
    return all(
        fits(each, known[name], root=root) if name in known
        else bool(others) and fits(each, others, root=root)
        for name, each in value.items()
    )  # fmt: skip


def test_the_schemas_decimals_are_those_of_the_reader() -> None:
    (text, _) = json.loads(schema_text(schemas()["plans.json"]))["definitions"]["tier"][
        "properties"
    ]["unit_price"]["anyOf"]
    for good in ("0", "1", "0.001", ".5", "1e-3", "+2", "3."):
        assert re.search(text["pattern"], good), good
    for bad in ("", "-1", "1,5", "NaN", "0x1", " 1", "1.2.3"):
        assert not re.search(text["pattern"], bad), bad

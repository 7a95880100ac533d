"""Reading plans: what is right is understood, and every fault is told with line and field."""

from pathlib import Path

import pytest
from catalogs import PLANS, book, faults, microseconds

from rating_engine.exact import ONE_CHARGE, ONE_PRICE, ONE_UNIT
from rating_engine.models.per_unit import PerUnit
from rating_engine.price_book.load import load_price_book
from rating_engine.terms import ChargeTerms

EXAMPLE = Path(__file__).parents[2] / "catalog"


FAULTY_PLANS = """plans:
- key: growth
  currency: XXX
  versions:
  - version: 1
    effective_from: 2026-01-01
    base_fee: 1.5
    charges:
    - meter: reqests
      price:
        model: graduated
        tiers:
        - {up_to: "10", unit_price: "1"}
        - {up_to: "5", unit_price: "1"}
        - {unit_price: "-1"}
    - meter: requests
      discount: "3"
      price: {model: per_unit, unit_price: 0.001}
- key: fine
  currency: USD
  versions:
  - {version: 1, effective_from: 2026-01-01T00:00:00Z}
"""
FAULTY_SUBSCRIPTIONS = """subscriptions:
- {id: s, customer_id: a, plan: growth, from: 2026-01-01T00:00:00Z}
- {id: t, customer_id: b, plan: unknown, from: 2026-01-01T00:00:00Z}
- {id: u, customer_id: b, plan: fine,
   from: 2025-01-01T00:00:00Z}
"""


def one_version(text: str, *, of: str = "") -> str:
    return (
        f"plans:\n- key: p\n  currency: USD\n{of}  versions:\n  - version: 1\n"
        f"    effective_from: 2026-01-01T00:00:00Z\n{text}"
    )


def charge(text: str) -> str:
    return one_version(f"    charges:\n    - {{{text}}}\n")


def test_plans_are_read(tmp_path: Path) -> None:
    found = book(tmp_path)
    growth = found.plans["growth"]
    assert [each.version for each in growth.versions] == [1, 2]
    second = growth.versions[1]
    assert second.effective_us == microseconds("2026-04-16")
    assert second.terms.base_fee == 30 * ONE_CHARGE
    price = PerUnit(ONE_PRICE // 500)
    assert second.charges["requests"] == ChargeTerms(price, allowance=1000 * ONE_UNIT)
    assert set(second.charges) == {"requests", "storage"}
    assert found.plans["euro"].calendar.time_zone == "Europe/Berlin"
    assert found.plans["euro"].versions[0].charges == {}


def test_the_example_catalog_is_right() -> None:
    found = load_price_book(EXAMPLE)
    assert {"growth", "enterprise"} <= found.plans.keys()
    assert len(found.subscriptions) == 3


def test_a_version_is_in_effect_from_its_moment_on(tmp_path: Path) -> None:
    growth = book(tmp_path).plans["growth"]
    change = microseconds("2026-04-16")
    moments = (microseconds("2026-01-01") - 1, microseconds("2026-01-01"), change - 1, change)
    found = [growth.version_at(moment) for moment in moments]
    assert [each and each.version for each in found] == [None, 1, 1, 2]


def test_faults_of_all_files_are_told_together_with_their_lines(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        meters="meters:\n- {key: requests, unit: r, aggregation: sum}\n- {key: b}\n",
        plans=FAULTY_PLANS,
        subscriptions=FAULTY_SUBSCRIPTIONS,
    )
    decimal = 'decimal text like "0.001", below 10^20 and with at most 12 digits behind the point'
    moment = (
        "a time like 2026-01-31T00:00:00Z, with an offset, from 1900 and before 9000,"
        " on a whole second"
    )
    assert [told for told in found if not told.startswith("meters.yaml")] == [
        (
            "plans.yaml:3: plans[0].currency: expected an ISO 4217 code with minor units, like USD,"
            " got 'XXX' (str)"
        ),
        (
            f"plans.yaml:6: plans[0].versions[0].effective_from: expected {moment},"
            " got '2026-01-01' (str)"
        ),
        f"plans.yaml:7: plans[0].versions[0].base_fee: expected {decimal}, got 1.5 (Unquoted)",
        (
            "plans.yaml:9: plans[0].versions[0].charges[0].meter:"
            " expected a meter of meters.yaml, got 'reqests'"
        ),
        (
            "plans.yaml:14: plans[0].versions[0].charges[0].price.tiers[1].up_to:"
            " expected more than the tier before ends at, and more than 0, got '5'"
        ),
        (
            "plans.yaml:15: plans[0].versions[0].charges[0].price.tiers[2].unit_price:"
            " expected 0 or more, got '-1' (str)"
        ),
        (
            "plans.yaml:17: plans[0].versions[0].charges[1].discount:"
            " expected one of meter, allowance, commit, minimum, cap, price, got 'discount'"
        ),
        (
            f"plans.yaml:18: plans[0].versions[0].charges[1].price.unit_price: expected {decimal},"
            " got 0.001 (Unquoted)"
        ),
        (
            "subscriptions.yaml:3: subscriptions[1].plan: expected a plan of plans.yaml,"
            " got 'unknown' (str)"
        ),
        (
            "subscriptions.yaml:5: subscriptions[2].from: expected 2026-01-01T00:00:00.000000Z or"
            " later, when fine version 1 takes effect, got '2025-01-01T00:00:00.000000Z' (str)"
        ),
    ]
    assert [told.split(": ")[0] for told in found if told.startswith("meters.yaml")] == [
        "meters.yaml:3",
        "meters.yaml:3",
    ]


@pytest.mark.parametrize(
    ("plans", "fault"),
    [
        ("plans: {}", "plans.yaml:1: plans: expected a list of one or more mappings"),
        ("- a", "plans.yaml:1: file: expected a mapping"),
        ("plans: [", "plans.yaml:2: file: expected YAML"),
        ("plans: [a]", "plans[0]: expected a mapping"),
        ("plans:\n- {1: 2}", "plans.yaml:2: plans[0]: expected text as key, got 1"),
        (one_version("    version: 2\n"), "versions[0].version: expected a key only once"),
        (one_version("    rounding: up\n"), "rounding: expected one of half_even, half_up"),
        (one_version("    fee: '1'\n"), "versions[0].fee: expected one of version"),
        (one_version("", of="  name: P\n"), "plans[0].name: expected one of key"),
        (one_version("", of="  prorate_allowance: yes\n"), "prorate_allowance: expected true or"),
        (one_version("", of="  period: {every: week}\n"), "period.every: expected month"),
        (one_version("", of="  period: {anchor_day: 32}\n"), "anchor_day: expected a whole"),
        (one_version("", of="  period: {anchor_day: '1'}\n"), "anchor_day: expected a whole"),
        (one_version("", of="  period: {time_zone: Mars}\n"), "time_zone: expected an IANA"),
        (one_version("", of="  period: {time_zone: Europe}\n"), "time_zone: expected an IANA"),
        (one_version("", of="  period: {time_zone: ../x}\n"), "time_zone: expected an IANA"),
        (charge("meter: requests"), "charges[0].price: expected a mapping, got nothing"),
        (charge("meter: requests, price: {model: flat}"), "price.model: expected one of per_unit"),
        (
            charge(
                "meter: requests, price: {model: dimensional, dimensions: [zone], prices:"
                " [{values: {zone: a}, price: {model: per_unit, unit_price: '1'}}],"
                " default: {model: per_unit, unit_price: '1'}}"
            ),
            "price.dimensions[0]: expected a dimension in group_by of requests (region)",
        ),
        (
            PLANS.replace("version: 2", "version: 1"),
            "versions[1].version: expected more than the version before, 1, got 1",
        ),
        (
            PLANS.replace("2026-04-16", "2026-01-01"),
            "versions[1].effective_from: expected later than the version before",
        ),
        (
            PLANS.replace("2026-04-16T00:00:00Z", "2026-04-16T00:00:00.5Z"),
            "before 9000, on a whole second, got '2026-04-16T00:00:00.5Z' (str)",
        ),
        (
            PLANS.replace('base_fee: "30"', "rounding: half_up"),
            "versions[1].rounding: expected that of all versions, 'half_even', got 'half_up'",
        ),
        (PLANS.replace("key: euro", "key: growth"), "plans[1].key: expected a key that is not"),
        (
            PLANS.replace("meter: storage", "meter: requests"),
            "charges[1].meter: expected a meter only once in a version",
        ),
    ],
)
def test_a_faulty_plan_is_told(tmp_path: Path, plans: str, fault: str) -> None:
    found = faults(tmp_path, plans=plans)
    assert any(fault in told and told.startswith("plans.yaml:") for told in found), found


@pytest.mark.parametrize(
    "bomb",
    [
        "plans: &a [*a]",
        "plans: &a\n- {key: *a}",
        "a0: &a0 x\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
        + "plans: *a11\n",
        "plans: " + "[" * 100_000 + "]" * 100_000,
    ],
)
def test_a_hostile_file_is_told_quickly(tmp_path: Path, bomb: str) -> None:
    found = faults(tmp_path, plans=bomb)
    assert all(told.startswith("plans.yaml:") for told in found)
    assert max(map(len, found)) < 2000


def test_an_alias_says_the_same_again(tmp_path: Path) -> None:
    plans = PLANS.replace(
        'price: {model: per_unit, unit_price: "0.001"}',
        'price: &p {model: per_unit, unit_price: "0.001"}',
    ).replace('price: {model: per_unit, unit_price: "0.002"}', "price: *p")
    first, second = book(tmp_path, plans=plans).plans["growth"].versions
    assert first.charges["requests"] == second.charges["requests"]

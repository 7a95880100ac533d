"""No float near a quantity or money: a search of the source, and types that refuse one."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rating_engine.currency import currency
from rating_engine.exact import charge_text, price_text, quantity_text, whole
from rating_engine.models.package import Package
from rating_engine.models.per_unit import PerUnit
from rating_engine.models.percentage import Percentage
from rating_engine.models.tiers import Tier
from rating_engine.money import Money, Rounding, rounded
from rating_engine.proration import Share
from rating_engine.rater import Rater
from rating_engine.split import Segment, SplitRater
from rating_engine.terms import ChargeTerms, CommitBucket, PlanTerms

PACKAGE = Path(__file__).resolve().parents[2] / "rating_engine"
USD = currency("USD")
TERMS = ChargeTerms(PerUnit(1))
#: Names by which a float could come in, or exactness go.
INEXACT = frozenset(
    {"float", "round", "math", "random", "numpy", "statistics", "total_seconds", "timestamp"}
)


def inexact(text: str) -> Iterator[str]:
    """Every place where a float may arise: types, literals, true division, powers below 1."""
    for node in ast.walk(ast.parse(text)):
        line = getattr(node, "lineno", 0)
        name = getattr(node, "id", getattr(node, "attr", getattr(node, "name", "")))
        if name in INEXACT or (isinstance(node, ast.ImportFrom) and node.module in INEXACT):
            yield f"{line}: {name or 'import'}"
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield f"{line}: {node.value}"
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield f"{line}: /"


def test_the_engine_holds_nothing_inexact() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 15
    found = {
        path.name: faults
        for path in files
        if (faults := list(inexact(path.read_text(encoding="utf-8"))))
    }
    # joining paths, and what Arrow calls a moment
    assert {name: {each.split(": ")[1] for each in faults} for name, faults in found.items()} == {
        "load.py": {"/"},
        "read_subscriptions.py": {"/"},
        "subscription_rows.py": {"timestamp"},
    }


@pytest.mark.parametrize(
    "text", ["x = 0.5", "x = a / b", "x /= 2", "float(x)", "round(x)", "import math", "x: float"]
)
def test_what_is_inexact_is_found(text: str) -> None:
    assert len(list(inexact(text))) == 1


def test_the_engine_asks_nothing_outside() -> None:
    allowed = {
        *("metering.catalog", "metering.quantity", "metering.rejection", "metering.errors"),
        "iso4217",
        "xxhash",
    }
    standard = {
        "collections.abc",
        *("dataclasses", "enum", "typing", "functools", "itertools", "operator", "bisect"),
        *("calendar", "datetime", "zoneinfo"),
    }
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "price_book"):
            continue  # reads files, and uses the arithmetic
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name in allowed | standard or name.startswith("rating_engine."), path
                assert not name.startswith("rating_engine.price_book"), path


@pytest.mark.parametrize("value", [1.0, 0.5, True, np.int64(1), np.float64(1), "1", None])
@pytest.mark.parametrize(
    "make",
    [
        PerUnit,
        Percentage,
        lambda value: Package(value, 1),
        lambda value: Package(1, value),
        lambda value: Tier(None, value),
        lambda value: Tier(None, 0, value),
        lambda value: CommitBucket(value, 1),
        lambda value: CommitBucket(1, value),
        lambda value: ChargeTerms(PerUnit(1), allowance=value),
        lambda value: ChargeTerms(PerUnit(1), minimum=value),
        lambda value: PlanTerms(USD, base_fee=value),
        lambda value: PlanTerms(USD, commit=value),
        lambda value: Money(USD, value),
        lambda value: rounded(value, USD, rounding=Rounding.HALF_EVEN),
        lambda value: Share(0, 1, 1).of(value),
        lambda value: Rater(TERMS).rate(value),
        lambda value: Rater(TERMS).figures(value),
        lambda value: Rater(TERMS).rate_event(0, value),
        quantity_text,
        price_text,
        charge_text,
        lambda value: whole(value, "it"),
    ],
)
def test_only_whole_numbers_are_taken(make: Callable[[Any], object], value: object) -> None:
    with pytest.raises(TypeError, match="expected int, got"):
        make(value)


@pytest.mark.parametrize("value", [1.0, np.float64(1)])
def test_a_float_does_not_hide_in_a_sum(value: object) -> None:
    rater = SplitRater([Segment(0, 1, TERMS)], 1)
    with pytest.raises(TypeError, match="expected int, got"):
        rater.rate([value])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (quantity_text, 1000 * 10**12, "1000"),
        (quantity_text, -1, "-0.000000000001"),
        (quantity_text, 0, "0"),
        (price_text, 10**9, "0.001"),
        (charge_text, 125 * 10**22, "1.25"),
        (charge_text, -1, "-0.000000000000000000000001"),
        (charge_text, 10**42, "1000000000000000000"),
    ],
)
def test_texts_are_plain_and_exact(write: Callable[[int], str], value: int, text: str) -> None:
    assert write(value) == text

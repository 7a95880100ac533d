"""The judge shares no code with the judged, and still agrees with it on names and order."""

import ast
from pathlib import Path

import yaml

from loadtest.defects import EVENT_DEFECTS, all_codes
from loadtest.meters import METERS
from loadtest.outcome import CONFLICT_CODE
from metering.rejection import RejectionCode

_REPOSITORY = Path(__file__).parents[2]
_OURS = {path.parent.name for path in _REPOSITORY.glob("*/__init__.py")} - {"loadtest"}


def _imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    return {module.split(".")[0] for module in modules}


def test_the_load_test_imports_nothing_of_the_pipeline() -> None:
    assert "metering" in _OURS
    for path in (_REPOSITORY / "loadtest").rglob("*.py"):
        assert not _imported(path) & _OURS, path.name


def test_the_meters_are_those_of_the_catalog() -> None:
    catalog = yaml.safe_load((_REPOSITORY / "catalog" / "meters.yaml").read_text())
    described = {
        meter.name: (
            meter.aggregation.value,
            list(meter.group_by),
            meter.counted_dimension,
            meter.allow_negative,
        )
        for meter in METERS
    }
    assert described == {
        entry["key"]: (
            entry["aggregation"],
            entry.get("group_by", []),
            entry.get("counted_dimension", ""),
            entry.get("allow_negative", False),
        )
        for entry in catalog["meters"]
    }


def test_every_rejection_code_is_provoked() -> None:
    assert all_codes() | {CONFLICT_CODE} == {code.value for code in RejectionCode}


def test_defects_stand_in_the_order_in_which_codes_go_before_each_other() -> None:
    order = [code.value for code in RejectionCode]
    places = [order.index(defect.code) for defect in EVENT_DEFECTS]
    assert places == sorted(places)

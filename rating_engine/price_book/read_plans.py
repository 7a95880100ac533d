"""Reading `plans.yaml`: everything is checked, every fault is told with its line and its field."""

import pathlib
from collections.abc import Mapping
from operator import itemgetter
from typing import NamedTuple

from yaml.nodes import Node

from metering.catalog import Meter
from metering.catalog_yaml import YamlFile
from metering.yaml_values import PlainValues, line_at
from rating_engine.currency import CurrencyUnknown, currency
from rating_engine.fields import Fault, Fields, Path, path_text
from rating_engine.models.table import DIMENSIONAL
from rating_engine.price_book.canonical import content_hash, version_content
from rating_engine.price_book.plan import Plan, PriceVersion
from rating_engine.price_book.plan_fields import (
    read_border,
    read_calendar,
    read_key,
    read_whole,
    shortened,
    shown,
)
from rating_engine.price_book.shapes import PLAN, PLANS_FILE, VERSION, VERSION_MAX
from rating_engine.terms import ChargeTerms, read_charge, read_plan

Meters = Mapping[str, Meter]
#: Stands in where a plan's currency is told as a fault already.
_ANY_CURRENCY = "USD"


class PlansRead(NamedTuple):
    """Plans by their keys. `faulty` are the keys of plans with faults, None: any may be one."""

    plans: dict[str, Plan]
    faulty: frozenset[str] | None = frozenset()

    def is_faulty(self, key: object) -> bool:
        """Whether faults were told of a plan `key`, so that it is not unknown."""
        if not isinstance(key, str) or key in self.plans:
            return False
        return self.faulty is None or key in self.faulty


def read_plans(path: pathlib.Path, meters: Meters, *, told: list[str]) -> PlansRead:
    """Read the plans in `path`; none where there is no such file.

    Faults are appended to `told` as `file:line: field: expected ..., got ...`; with any, what
    comes back is for checking other files only.
    """
    known = len(told)
    file = YamlFile.read(path, told)
    if file.root is None:
        return PlansRead({}, None if len(told) > known else frozenset())
    root = file.root
    faults: list[Fault] = []
    lines: dict[int, int] = {}  # of faults that belong to a key, not to a value

    def tell(path: Path, node: Node, *, expected: str, got: str) -> None:
        lines[len(faults)] = node.start_mark.line + 1
        faults.append(Fault(path, expected, got))

    values = PlainValues(tell).of(root)
    plans: dict[str, Plan] = {}
    faulty: set[str] = set()
    if isinstance(values, Mapping):
        fields = Fields(values, faults)
        fields.allow_only(*PLANS_FILE.names)
        for each in fields.children("plans"):
            plan = _read_plan(each, meters)
            if plan is None:
                faulty.add(str(each.values.get("key")))
                continue
            if plan.key in plans:
                each.fault("key", expected="a key that is not taken", got=repr(plan.key))
            plans.setdefault(plan.key, plan)
    else:
        faults.append(Fault((), "a mapping", shown(values)))
    placed = [
        (lines.get(at) or line_at(root, fault.path), fault) for at, fault in enumerate(faults)
    ]
    for line, fault in sorted(placed, key=itemgetter(0)):
        place = path_text(fault.path) or "file"
        got = shortened(fault.got)
        told.append(f"{file.name}:{line}: {place}: expected {fault.expected}, got {got}")
    return PlansRead(plans, frozenset(faulty))


def _read_plan(fields: Fields, meters: Meters) -> Plan | None:
    known = len(fields.faults)
    fields.allow_only(*PLAN.names)
    key = read_key(fields, "key")
    calendar = read_calendar(fields)
    code = _read_currency(fields)
    prorates = fields.flag("prorate_allowance")
    versions: list[PriceVersion] = []
    for each in fields.children("versions"):
        each.allow_only(*VERSION.names)
        number = read_whole(each, "version", high=VERSION_MAX)
        effective_us = read_border(each, "effective_from")
        terms = read_plan(each, currency_code=code, prorate_allowance=prorates)
        charges = _read_charges(each, meters)
        if versions and number:
            _follows(each, versions[-1], number=number, effective_us=effective_us)
            if terms.rounding is not versions[-1].terms.rounding:
                got = repr(str(terms.rounding))
                expected = f"that of all versions, {str(versions[-1].terms.rounding)!r}"
                each.fault("rounding", expected=expected, got=got)
        sound = len(fields.faults) == known and effective_us is not None
        content = version_content(fields.values, each.values) if sound else ""
        versions.append(
            PriceVersion(
                plan=key,
                version=number,
                effective_us=effective_us or 0,
                terms=terms,
                charges=charges,
                content=content,
                content_hash=content_hash(content),
            )
        )
    if len(fields.faults) > known:
        return None
    return Plan(key, calendar, tuple(versions))


def _follows(
    fields: Fields, before: PriceVersion, *, number: int, effective_us: int | None
) -> None:
    if number <= before.version:
        expected = f"more than the version before, {before.version}"
        fields.fault("version", expected=expected, got=str(number))
    if effective_us is not None and effective_us <= before.effective_us:
        got = repr(fields.values["effective_from"])
        fields.fault("effective_from", expected="later than the version before", got=got)


def _read_currency(fields: Fields) -> str:
    code = fields.values.get("currency")
    try:
        return currency(code if isinstance(code, str) else "").code
    except CurrencyUnknown:
        expected = "an ISO 4217 code with minor units, like USD"
        fields.fault("currency", expected=expected, got=shown(code))
        return _ANY_CURRENCY


def _read_charges(fields: Fields, meters: Meters) -> dict[str, ChargeTerms]:
    charges: dict[str, ChargeTerms] = {}
    if not fields.has("charges") or fields.values["charges"] == []:
        return charges
    for each in fields.children("charges"):
        meter = each.text("meter")
        terms = read_charge(each)
        if meter and meter not in meters:
            each.fault("meter", expected="a meter of meters.yaml", got=repr(meter))
        if meter in charges:
            each.fault("meter", expected="a meter only once in a version", got=repr(meter))
        charges[meter] = terms
        price = each.values.get("price")
        if meter in meters and isinstance(price, Mapping) and price.get("model") == DIMENSIONAL:
            _check_dimensions(each.child("price"), meters[meter])
    return charges


def _check_dimensions(price: Fields | None, meter: Meter) -> None:
    names = None if price is None else price.values.get("dimensions")
    if price is None or not isinstance(names, list):
        return
    for position, name in enumerate(names):
        if isinstance(name, str) and name not in meter.group_by:
            path = (*price.path, "dimensions", position)
            expected = f"a dimension in group_by of {meter.key} ({', '.join(meter.group_by)})"
            price.faults.append(Fault(path, expected, repr(name)))

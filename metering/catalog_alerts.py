"""What the catalog says of alerts: a meter's sensitivity, and budgets."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from metering.catalog import MeterAlerts, Sensitivity
from metering.catalog_yaml import Entry, YamlFile
from metering.errors import SettingsInvalid
from metering.quantity import units
from metering.rejection import RejectionCode

_AMOUNT = "a decimal in quotes, at least 0, with at most 12 digits behind the point"


@dataclass(frozen=True, slots=True)
class Budgets:
    """Most that a billing period may come to, in the currency of the customer's plan.

    That of a customer counts before that of its plan.
    """

    of_customers: Mapping[str, Decimal]
    of_plans: Mapping[str, Decimal]


def read_meter_alerts(entry: Entry) -> MeterAlerts:
    """Read a meter's optional `alerts`; faults are told."""
    found = entry.mapping("alerts") if entry.has("alerts") else None
    if found is None:
        return MeterAlerts()
    found.allow_only("sensitivity", "minimum")
    sensitivity = None
    if found.has("sensitivity"):
        sensitivity = found.choice("sensitivity", tuple(Sensitivity))
    minimum = _amount(found, "minimum") if found.has("minimum") else None
    return MeterAlerts(Sensitivity(sensitivity or "normal"), minimum or Decimal(0))


def load_budgets(folder: Path) -> Budgets:
    """Load the optional `budgets.yaml`. Raises `SettingsInvalid` with all faults."""
    faults: list[str] = []
    budgets = read_budgets(folder, faults)
    if faults:
        raise SettingsInvalid(faults)
    return budgets


def read_budgets(folder: Path, faults: list[str]) -> Budgets:
    """Read the same for somebody who reads other files beside it; faults are appended."""
    customers: dict[str, Decimal] = {}
    plans: dict[str, Decimal] = {}
    for entry in YamlFile.read(folder / "budgets.yaml", faults).entries("budgets"):
        entry.allow_only("customer_id", "plan", "amount")
        amount = _amount(entry, "amount")
        if entry.has("customer_id") == entry.has("plan"):
            entry.fault("", "either customer_id or plan", "both or none")
            continue
        field, known = ("plan", plans) if entry.has("plan") else ("customer_id", customers)
        name = entry.text(field)
        if name is None or amount is None:
            continue
        if name in known:
            entry.fault(field, "a budget only once", repr(name))
        if not amount:
            entry.fault("amount", "an amount above 0", entry.shown("amount"))
        known[name] = amount
    return Budgets(customers, plans)


def _amount(entry: Entry, field: str) -> Decimal | None:
    text = entry.text(field)
    if text is None:
        return None
    read = units(text)
    if isinstance(read, RejectionCode) or read < 0:
        entry.fault(field, _AMOUNT, entry.shown(field))
        return None
    return Decimal(read).scaleb(-12)

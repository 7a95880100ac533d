"""What a variance may be before a person has to look at it: the file of tolerances.

    default: {absolute: "0.01"}
    meters:
      api_requests: {absolute: "0.05", relative: "0.001", product: API calls}
    danger_from: "100"
    hold_from: "100"
    customers:
      org_123: {name: Northstar Analytics}

Every part may be left out. Amounts are text: a number with a point is not read as a float.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metering.errors import SettingsInvalid
from reconcile.variance import SCALE, Finding, Severity, VarianceClass
from reconcile.yaml_file import Section, read_yaml

_DANGER_FROM = 100 * SCALE
_MILD = frozenset({VarianceClass.ROUNDING, VarianceClass.LATE})


@dataclass(frozen=True, slots=True)
class Tolerance:
    """`absolute` is in 10^-12 of the currency's unit, `relative` in 10^-12 of what was expected."""

    absolute: int = 0
    relative: int = 0

    def covers(self, amount: int, expected: int) -> bool:
        """Whether a difference of `amount` from `expected` is let pass."""
        return 0 < abs(amount) <= max(self.absolute, abs(expected) * self.relative // SCALE)


@dataclass(frozen=True, slots=True)
class Policy:
    """Tolerances and thresholds; amounts in 10^-12 of the currency's unit."""

    default: Tolerance = Tolerance()
    meters: Mapping[str, Tolerance] = field(default_factory=dict)
    products: Mapping[str, str] = field(default_factory=dict)
    customers: Mapping[str, str] = field(default_factory=dict)
    danger_from: int = _DANGER_FROM
    hold_from: int = _DANGER_FROM

    def tolerates(self, finding: Finding) -> bool:
        """Whether the finding's amount is within the tolerance of its meter."""
        tolerance = self.meters.get(finding.subject.meter, self.default)
        return tolerance.covers(finding.amount, finding.expected_amount)

    def severity(self, finding: Finding) -> Severity:
        """Of a finding: info where it is expected to happen, danger from a threshold on."""
        if finding.variance in _MILD:
            return Severity.INFO
        is_dear = abs(finding.amount) >= self.danger_from
        return Severity.DANGER if is_dear else Severity.WARNING

    def product(self, meter: str) -> str:
        """What the meter is sold as; its key where the file does not say."""
        return self.products.get(meter, meter)


def read_policy(path: Path) -> Policy:
    """Raises `SettingsInvalid` with every fault: file, line, field, expected, got."""
    root, faults = read_yaml(path)
    meters = dict(root.sections("meters"))
    customers = dict(root.sections("customers"))
    policy = Policy(
        default=_tolerance(root.section("default")),
        meters={key: _tolerance(each) for key, each in meters.items()},
        products={key: name for key, each in meters.items() if (name := each.text("product"))},
        customers={key: name for key, each in customers.items() if (name := each.text("name"))},
        danger_from=root.amount("danger_from", _DANGER_FROM),
        hold_from=root.amount("hold_from", _DANGER_FROM),
    )
    for each in meters.values():
        each.only("absolute", "relative", "product")
    for each in customers.values():
        each.only("name")
    root.section("default").only("absolute", "relative")
    root.only("default", "meters", "danger_from", "hold_from", "customers")
    if faults:
        raise SettingsInvalid(faults)
    return policy


def _tolerance(section: Section) -> Tolerance:
    return Tolerance(section.amount("absolute", 0), section.amount("relative", 0))

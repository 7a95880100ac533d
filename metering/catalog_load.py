"""Reading the catalog's files: everything is checked, and every fault is told with its line."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

from metering.catalog import (
    Aggregation,
    Binding,
    Catalog,
    Disregarded,
    Meter,
    SuppressionRule,
)
from metering.catalog_alerts import read_meter_alerts
from metering.catalog_yaml import Entry, YamlFile
from metering.errors import SettingsInvalid

_METER_KEY = r"[a-z][a-z0-9_.-]{0,63}"
_GROUP_BY_MAX = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MATCH_KEYS = ("subject", "customer_id", "meter", "source")


def load_catalog(folder: Path) -> Catalog:
    """Load the catalog in `folder`.

    Reads `meters.yaml`, and where they exist `bindings.yaml`, `suppressions.yaml` and
    `disregarded.yaml`. Called once at start and by `meterline doctor`.
    Raises `SettingsInvalid` with all faults of all files, each as
    `file:line: field: expected ..., got ...`.
    """
    faults: list[str] = []
    catalog = read_catalog(folder, faults)
    if faults:
        raise SettingsInvalid(faults)
    return catalog


def read_catalog(folder: Path, faults: list[str]) -> Catalog:
    """Read the same files for somebody who reads others beside them.

    Faults are appended to `faults`; with any, the catalog is for checking the other files only.
    """
    meters = _meters(YamlFile.read(folder / "meters.yaml", faults, required=True))
    bindings = _bindings(YamlFile.read(folder / "bindings.yaml", faults))
    rules = _rules(YamlFile.read(folder / "suppressions.yaml", faults), meters)
    disregarded = _disregarded(YamlFile.read(folder / "disregarded.yaml", faults))
    return Catalog(meters, bindings, rules, disregarded)


def _meters(file: YamlFile) -> dict[str, Meter]:
    lines: dict[str, int] = {}
    meters: dict[str, Meter] = {}
    for entry in file.entries("meters"):
        entry.allow_only(
            "key", "unit", "aggregation", "group_by", "allow_negative", "counted_dimension",
            "alerts",
        )  # fmt: skip
        key = entry.text("key", pattern=_METER_KEY)
        unit = entry.text("unit")
        aggregation = entry.choice("aggregation", tuple(Aggregation))
        group_by = entry.texts("group_by", count_max=_GROUP_BY_MAX)
        allow_negative = entry.flag("allow_negative")
        counted = _counted_dimension(entry, aggregation)
        alerts = read_meter_alerts(entry)
        if key is not None and key in lines:
            entry.fault("key", f"a key that is not taken (line {lines[key]} has it)", repr(key))
        if key is None or unit is None or aggregation is None:
            continue
        lines.setdefault(key, entry.line)
        meters[key] = Meter(
            key, unit, Aggregation(aggregation), group_by, allow_negative, counted, alerts
        )
    return meters


def _counted_dimension(entry: Entry, aggregation: str | None) -> str | None:
    if aggregation == Aggregation.UNIQUE_COUNT:
        return entry.text("counted_dimension")
    if entry.has("counted_dimension") and aggregation is not None:
        entry.fault(
            "counted_dimension", "it only where aggregation is unique_count", repr(aggregation)
        )
    return None


def _bindings(file: YamlFile) -> tuple[Binding, ...]:
    bindings: list[tuple[Binding, Entry]] = []
    for entry in file.entries("bindings"):
        entry.allow_only("subject", "customer_id", "from", "until")
        subject = entry.text("subject")
        customer_id = entry.text("customer_id")
        from_us = entry.moment_us("from", required=True)
        until_us = entry.moment_us("until")
        if from_us is not None and until_us is not None and until_us <= from_us:
            entry.fault("until", "a time after from", entry.shown("until"))
        if subject is not None and customer_id is not None and from_us is not None:
            until = None if until_us is None else _moment(until_us)
            bindings.append((Binding(subject, customer_id, _moment(from_us), until), entry))
    bindings.sort(key=lambda each: (each[0].subject, each[0].from_))
    for (earlier, first), (later, second) in pairwise(bindings):
        if earlier.subject != later.subject:
            continue
        if earlier.until is None or later.from_ < earlier.until:
            second.fault(
                "from",
                f"no overlap with the binding of {later.subject!r} in line {first.line}",
                second.shown("from"),
            )
    return tuple(binding for binding, _ in bindings)


def _rules(file: YamlFile, meters: dict[str, Meter]) -> tuple[SuppressionRule, ...]:
    rules: list[SuppressionRule] = []
    names: Counter[str] = Counter()
    for entry in file.entries("suppressions"):
        entry.allow_only("name", "match", "reason")
        reason = entry.text("reason")
        match = entry.mapping("match")
        if match is None:
            continue
        match.allow_only(*_MATCH_KEYS)
        globs = {key: match.text(key) for key in _MATCH_KEYS if match.has(key)}
        if not globs:
            entry.fault("match", f"at least one of {', '.join(_MATCH_KEYS)}", "none of them")
        meter = globs.get("meter")
        if meter is not None and not any(fnmatchcase(key, meter) for key in meters):
            match.fault("meter", "a glob that matches a meter of the catalog", repr(meter))
        default = " ".join(f"{key}={glob}" for key, glob in globs.items())
        name = entry.text("name") if entry.has("name") else default
        if name is None or reason is None:
            continue
        names[name] += 1
        if names[name] > 1:
            entry.fault("name" if entry.has("name") else "match", "a rule only once", repr(name))
        rules.append(SuppressionRule(name, reason, **globs))
    return tuple(rules)


def _disregarded(file: YamlFile) -> tuple[Disregarded, ...]:
    found: dict[str, Disregarded] = {}
    for entry in file.entries("disregarded"):
        entry.allow_only("subject", "reason")
        subject = entry.text("subject")
        reason = entry.text("reason")
        if subject is None or reason is None:
            continue
        if subject in found:
            entry.fault("subject", "a subject only once", repr(subject))
        found[subject] = Disregarded(subject, reason)
    return tuple(found.values())


def _moment(unix_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=unix_us)

"""How another system's rows are read: which column is what, and how its values are written.

format: csv                 # csv, jsonl, parquet; by the file's ending where it is left out
columns:                    # of ours: of theirs; a.b is member b of a; a list: the first there
  customer_id: account
  line_id: [metadata.line_id, id]
constants: {currency: USD}
amounts: minor              # whole minor units (cents); major where it is left out
dates: "%d.%m.%Y"           # auto, unix_s, unix_ms, or a format of strptime
meters: {API-REQ: api_requests}
price_versions: {price_1N3: 2}
customers: {"0012": org_123}
filters: {type: [usage, metered]}   # keep rows whose column holds one of these
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metering.errors import SettingsInvalid
from reconcile.yaml_file import Section, read_yaml

#: What a row may say; those of `REQUIRED` have to come from a column or a constant.
FIELDS = (
    "customer_id", "meter", "group", "kind", "period_start", "period_end", "quantity", "amount",
    "currency", "invoice_id", "line_id", "price_version",
)  # fmt: skip
REQUIRED = ("customer_id", "meter", "amount", "currency")
FORMATS = ("csv", "jsonl", "parquet")
_ENDINGS = {
    ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet",
}  # fmt: skip
_PARTS = (
    "format", "columns", "constants", "amounts", "dates", "meters", "price_versions", "customers",
    "filters",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileMapping:
    """A description of files; `columns` names for each field of ours theirs, best first."""

    name: str
    columns: Mapping[str, tuple[str, ...]]
    constants: Mapping[str, str] = field(default_factory=dict)
    format: str = ""
    is_minor: bool = False
    dates: str = "auto"
    renames: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def format_of(self, path: Path) -> str:
        """Raises `SettingsInvalid` where neither the mapping nor the ending says."""
        found = self.format or _ENDINGS.get(path.suffix.lower(), "")
        if not found:
            expected = f"an ending of {', '.join(_ENDINGS)}, or `format` in the mapping"
            raise SettingsInvalid([f"{path}: expected {expected}, got {path.suffix or 'none'}"])
        return found


GENERIC = FileMapping("generic", {name: (name,) for name in FIELDS})
STRIPE = FileMapping(
    "stripe",
    {
        "customer_id": ("metadata.customer_id", "customer"),
        "meter": ("metadata.meter", "price.metadata.meter"),
        "group": ("metadata.group",),
        "kind": ("metadata.kind",),
        "period_start": ("period.start",),
        "period_end": ("period.end",),
        "quantity": ("metadata.quantity", "quantity_decimal", "quantity"),
        "amount": ("amount",),
        "currency": ("currency",),
        "invoice_id": ("metadata.invoice_id", "invoice"),
        "line_id": ("metadata.line_id", "id"),
        "price_version": ("metadata.price_version", "price.metadata.price_version"),
    },
    is_minor=True,
    dates="unix_s",
)
PRESETS = {each.name: each for each in (GENERIC, STRIPE)}


def read_mapping(name: str) -> FileMapping:
    """A preset by its name, or a YAML file. Raises `SettingsInvalid` with every fault."""
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        expected = f"one of {', '.join(PRESETS)}, or a .yaml file"
        raise SettingsInvalid([f"--mapping: expected {expected}, got {name}"])
    root, faults = read_yaml(path)
    found = FileMapping(
        name,
        _columns(root),
        constants=root.texts("constants"),
        format=root.choice("format", "", *FORMATS),
        is_minor=root.choice("amounts", "major", "minor") == "minor",
        dates=root.text("dates", "auto"),
        renames={
            "meter": root.texts("meters"), "price_version": root.texts("price_versions"),
            "customer_id": root.texts("customers"),
        },
        filters=_lists(root.section("filters")),
    )  # fmt: skip
    root.only(*_PARTS)
    root.section("columns").only(*FIELDS)
    root.section("constants").only(*FIELDS)
    for missing in (each for each in REQUIRED if each not in {**found.columns, **found.constants}):
        root.tell("columns", expected=f"a column or constant for {missing}", got="none")
    if faults:
        raise SettingsInvalid(faults)
    return found


def _columns(root: Section) -> dict[str, tuple[str, ...]]:
    return _lists(root.section("columns"))


def _lists(section: Section) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, value in section.values.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(each, str | int) for each in values):
            section.tell(name, expected="a text or a list of texts", got=repr(value))
            continue
        found[name] = tuple(str(each) for each in values)
    return found

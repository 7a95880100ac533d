"""The catalog folder of a load: the repository's meters, and operators' rules for its subjects."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import orjson

from loadtest.population import Population, retired_subjects

Entry = Mapping[str, object]

_REPOSITORY_METERS = Path(__file__).parent.parent / "catalog" / "meters.yaml"
_FORMER_CUSTOMER = "former-owner"
_HANDED_OVER_EVERY = 10


def write_catalog(folder: Path, population: Population, started_at: datetime) -> None:
    """Write `meters.yaml`, `bindings.yaml`, `suppressions.yaml` and `disregarded.yaml`.

    Some bound subjects belonged to somebody else until a day before `started_at`: nothing in the
    load is that old, so nothing may be counted there.
    """
    copy_meters(folder)
    entries = [
        line
        for number, (subject, customer) in enumerate(population.bindings.items())
        for line in _bindings(number, subject, customer, started_at)
    ]
    _write(folder / "bindings.yaml", "bindings", entries)
    rule = {"name": "tests", "match": {"subject": "test-*"}, "reason": "not real usage"}
    _write(folder / "suppressions.yaml", "suppressions", [rule])
    retired = [{"subject": subject, "reason": "retired"} for subject in retired_subjects()]
    _write(folder / "disregarded.yaml", "disregarded", retired)


def copy_meters(folder: Path) -> None:
    """Write a catalog of the repository's meters, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(_REPOSITORY_METERS, folder / "meters.yaml")


def _bindings(number: int, subject: str, customer: str, started_at: datetime) -> list[Entry]:
    long_ago = "2020-01-01T00:00:00Z"
    if number % _HANDED_OVER_EVERY:
        return [{"subject": subject, "customer_id": customer, "from": long_ago}]
    handed_over = (started_at - timedelta(days=1)).isoformat()
    former = {"customer_id": _FORMER_CUSTOMER, "from": long_ago, "until": handed_over}
    return [
        {"subject": subject, **former},
        {"subject": subject, "customer_id": customer, "from": handed_over},
    ]


def _write(path: Path, name: str, entries: Sequence[Entry]) -> None:
    """YAML whose entries are JSON, which YAML contains."""
    lines = [f"  - {orjson.dumps(entry).decode()}" for entry in entries]
    path.write_text("\n".join([f"{name}:", *lines, ""]), encoding="utf-8")

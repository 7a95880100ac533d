"""`meterline catalog check` and `schema`, and what `load` refuses, without a server."""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from catalogs import PLANS, SUBSCRIPTIONS, book, write

from cli.main import main
from dataflows.catalog_load import LoadRefused, load_versions
from metering.audit_chain import AuditEntry
from metering.plan_version import StoredVersion
from rating_engine.price_book.schema import schema_text, schemas
from sinks.catalog_store import CatalogLoad

NOW = datetime(2026, 4, 24, tzinfo=UTC)
EDITED = PLANS.replace('"0.001"', '"0.003"')


class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def meterline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["meterline", *arguments])
        with pytest.raises(SystemExit) as raised:
            main()
        found = capsys.readouterr()
        return Answer(int(raised.value.code or 0), found.out, found.err)

    return run


class MemoryStore:
    """Keeps what is stored, in order."""

    def __init__(self) -> None:
        self.loads: list[CatalogLoad] = []
        self.kept: dict[tuple[str, int], StoredVersion] = {}
        self.audited: list[AuditEntry] = []

    def versions(self) -> list[StoredVersion]:
        return list(self.kept.values())

    def newest_hash(self) -> str | None:
        return self.loads[-1].catalog_hash if self.loads else None

    def newest_subscriptions(self) -> int:
        return self.loads[-1].subscriptions if self.loads else 0

    def store(
        self,
        load: CatalogLoad,
        versions: Sequence[StoredVersion],
        *,
        audit: Sequence[AuditEntry] = (),
    ) -> None:
        self.audited += audit
        self.kept.update({(each.plan, each.version): each for each in versions})
        self.loads.append(load)


def load(store: Any, folder: Path, plans: str, *, reason: str = "", **files: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    found = book(folder, plans=plans, **files)
    done = load_versions(store, found, actor="ada", edit_reason=reason, now=NOW)
    return [told.sentence for told in done]


def test_a_right_catalog_is_summed_up(meterline: Callable[..., Answer], tmp_path: Path) -> None:
    write(tmp_path, subscriptions=SUBSCRIPTIONS)
    found = meterline("catalog", "check", "--catalog", str(tmp_path))
    assert found.code == 0
    assert "4 meters, 2 plans with 3 versions, 1 subscriptions of 1 customers; hash" in found.out
    found = meterline("catalog", "check", "--catalog", str(tmp_path), "--json")
    document = orjson.loads(found.out)
    assert (document["holds"], document["faults"]) == (True, [])
    assert document["content_hash"] == book(tmp_path, subscriptions=SUBSCRIPTIONS).content_hash


def test_every_fault_is_told_at_once(meterline: Callable[..., Answer], tmp_path: Path) -> None:
    write(
        tmp_path,
        plans=PLANS.replace("currency: USD", "currency: US").replace('"30"', "3.5"),
        subscriptions=SUBSCRIPTIONS.replace("plan: growth", "plan: grwth"),
    )
    found = meterline("catalog", "check", "--catalog", str(tmp_path))
    assert found.code == 1
    assert len(found.out.splitlines()) == 3
    found = meterline("catalog", "check", "--catalog", str(tmp_path), "--json")
    assert found.code == 1
    document = orjson.loads(found.out)
    assert document["holds"] is False
    first, second, third = document["faults"]
    assert {name: first[name] for name in ("file", "line", "field", "expected", "got")} == {
        "file": f"{tmp_path}/plans.yaml",
        "line": 3,
        "field": "plans[0].currency",
        "expected": "an ISO 4217 code with minor units, like USD",
        "got": "'US' (str)",
    }
    assert (second["line"], second["field"]) == (11, "plans[0].versions[1].base_fee")
    assert (third["field"], third["got"]) == ("subscriptions[0].plan", "'grwth' (str)")


def test_schemas_are_printed_and_written(meterline: Callable[..., Answer], tmp_path: Path) -> None:
    assert orjson.loads(meterline("catalog", "schema").out) == schemas()
    assert meterline("catalog", "schema", "--out", str(tmp_path / "deep" / "er")).code == 0
    for name, schema in schemas().items():
        assert (tmp_path / "deep" / "er" / name).read_text("utf-8") == schema_text(schema)


def test_allow_edit_needs_a_reason(meterline: Callable[..., Answer], tmp_path: Path) -> None:
    found = meterline("catalog", "load", "--catalog", str(write(tmp_path)), "--allow-edit")
    assert found.code == 2
    assert "--allow-edit: expected --reason with a text, got none" in found.err


def test_loading_again_changes_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    told = load(store, tmp_path, PLANS)
    assert told == [
        "euro version 1: added, effective 2026-01-01T00:00:00.000000Z",
        "growth version 1: added, effective 2026-01-01T00:00:00.000000Z",
        "growth version 2: added, effective 2026-04-16T00:00:00.000000Z",
    ]
    assert load(store, tmp_path, "# comment\n" + PLANS) == []
    assert len(store.loads) == 1


def test_a_catalog_with_other_subscriptions_alone_is_recorded(tmp_path: Path) -> None:
    store = MemoryStore()
    load(store, tmp_path, PLANS)
    assert load(store, tmp_path, PLANS, subscriptions=SUBSCRIPTIONS) == []
    assert [each.subscriptions for each in store.loads] == [0, 1]


def test_an_edit_of_what_took_effect_is_refused_with_the_difference(tmp_path: Path) -> None:
    store = MemoryStore()
    load(store, tmp_path, PLANS)
    kept = dict(store.kept)
    with pytest.raises(LoadRefused) as raised:
        load(store, tmp_path, EDITED)
    assert str(raised.value).splitlines() == [
        "expected price versions that took effect to stay as they were loaded, got",
        "growth version 1: changed",
        "  charges[requests].price.unit_price: 0.001 -> 0.003",
        "  took effect 2026-01-01T00:00:00.000000Z",
        "add a new version with its own effective_from, or use --allow-edit --reason TEXT",
    ]
    assert (store.kept, store.audited, len(store.loads)) == (kept, [], 1)


def test_an_edit_with_a_reason_is_audited(tmp_path: Path) -> None:
    store = MemoryStore()
    load(store, tmp_path, PLANS)
    before = store.kept["growth", 1]
    assert load(store, tmp_path, EDITED, reason="typo") != []
    (entry,) = store.audited
    after = store.kept["growth", 1]
    assert before != after
    assert entry == AuditEntry(
        "price_version_edited",
        "growth/1",
        "ada",
        "price_change",
        "typo",
        before.content,
        after.content,
    )

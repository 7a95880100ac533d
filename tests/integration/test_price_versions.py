"""`meterline catalog load`: what was loaded stands in ClickHouse, and what took effect stays."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
from counting import answer, meterline

from metering.settings import Settings
from rating_engine.price_book.load import load_price_book
from sinks.catalog_store import CatalogStore
from sinks.clickhouse import connect_clickhouse


def _rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    client = connect_clickhouse(settings)
    try:
        return [tuple(row) for row in client.query(query).result_rows]
    finally:
        client.close()


def test_case_24_versions_are_stored_and_an_edit_is_refused_or_audited(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "catalog"
    shutil.copytree(settings.catalog, folder)
    place = ("--catalog", str(folder))
    first = answer(settings, "catalog", "load", *place, "--actor", "ada")
    assert first["loaded"]
    assert [(each["plan"], each["version"], each["kind"]) for each in first["changes"]] == [
        ("enterprise", 1, "added"), ("growth", 1, "added"), ("growth", 2, "added"),
    ]  # fmt: skip
    assert answer(settings, "catalog", "load", *place)["changes"] == []

    book = load_price_book(folder)
    client = connect_clickhouse(settings)
    store = CatalogStore(client)
    kept = {(each.plan, each.version): each for each in store.versions()}
    assert {key: each.content_hash for key, each in kept.items()} == {
        (each.plan, each.version): each.content_hash for each in book.versions()
    }
    assert kept["growth", 1].effective_us == book.plans["growth"].begins_us
    assert store.newest_hash() == book.content_hash
    client.close()
    query = "SELECT meters, plans, plan_versions, subscriptions, actor FROM catalog_loads"
    assert _rows(settings, query) == [(8, 2, 3, 3, "ada")]

    plans = folder / "plans.yaml"
    text = plans.read_text(encoding="utf-8")
    plans.write_text(text.replace('unit_price: "0.001"', 'unit_price: "0.002"', 1), "utf-8")
    refused = meterline(settings, "catalog", "load", *place)
    assert refused.returncode == 2
    assert "charges[api_requests].price.unit_price: 0.001 -> 0.002" in refused.stderr
    assert _rows(settings, "SELECT count() FROM plan_versions") == [(3,)]

    allowed = ("--allow-edit", "--reason", "a typo", "--actor", "bob")
    assert answer(settings, "catalog", "load", *place, *allowed)["loaded"]
    query = "SELECT action, object, actor, note, before, after FROM audit_log"
    ((action, thing, actor, reason, before, after),) = _rows(settings, query)
    assert (action, thing, actor, reason) == (
        "price_version_edited", "growth/1", "bob", "a typo",
    )  # fmt: skip
    assert before == kept["growth", 1].content
    assert orjson.loads(after)["charges"][0]["price"]["unit_price"] == "0.002"
    assert answer(settings, "catalog", "load", *place)["changes"] == []

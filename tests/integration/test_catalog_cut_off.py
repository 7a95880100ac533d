"""A file of subscriptions that was cut off is not taken for that many that ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from counting import answer, meterline, rows

from dataflows.catalog_watch import CatalogWatch, fingerprint, store_versions
from metering.settings import Settings, load_settings
from rating_engine.price_book.load import load_price_book

_METERS = "meters:\n- {key: m, unit: u, aggregation: sum}\n"
_PLANS = """plans:
- key: p
  currency: USD
  versions:
  - version: 1
    effective_from: 2020-01-01T00:00:00Z
    charges: [{meter: m, price: {model: per_unit, unit_price: "1"}}]
"""


def _write(folder: Path, subscriptions: int) -> None:
    lines = [f"s{n},c{n},p,2025-01-01T00:00:00Z" for n in range(subscriptions)]
    text = "\n".join(["id,customer_id,plan,from", *lines, ""])
    (folder / "subscriptions.csv").write_text(text, encoding="utf-8")


@pytest.fixture
def catalog(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "meters.yaml").write_text(_METERS, encoding="utf-8")
    (tmp_path / "plans.yaml").write_text(_PLANS, encoding="utf-8")
    _write(tmp_path, 10)
    found = load_settings(catalog=tmp_path, http_port=0)
    assert found.namespace == settings.namespace
    return found


def test_half_of_the_subscriptions_may_go_and_more_only_with_a_reason(catalog: Settings) -> None:
    folder = catalog.catalog
    told: list[int] = []
    book = load_price_book(folder)
    store_versions(catalog, book)
    watch = CatalogWatch(catalog, book, seen=fingerprint(folder), say_refused=told.append)

    _write(folder, 5)
    watch.look()
    assert (watch.has_news, told) == (True, [0])
    watch.take()
    _write(folder, 2)
    watch.look()
    assert (watch.has_news, told) == (False, [0, 1])
    watch.look()
    assert (watch.has_news, told) == (False, [0, 1]), "it is not told again and again"
    refused = meterline(catalog, "catalog", "load")
    assert refused.returncode == 2
    assert "expected at most 50 % of 5 subscriptions to be gone, got 3 gone" in refused.stderr

    reason = ("--allow-edit", "--reason", "the business was sold", "--actor", "ada")
    assert answer(catalog, "catalog", "load", *reason)["loaded"]
    assert rows(catalog, "SELECT action, actor, note, before, after FROM audit_log") == [
        ("subscriptions_removed", "ada", "the business was sold", "5", "2")
    ]
    watch.look()
    assert (watch.has_news, told) == (True, [0, 1, 0])
    assert watch.take().content_hash == load_price_book(folder).content_hash

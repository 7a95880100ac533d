"""The steward's check of conservation: a range of customers at a time, and nothing forgotten."""

from __future__ import annotations

import pytest
from counting import count, event, plant, produce

import sinks.conservation.totals
from metering.catalog_load import load_catalog
from metering.metrics import CONSERVATION_CHECKS, StewardMetrics
from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse
from sinks.conservation.job import conservation_job

#: Raw rows of a range, so that the customers of the test are several ranges.
_RANGE_ROWS = 60
_ROUND_S = 1_800_000_000


def test_a_wrong_total_shows_until_a_whole_round_finds_it_no_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks.conservation.totals, "RANGE_ROWS", _RANGE_ROWS)
    produce(settings, [event(n) for n in range(210)])
    count(settings)
    client = connect_clickhouse(settings)
    ranges = len(sinks.conservation.totals.customer_ranges(client))
    assert ranges > 2
    metrics = StewardMetrics()
    clock = iter(range(_ROUND_S, _ROUND_S + 100))
    run = conservation_job(
        client, load_catalog(settings.catalog), metrics=metrics, clock_s=lambda: next(clock)
    )

    def differences() -> int:
        return int(metrics.conservation.labels("totals")._value.get())

    for at in range(ranges):
        assert metrics.conservation_round._value.get() == 0, at
        run()
    assert metrics.conservation_round._value.get() == _ROUND_S
    assert {each: metrics.conservation.labels(each)._value.get() for each in CONSERVATION_CHECKS} \
        == dict.fromkeys(CONSERVATION_CHECKS, 0)  # fmt: skip

    last = "customer_id = (SELECT max(customer_id) FROM usage_totals) AND meter = 'api_requests'"
    plant(settings, "INSERT INTO usage_totals SELECT * REPLACE (quantity + 5 AS quantity) FROM "
                    f"usage_totals FINAL WHERE {last} LIMIT 1")  # fmt: skip
    seen = []
    for _ in range(ranges):
        run()
        seen.append(differences())
    assert seen == [0] * (ranges - 1) + [1]

    plant(settings, "INSERT INTO usage_totals SELECT * REPLACE (quantity - 5 AS quantity) FROM "
                    f"usage_totals FINAL WHERE {last} LIMIT 1")  # fmt: skip
    seen = []
    for _ in range(ranges):
        run()
        seen.append(differences())
    assert seen == [1] * (ranges - 1) + [0]
    client.close()

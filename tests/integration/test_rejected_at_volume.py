"""Rejected events are told apart from raw history without holding all of its coordinates."""

from __future__ import annotations

from datetime import UTC, date, datetime

from counting import plant
from reconciled_world import insert

from metering.settings import Settings
from reconcile.period import Period
from reconcile.rejected import read_rejected
from sinks.clickhouse import connect_clickhouse

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
PERIOD = Period("2026-06", date(2026, 6, 1), date(2026, 7, 1), ())
EVENTS = 3_000_000
MEMORY = 150_000_000


def test_a_few_rejects_beside_millions_of_events_take_little_memory(settings: Settings) -> None:
    plant(
        settings,
        "INSERT INTO usage_events (customer_id, meter, identity, stream, partition, offset, "
        "occurred_at, record_time, quantity) SELECT 'org', 'api', "
        "reinterpretAsFixedString(toUInt128(number + 1)), 's', number % 16, number, "
        f"'2026-06-02 00:00:00', '2026-06-02 00:00:00', 1 FROM numbers({EVENTS})",
    )
    row = {"stream": "s", "code": "meter_must_be_known", "sentence": "", "event": b"{}",
           "customer_id": "org", "meter": "api", "record_time": JUNE}  # fmt: skip
    insert(settings, "rejected_events", [
        {**row, "partition": 3, "offset": 3},  # counted since, at its own place
        {**row, "partition": 3, "offset": EVENTS},
    ])  # fmt: skip
    client = connect_clickhouse(settings)
    client.set_client_setting("max_memory_usage", str(MEMORY))
    try:
        found = read_rejected(client, PERIOD)
    finally:
        client.close()
    assert [each.place for each in found] == [f"s/3/{EVENTS}/0"]

"""Raw history knows the owner of every identity, whatever its bytes are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client
from counting import plant, rows

from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse
from sinks.conservation.findings import Cut, Findings
from sinks.conservation.originals import check_originals
from sinks.history import ClickHouseHistory

#: One identity in 256 ends in a zero byte, one in 65536 in two: text types drop such ends.
_IDENTITIES = [bytes(range(16)), bytes([7] * 15 + [0]), bytes([9] * 14 + [0, 0]), bytes(16)]
_STREAM = "usage.events:abc"


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    for number, identity in enumerate(_IDENTITIES):
        plant(settings, "INSERT INTO usage_events (customer_id, meter, identity, id, stream, "
                        "offset, digest, occurred_at) SELECT 'one', 'seats', "
                        f"unhex('{identity.hex()}'), 'id', '{_STREAM}', {number}, 5, "
                        "'2026-11-01 00:00:00'")  # fmt: skip
    found = connect_clickhouse(settings)
    yield found
    found.close()


def test_the_owner_of_every_identity_is_found(client: Client) -> None:
    owners = ClickHouseHistory(client).owners([("one", "seats", each) for each in _IDENTITIES])
    assert {identity: owner.offset for identity, owner in owners.items()} == {
        identity: number for number, identity in enumerate(_IDENTITIES)
    }


def test_a_copy_whose_original_is_under_another_customer_has_one(
    client: Client, settings: Settings
) -> None:
    plant(settings, "INSERT INTO duplicate_events (stream, offset, customer_id, meter, identity, "
                    "occurred_at) SELECT stream, offset + 50, 'other', meter, identity, "
                    "occurred_at FROM usage_events")  # fmt: skip
    assert len(rows(settings, "SELECT 1 FROM duplicate_events")) == len(_IDENTITIES)
    found = Findings([])
    check_originals(client, [Cut(_STREAM, 0, 0, 100)], found=found, shown_max=10)
    assert found.lost == []


def test_only_raw_rows_are_merged_fifty_parts_at_a_time(client: Client) -> None:
    told = client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase()"
        " AND extract(engine_full, 'merge_selector_base = (\\\\d+)') = '50'"
    ).result_rows
    assert told == [("usage_events",)]
    ((settings,),) = client.query(
        "SELECT engine_full FROM system.tables"
        " WHERE database = currentDatabase() AND name = 'usage_events'"
    ).result_rows
    assert "fsync_after_insert = 1" in settings
    assert "fsync_part_directory = 1" in settings

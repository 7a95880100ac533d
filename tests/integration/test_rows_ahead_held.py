"""Rows that went ahead are asked for again, in whichever table they are."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from counting import plant

from metering.batch import Source
from metering.errors import RowsLost
from metering.flush import DUPLICATE_SCHEMA, Flush, PartitionFlush
from metering.rejection import Rejection, RejectionCode, Suppression
from metering.settings import Settings
from sinks import rows
from sinks.clickhouse import connect_clickhouse, insert_arrow
from sinks.rows_ahead import RowsAhead

#: Identities that end in a zero byte, which text types drop.
_IDENTITIES = [bytes([number] * 14 + [0, 0]) for number in range(1, 4)]
_TABLES = ("usage_events", "duplicate_events", "rejected_events", "suppressed_events")


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    found = connect_clickhouse(settings)
    yield found
    found.close()


@pytest.fixture
def written(client: Client) -> Flush:
    """A flush of two partitions with a row in each table, which went ahead."""
    flush = Flush(0, [_part(0), _part(1)])
    for table, found in zip(
        _TABLES,
        (rows.event_rows(flush), rows.duplicate_rows(flush), rows.rejection_rows(flush),
         rows.suppression_rows(flush)),
        strict=True,
    ):  # fmt: skip
        assert found is not None
        insert_arrow(client, table, found)
    return flush


def test_rows_that_are_there_are_found(client: Client, written: Flush) -> None:
    ahead = RowsAhead(client)
    ahead.require()
    ahead.wrote(written)
    ahead.wrote(written)  # the same rows, of a write that was repeated
    ahead.require()


@pytest.mark.parametrize("table", _TABLES)
def test_the_last_row_of_a_partition_that_is_gone_is_missed(
    client: Client, written: Flush, settings: Settings, table: str
) -> None:
    ahead = RowsAhead(client)
    ahead.wrote(written)
    plant(settings, f"ALTER TABLE {table} DELETE WHERE partition = 1 AND offset = 12 "
                    "SETTINGS mutations_sync = 2")  # fmt: skip
    with pytest.raises(RowsLost, match=f"expected 2 of them to be in {table}, got 1"):
        ahead.require()
    ahead.settled()
    ahead.require()


def _part(partition: int) -> PartitionFlush:
    return PartitionFlush(
        Source("usage.events:abc", partition, 3), 0, 20,
        events=[_events(partition, at=10), _events(partition, at=11, count=2)],
        duplicates=[_copy(12)],
        rejections=[
            Rejection(at, 1, 5, RejectionCode.MESSAGE_MUST_HAVE_A_VALUE, "no", b"{}", "i", "c", "m")
            for at in (3, 12)
        ],
        suppressions=[Suppression(12, 0, 5, "rule")],
    )  # fmt: skip


def _events(partition: int, *, at: int, count: int = 1) -> pa.RecordBatch:
    identities = [bytes([partition + 1, *one[1:]]) for one in _IDENTITIES[at - 10 :][:count]]
    return pa.record_batch(
        {
            "customer_id": pa.array(["one"] * count),
            "meter": pa.array(["seats"] * count),
            "identity": pa.array(identities, pa.binary(16)),
            "offset": pa.array(range(at, at + count), pa.uint64()),
            "occurred_at": pa.array([1] * count, pa.timestamp("us", tz="UTC")),
        }
    )


def _copy(offset: int) -> pa.RecordBatch:
    copy = {
        "offset": offset, "index": 0, "customer_id": "one", "meter": "seats", "id": "i",
        "identity": _IDENTITIES[0], "occurred_at": 1, "record_time": 5, "owner_partition": 0,
        "owner_offset": 1, "owner_index": 0,
    }  # fmt: skip
    return pa.RecordBatch.from_pylist([copy], schema=DUPLICATE_SCHEMA)

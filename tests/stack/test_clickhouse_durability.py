from __future__ import annotations

import random
import threading
from collections.abc import Callable

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error

from deploy.localstack.stack import LocalStack

Connect = Callable[..., Client]

KILLS = 10
SEED = 20_260_612
ROWS_PER_INSERT = 200


def test_no_acknowledged_insert_is_lost_by_ten_kills(
    fragile_stack: LocalStack, connect: Connect
) -> None:
    source = random.Random(SEED)
    fragile_stack.up(["clickhouse"])
    service = fragile_stack.service("clickhouse")
    with connect(fragile_stack) as client:
        client.command("CREATE TABLE t (batch UInt32, n UInt32) ENGINE = MergeTree ORDER BY batch")
    acknowledged: set[int] = set()
    tried = 0
    for _ in range(KILLS):
        tried = insert_until_killed(
            fragile_stack,
            connect,
            first=tried,
            acknowledged=acknowledged,
            delay_s=source.uniform(0.05, 0.4),
        )
        service.start()
        assert_kept(fragile_stack, connect, acknowledged=acknowledged)
    service.stop()
    service.start()
    assert_kept(fragile_stack, connect, acknowledged=acknowledged)
    assert len(acknowledged) > KILLS * 5


def insert_until_killed(
    stack: LocalStack,
    connect: Connect,
    *,
    first: int,
    acknowledged: set[int],
    delay_s: float,
) -> int:
    """Insert numbered batches until the server dies; the number of the next batch."""
    killer = threading.Timer(delay_s, stack.service("clickhouse").kill)
    batch = first
    with connect(stack, query_retries=0) as client:
        killer.start()
        try:
            while True:
                rows = [[batch, n] for n in range(ROWS_PER_INSERT)]
                batch += 1
                client.insert("t", rows, column_names=["batch", "n"])
                acknowledged.add(batch - 1)
        except Error:
            killer.join()
    return batch


def assert_kept(stack: LocalStack, connect: Connect, *, acknowledged: set[int]) -> None:
    with connect(stack) as client:
        rows = client.query("SELECT batch, count() FROM t GROUP BY batch").result_rows
    complete = {batch for batch, count in rows if count == ROWS_PER_INSERT}
    lost = acknowledged - complete
    assert not lost, f"seed {SEED}: acknowledged and lost: {sorted(lost)}"
    assert len(complete) == len(rows), "a batch may be there or not, never in part"

"""What is absorbed as a copy may be the only occurrence left that can be accepted.

Redis was lost while totals were under way in which the event is a copy of one that was lost with
it; before they landed, a successor claimed for the event anew, and never wrote it.
"""

from random import Random

import pytest
from simulator.adopt_model import SEED, Adopter
from simulator.clickhouse_model import ClickHouseServer, RawRow, TotalsRow
from simulator.clickhouse_reads import SimReads
from simulator.redis_model import RedisServer
from simulator.traffic import CATALOG, HOUR_MS, ONE, START_MS, STREAM, Event, Partition
from simulator.turns import Faults, Turns

from dataflows.dedup import Deduplicator
from dataflows.ledger import Ledger, LedgerPlan

IDENTITY = bytes(range(16))
HOUR = START_MS // HOUR_MS * HOUR_MS // 1000
EVENT = Event(
    1, 0, 0, START_MS, IDENTITY, "c0", "m_sum", "", ONE, START_MS * 1000, "", disregarded=False
)
TOTAL = TotalsRow("c0", "m_sum", "", HOUR, 1, 0, 0, 0, 0, 0, bytes(16), 4)
#: The copy on another partition, which raw history may have instead.
OTHER = RawRow(
    "c0", "m_sum", IDENTITY, "", ONE, START_MS * 1000, "{}", 0, 5, 0, START_MS, 0, False, False,
    True, 0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("was_copy", "is_claimed", "is_in_raw"),
    [(True, True, False), (False, True, False), (True, False, False), (True, True, True)],
)
def test_an_absorbed_copy_is_accepted_if_it_holds_its_identity_and_raw_does_not(
    was_copy: bool, is_claimed: bool, is_in_raw: bool
) -> None:
    turns = Turns(Random(0), Faults({}, {}, 0.0, 1), now_ms=START_MS)
    redis, clickhouse = RedisServer(turns), ClickHouseServer(turns)
    reads = SimReads(turns, clickhouse)
    memory = Adopter(turns, redis, reads, window_ms=4000 * HOUR_MS).adopt()
    dedup = Deduplicator(CATALOG, memory, reads, SEED)
    part = Partition(1)
    part.append([EVENT], EVENT.offset, EVENT.record_ms)
    part.seal()
    part.revealed = 1

    def load() -> LedgerPlan:
        batch = part.read(memory.begin(STREAM, 1), 0, 1)
        assert batch is not None
        return Ledger(CATALOG, reads, units_max=1).load(batch)

    if is_claimed:
        assert dedup.decide(load()).chosen.tolist() == [0]
    clickhouse.tables.totals[TOTAL[:5]] = TOTAL
    if was_copy:
        clickhouse.tables.duplicates[EVENT.coordinate] = IDENTITY
    if is_in_raw:
        clickhouse.tables.raw[("c0", "m_sum", IDENTITY)] = (OTHER, START_MS)

    is_accepted = was_copy and is_claimed and not is_in_raw
    assert dedup.decide(load()).chosen.tolist() == ([0] if is_accepted else [])
    assert any(any(shard.windows.values()) for shard in redis.shards) == is_claimed

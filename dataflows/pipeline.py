"""The live path on one page.

    source   micro-batches of one partition, in offset order, and ticks
    decode   bytes -> columns | rejections                               (pure, beside the flow)
    load     the ledger's units; what is absorbed is marked
    dedup    first, own, duplicate, conflict                             (Redis, beside the flow)
    account  late?, totals, watermark; cut into flushes; the sink writes (ClickHouse, beside it)

Each step is a plain class with its own file and tests; the engine only carries items between
them. There is no keyed exchange: a partition is processed where it is read, in order.
"""

from collections.abc import Callable
from datetime import timedelta

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from dataflows.dedup import Decided
from dataflows.ledger import LedgerPlan
from dataflows.source import UsageSource
from dataflows.worker import Worker
from metering.batch import Tick

#: How often the engine's own clock turns; nothing of ours depends on it.
EPOCH_INTERVAL = timedelta(milliseconds=250)


def build_flow(worker: Worker) -> Dataflow:
    """The dataflow of one worker."""
    flow = Dataflow("meterline")
    source = op.input("source", flow, UsageSource(worker.read))
    decoded = op.flat_map("decode", source, worker.decode)
    planned = op.flat_map("load", decoded, worker.load)
    decided = op.flat_map("dedup", planned, worker.dedup)
    op.output("account", decided, AccountSink(worker.account))
    return flow


Account = Callable[[list[Decided | LedgerPlan | Tick]], object]


class AccountSink(DynamicSink[Decided | LedgerPlan | Tick]):
    """Hands items to the accounting step; it, not the engine, decides what is durable."""

    def __init__(self, account: Account) -> None:
        """`account` takes items in order."""
        self._account = account

    def build(
        self, _step_id: str, _worker_index: int, _worker_count: int
    ) -> StatelessSinkPartition[Decided | LedgerPlan | Tick]:
        """The one partition of this process."""
        return _AccountPartition(self._account)


class _AccountPartition(StatelessSinkPartition[Decided | LedgerPlan | Tick]):
    def __init__(self, account: Account) -> None:
        self._account = account

    def write_batch(self, items: list[Decided | LedgerPlan | Tick]) -> None:
        self._account(items)

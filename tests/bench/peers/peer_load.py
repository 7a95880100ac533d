"""The topic that is read: the bench's preload, with copies on the same and on other partitions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from bench import Bench, Load
from deployment import PARTITIONS
from rich.console import Console

from loadtest.outcome import Total
from loadtest.peers.copies import WithCopies
from loadtest.peers.deviation import Hour, true_hours
from loadtest.preload import Preload, PreloadPlan
from loadtest.produce import produce_chunks
from loadtest.summary import bars

#: Of all events this share is an exact copy of an earlier one, of the same partition.
_DUPLICATES = 0.005


@dataclass(frozen=True)
class PeerLoad:
    """A topic and the truth about it; `load.events` are the messages that stand in it."""

    load: Load
    hours: dict[Hour, Total]

    @property
    def accepted(self) -> int:
        """Distinct events."""
        return self.load.truth.accepted


def fill(bench: Bench, name: str, events: int, *, catalog: str = "") -> PeerLoad:
    """A fresh deployment whose topic holds the first `events` of the load, and their copies."""
    tuning = {
        "METERLINE_DEDUP_EVENTS_MAX": str(max(events, 1000)),
        "METERLINE_CATALOG": catalog or str(bench.unpriced_catalog()),
    }
    deployment = bench.deployment(name, tuning)
    plan = PreloadPlan(
        events=events, customers=bench.sizes.customers, partitions=PARTITIONS,
        duplicates=_DUPLICATES,
    )  # fmt: skip
    made = WithCopies(Preload(bench.seed, plan, datetime.now(UTC)))
    topic = deployment.settings.events_topic
    bench.say(f"filling {topic} with {events:,} events and copies")
    with bars(Console(stderr=True)) as progress:
        task = progress.add_task("produced", total=events)
        delivery = produce_chunks(
            made,
            bootstrap_servers=bench.addresses["KAFKA_BOOTSTRAP_SERVERS"],
            topic=topic,
            on_events=lambda produced: progress.update(task, completed=produced),
        )
    truth = made.outcome()
    load = Load(
        deployment, truth, delivery.events, delivery.bytes, delivery.seconds,
        f"loadtest.peers.copies: {plan}, every {made.every}th again, seed {bench.seed}",
    )  # fmt: skip
    return PeerLoad(load, true_hours(truth))

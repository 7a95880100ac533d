"""Child process: Quix Streams, deduplicating and adding up in its state store.

State is by message key, the customer, and by partition, with changelog topics as they are by
default. Identities are kept with a TTL; the sum of each (meter, hour) is kept beside them. Raw
rows and the new sums go to ClickHouse in the batches of its checkpoints.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
from peer_child import WINDOW_S, Clock, Task, insert_events, with_types
from quixstreams import Application, State
from quixstreams.sinks import BatchingSink, SinkBatch

_WINDOW = timedelta(seconds=WINDOW_S)
_TOTAL_COLUMNS = (
    "customer_id", "meter", "window_start", "partition", "quantity", "events", "version",
)  # fmt: skip


class ClickHouseSink(BatchingSink):  # type: ignore[misc]  # its package is not installed here
    """Writes raw rows, then the newest sum of every (customer, meter, hour) in the batch."""

    def __init__(self, task: Task, clock: Clock) -> None:
        super().__init__()
        self._client = task.connect()
        self._clock = clock

    def write(self, batch: SinkBatch) -> None:
        """One partition's rows since the last checkpoint."""
        insert_events(self._client, [item.value for item in batch])
        newest = {}
        for item in batch:
            event = item.value
            newest[event["customer_id"], event["meter"], event["hour"]] = (
                batch.partition, event["sum"], event["count"], item.offset,
            )  # fmt: skip
        rows = [[*key, *values] for key, values in newest.items()]
        self._client.insert("peer_totals", rows, column_names=_TOTAL_COLUMNS)

    def flush(self) -> None:
        """All partitions."""
        super().flush()
        self._clock.written()


def count(event: dict[str, Any], state: State) -> list[dict[str, Any]]:
    """The event with the sum after it; nothing where its identity is known."""
    identity = ("id", event["meter"], event["id"])
    if state.exists(identity):
        return []
    state.set(identity, 1, ttl=_WINDOW)
    with_types(event)
    event["hour"] = event["occurred_at"].replace(minute=0, second=0, microsecond=0)
    unit = ("sum", event["meter"], int(event["hour"].timestamp()))
    total, events = state.get(unit, ("0", 0))
    event["sum"], event["count"] = Decimal(total) + event["quantity"], events + 1
    state.set(unit, (str(event["sum"]), event["count"]), ttl=_WINDOW)
    event["dimensions"] = orjson.dumps(event["dimensions"]).decode()
    return [event]


def main() -> None:
    """Read to the end."""
    task = Task.of_environment()
    clock = Clock(task.messages)

    def on_message(_topic: str, _partition: int, _offset: int) -> None:
        clock.read(1)
        if not clock.left:
            app.stop()

    app = Application(
        broker_address=task.kafka,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        state_dir=task.folder,
        on_message_processed=on_message,
        loglevel="WARNING",
        consumer_extra_config={"session.timeout.ms": 10_000},
    )
    events = app.topic(task.topic, key_deserializer="str", value_deserializer="json")
    flow = app.dataframe(events)
    flow = flow.apply(count, stateful=True, expand=True)
    flow.sink(ClickHouseSink(task, clock))
    app.run(timeout=Clock.idle_s, collect=False)
    clock.tell()


if __name__ == "__main__":
    main()

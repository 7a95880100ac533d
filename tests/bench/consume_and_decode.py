"""Child process: consume and decode alone. Argument: events. Prints JSON."""

from __future__ import annotations

import json
import sys
import time

from dataflows.assignments import Assignments
from dataflows.kafka_reader import KafkaReader
from dataflows.runner import tune_memory
from dataflows.source import UsageReader
from dataflows.worker import now_ms
from metering.batch import RawBatch, Source
from metering.catalog_load import load_catalog
from metering.decode import Decoder
from metering.settings import load_settings

_STREAM = "decode-alone"
_PATIENCE_S = 240.0


def main() -> None:
    """The same settings as the worker, in a consumer group of its own."""
    events = int(sys.argv[1])
    settings = load_settings(consumer_group=f"decode-alone-{time.time_ns()}")
    decoder = Decoder(load_catalog(settings.catalog), settings)
    assignments = Assignments()
    kafka = KafkaReader(
        settings, _STREAM, assignments,
        lambda stream, partition: (Source(stream, partition, 1), None),
    )  # fmt: skip
    reader = UsageReader(
        kafka, assignments.held, settings.events_topic, events_max=settings.batch_events_max,
        wait_s=settings.batch_wait.total_seconds(), clock_ms=now_ms, is_stopping=lambda: False,
    )  # fmt: skip
    tune_memory()
    sys.stdout.write(json.dumps(_consume(reader, decoder, events)) + "\n")
    kafka.close()


def _consume(reader: UsageReader, decoder: Decoder, events: int) -> dict[str, float]:
    """Time runs from the moment at which the first messages were there."""
    decoded = batches = 0
    asked = began = time.monotonic()
    began_cpu = time.process_time()
    while decoded < events:
        before, before_cpu = time.monotonic(), time.process_time()
        for item in reader.next_batch():
            if not isinstance(item, RawBatch):
                continue
            if not batches:
                began, began_cpu = before, before_cpu
            decoded += len(decoder.decode(item))
            batches += 1
        if time.monotonic() - asked > _PATIENCE_S:
            msg = f"only {decoded} of {events} events within {_PATIENCE_S:.0f} s"
            raise RuntimeError(msg)
    return {
        "events": decoded,
        "batches": batches,
        "seconds": time.monotonic() - began,
        "cpu_s": time.process_time() - began_cpu,
    }


if __name__ == "__main__":
    main()

"""The flow that people write first, beside ours: one event at a time, `SET NX` for each."""

from __future__ import annotations

from bench import Bench
from deployment import Deployment

from loadtest.figures import Section

_SCRIPT = "plain_bytewax.py"


def measure_plain_flow(bench: Bench, section: Section) -> None:
    """Over the first messages of each partition of the same topic."""
    load = bench.main_load()
    events = str(bench.sizes.plain_events)
    bench.say(f"a plain per-event flow over {bench.sizes.plain_events:,} of the same events")
    section.commands.append(load.deployment.shown("python", f"tests/bench/{_SCRIPT}", events))
    found = bench.run_child(_SCRIPT, load.deployment, events)
    rows, distinct = _rows(load.deployment)
    section.add("events", found["events"], "events")
    section.add(
        "events_per_second", found["events"] / found["seconds"], "events/s",
        "from the first event read to the last insert done",
    )  # fmt: skip
    section.add("cpu_process", found["cpu_s"] / found["events"] * 1e6, "us/event")
    if not rows == distinct == found["events"]:
        section.differences.append(f"{found['events']} events, {rows} rows, {distinct} distinct")


def _rows(deployment: Deployment) -> tuple[int, int]:
    with deployment.connect() as client:
        query = "SELECT count(), uniqExact(id) FROM plain_events"
        rows, distinct = client.query(query).result_rows[0]
    return int(rows), int(distinct)

"""The most that reading allows: consume and decode the same topic, and do nothing with it."""

from __future__ import annotations

from bench import Bench

from loadtest.figures import Section

_SCRIPT = "consume_and_decode.py"


def measure_decode_alone(bench: Bench, section: Section) -> None:
    """The worker's own reader, settings and decoder, in a process of its own."""
    load = bench.main_load()
    bench.say(f"consuming and decoding {load.events:,} events, nothing else")
    shown = load.deployment.shown("python", f"tests/bench/{_SCRIPT}", str(load.events))
    section.commands.append(shown)
    found = bench.run_child(_SCRIPT, load.deployment, str(load.events))
    section.add("events", found["events"], "events")
    section.add("events_per_second", found["events"] / found["seconds"], "events/s")
    section.add("cpu_process", found["cpu_s"] / found["events"] * 1e6, "us/event")
    section.add("batches", found["batches"], "", f"of {found['events'] / found['batches']:,.0f}")

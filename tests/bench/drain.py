"""One worker empties a topic that was filled before; what that took, measured from outside."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from bench import Bench, Load
from rich.console import Console
from worker import BenchWorker

from loadtest.figures import Section
from loadtest.processes import CpuReading, memory_bytes, peak_memory_bytes, read_cpu
from loadtest.summary import bars

#: How often the worker is asked: finely until it has read its first event, then more rarely.
_FIRST_POLL_S = 0.05
_POLL_S = 0.2
#: A worker that makes nothing durable for so long is stuck.
_STUCK_S = 60.0
#: The worker refreshes its gauges every 2 seconds.
_GAUGES_S = 2.5
_STAGES = ("source", "decode", "load", "dedup_wait", "account")
_STAGE = 'meterline_stage_seconds_total{{stage="{}"}}'
#: What CPU time is told of, and where it is used.
_CPU_STAGES = {
    "source": "reading, on the dataflow's thread",
    "decode": "on a thread of its own",
    "load": "units of a batch, on the dataflow's thread",
    "dedup_wait": "handing over to the claims",
    "claims": "on a thread of its own",
    "windows": "stored windows that late events need, on a thread of its own",
    "account": "folding, rating, outcomes, on the dataflow's thread",
    "flush": "rows and inserts, on a thread of its own",
}
_CPU_STAGE = 'meterline_stage_cpu_seconds_total{{stage="{}"}}'
_DURABLE = "meterline_flush_events_sum"
_FLUSH_S = "meterline_flush_seconds_sum"
_AHEAD_S = "meterline_ahead_seconds_sum"


@dataclass(frozen=True)
class _Moment:
    """What worker and machine say at one moment."""

    cpu: CpuReading
    samples: dict[str, float]
    memory_bytes: int

    def stage_s(self, stage: str) -> float:
        return self.samples.get(_STAGE.format(stage), 0.0)


@dataclass(frozen=True)
class Drained:
    """`seconds` from the first event read to the last one durable, both borders on the safe side."""

    command: str
    seconds: float
    seconds_with_start: float
    first: _Moment
    last: _Moment
    peak_memory_bytes: int
    units: int


def drain(bench: Bench, load: Load, name: str) -> Drained:
    """Start one worker on an empty deployment, wait until all is durable, and stop it."""
    with BenchWorker(load.deployment, bench.folder / f"worker-{name}.log") as worker:
        pids = {**bench.pids, "worker": worker.pid}
        bench.say(f"one worker reads {load.events:,} events")
        first = _first_event(worker, pids)
        with bench.profiled(name, worker.pid):
            last = _last_durable(worker, pids, load.events)
        time.sleep(_GAUGES_S)
        units = int(worker.metrics().get("meterline_ledger_units", 0))
        memory = peak_memory_bytes(worker.pid)
        worker.stop()
        return Drained(
            command=worker.command,
            seconds=last.cpu.at_s - first.cpu.at_s,
            seconds_with_start=last.cpu.at_s - worker.started_s,
            first=first,
            last=last,
            peak_memory_bytes=memory,
            units=units,
        )


def add_figures(section: Section, drained: Drained, events: int) -> None:
    """Speed, CPU by process, shares of time by stage, memory."""
    section.commands.append(drained.command)
    section.add(
        "events_per_second", events / drained.seconds, "events/s",
        "from the first event read to the last one durable",
    )  # fmt: skip
    section.add(
        "events_per_second_with_start", events / drained.seconds_with_start, "events/s",
        "from the start of the process",
    )  # fmt: skip
    section.add("seconds", drained.seconds, "s")
    section.add("worker_peak_memory", drained.peak_memory_bytes / 2**20, "MiB", "VmHWM")
    section.add(
        "worker_memory_growth", (drained.last.memory_bytes - drained.first.memory_bytes) / 2**20,
        "MiB", f"from {drained.first.memory_bytes / 2**20:,.0f} before the first event to the end",
    )  # fmt: skip
    section.add("ledger_units", drained.units, "units", "(customer, meter, group, period) held")
    used = drained.last.cpu.since(drained.first.cpu)
    spent, cores = sum(used.processes.values()), len(os.sched_getaffinity(0))
    section.add(
        "cpu_all", spent / events * 1e6, "us/event",
        f"worker and our servers; {cores} cores allow {cores * events / spent:,.0f} events/s",
    )  # fmt: skip
    for name, seconds in used.processes.items():
        section.add(f"cpu_{name}", seconds / events * 1e6, "us/event", _cores(seconds, used))
    for name, seconds in used.threads.items():
        section.add(
            f"cpu_worker: {name}", seconds / events * 1e6, "us/event", _cores(seconds, used)
        )
    section.add("cpu_others", used.others / used.at_s, "cores", "programs beside the measurement")
    _add_stage_cpu(section, drained, events, worker_s=used.processes["worker"])
    _add_stages(section, drained)


def _add_stage_cpu(section: Section, drained: Drained, events: int, *, worker_s: float) -> None:
    """What the worker's CPU time was used for, by stage."""
    left = worker_s
    for stage, where in _CPU_STAGES.items():
        name = _CPU_STAGE.format(stage)
        spent = drained.last.samples.get(name, 0.0) - drained.first.samples.get(name, 0.0)
        left -= spent
        section.add(f"cpu stage {stage}", spent / events * 1e6, "us/event", where)
    section.add(
        "cpu stage others", left / events * 1e6, "us/event",
        "of the worker: Kafka client, engine, HTTP, threads of Arrow",
    )  # fmt: skip


def _add_stages(section: Section, drained: Drained) -> None:
    left = 1.0
    for stage in _STAGES:
        spent = drained.last.stage_s(stage) - drained.first.stage_s(stage)
        share = spent / drained.seconds
        left -= share
        section.add(f"stage {stage}", 100 * share, "% of time", "on the dataflow's thread")
    section.add("stage engine", 100 * left, "% of time", "the rest of the dataflow's thread")
    first, last = drained.first.samples, drained.last.samples
    flush = sum(last.get(name, 0.0) - first.get(name, 0.0) for name in (_FLUSH_S, _AHEAD_S))
    section.add("flush", 100 * flush / drained.seconds, "% of time", "beside the dataflow")
    add_flushes(section, last)


def add_flushes(section: Section, samples: dict[str, float]) -> None:
    """How many flushes a worker made since it started, and how long one takes."""
    count = samples.get("meterline_flush_seconds_count", 0.0)
    mean_s = samples.get(_FLUSH_S, 0.0) / max(count, 1)
    section.add("flushes", int(count), "", f"{mean_s:.2f} s each on average")
    ahead = samples.get("meterline_ahead_seconds_count", 0.0)
    mean_s = samples.get(_AHEAD_S, 0.0) / max(ahead, 1)
    section.add("writes ahead", int(ahead), "", f"of rows, {mean_s:.2f} s each on average")


def _cores(seconds: float, used: CpuReading) -> str:
    return f"{seconds / used.at_s:.2f} cores"


def _moment(worker: BenchWorker, pids: dict[str, int], samples: dict[str, float]) -> _Moment:
    return _Moment(read_cpu(pids, worker.pid), samples, memory_bytes(worker.pid))


def _first_event(worker: BenchWorker, pids: dict[str, int]) -> _Moment:
    """The last moment at which no event had been decoded yet."""
    deadline = time.monotonic() + _STUCK_S
    before: _Moment | None = None
    while True:
        moment = _moment(worker, pids, worker.metrics())
        if moment.stage_s("decode") > 0:
            return before or moment
        if moment.samples:
            before = moment
        if time.monotonic() > deadline:
            worker.fail(f"the worker read nothing within {_STUCK_S:.0f} s")
        time.sleep(_FIRST_POLL_S)


def _last_durable(worker: BenchWorker, pids: dict[str, int], events: int) -> _Moment:
    """The first moment at which all events are durable."""
    durable, changed = 0, time.monotonic()
    with bars(Console(stderr=True)) as progress:
        task = progress.add_task("durable", total=events)
        while True:
            samples = worker.metrics()
            found = int(samples.get(_DURABLE, durable))
            if found >= events:
                return _moment(worker, pids, samples)
            if found != durable:
                durable, changed = found, time.monotonic()
                progress.update(task, completed=durable)
            if time.monotonic() - changed > _STUCK_S:
                worker.fail(f"only {durable:,} of {events:,} events became durable")
            time.sleep(_POLL_S)

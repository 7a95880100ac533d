"""From the moment an event had to be sent until a query of the live totals shows it.

Open loop: every event has a send time that was fixed beforehand, and counts from then, however
late the producer or the pipeline is; so a stall shows in every event that it held up.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
from bench import Bench
from deployment import PARTITIONS, Deployment
from drain import add_flushes
from exactness import check_exact
from open_loop import TICK_S, OpenLoop, Probe
from worker import BenchWorker

from loadtest.figures import Section
from loadtest.outcome import Outcome, Total, TotalKey
from loadtest.preload import Preload, PreloadPlan
from loadtest.processes import peak_memory_bytes, read_cpu

_POLL_S = 0.05
_PATIENCE_S = 30.0
_SEEN = "SELECT customer_id FROM live_usage WHERE customer_id IN %(customers)s"


class _Watcher(threading.Thread):
    """Asks every 50 ms which of the probes that are under way are in the totals."""

    def __init__(self, deployment: Deployment, probes: list[Probe]) -> None:
        super().__init__(name="watch", daemon=True)
        self._client = deployment.connect()
        self._probes = probes
        self._give_up_s = probes[-1].due_s + _PATIENCE_S
        self.seen_s: dict[str, float] = {}
        self.polls: list[float] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._watch()
        except BaseException as error:  # noqa: BLE001 - raised by whoever joins
            self.failure = error

    def _watch(self) -> None:
        due = time.monotonic()
        while len(self.seen_s) < len(self._probes) and time.monotonic() < self._give_up_s:
            time.sleep(max(due - time.monotonic(), 0))
            asked = time.monotonic()
            waiting = [
                probe.customer
                for probe in self._probes
                if probe.due_s <= asked and probe.customer not in self.seen_s
            ]
            if waiting:
                rows = self._client.query(_SEEN, parameters={"customers": waiting}).result_rows
                answered = time.monotonic()
                self.seen_s.update((str(customer), answered) for (customer,) in rows)
            self.polls.append(asked)
            due = max(asked + _POLL_S, time.monotonic())
        self._client.close()


def measure_latency(bench: Bench, section: Section) -> None:
    """Percentiles over the probes that were due after the warm-up."""
    sizes = bench.sizes
    deployment = bench.deployment("latency")
    seconds = sizes.latency_warm_up_s + sizes.latency_s
    events = seconds * sizes.latency_rate
    bench.say(f"{sizes.latency_rate:,} events/s for {seconds} s, {events:,} events made before")
    plan = PreloadPlan(events=events, customers=sizes.customers, partitions=PARTITIONS)
    load = Preload(bench.seed, plan, datetime.now(UTC))
    chunks = list(load)
    section.commands.append(f"loadtest.preload: {plan}, seed {bench.seed}, sent open loop")
    with BenchWorker(deployment, bench.folder / "worker-latency.log") as worker:
        section.commands.append(worker.command)
        worker.wait_assigned(PARTITIONS)
        loop = OpenLoop(deployment, chunks, sizes.latency_rate)
        watcher = _Watcher(deployment, loop.probes)
        pids = {**bench.pids, "worker": worker.pid}
        before = read_cpu(pids)
        watcher.start()
        loop.run()
        used = read_cpu(pids).since(before)
        watcher.join()
        if watcher.failure is not None:
            raise watcher.failure
        section.add("worker_peak_memory", peak_memory_bytes(worker.pid) / 2**20, "MiB", "VmHWM")
        add_flushes(section, worker.metrics())
        worker.stop()
    counted = [probe for probe in loop.probes if probe.after_s >= sizes.latency_warm_up_s]
    _add_figures(section, counted, watcher, loop)
    section.add("events", events + len(loop.probes), "events", f"in {seconds} s")
    for name, spent in used.processes.items():
        section.add(f"cpu_{name}", spent / used.at_s, "cores")
    section.add("cpu_others", used.others / used.at_s, "cores", "the producer and other programs")
    check_exact(bench, deployment, _with_probes(load.outcome(), loop.probes), section)


def _add_figures(section: Section, probes: list[Probe], watcher: _Watcher, loop: OpenLoop) -> None:
    seen = watcher.seen_s
    delays = [seen[each.customer] - each.due_s for each in probes if each.customer in seen]
    missing = len(probes) - len(delays)
    if missing:
        section.differences.append(f"{missing} of {len(probes)} probes were not seen in time")
    if delays:
        for name, share in (("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)):
            section.add(name, float(np.percentile(delays, share)), "s", "scheduled send to seen")
    between = np.diff(watcher.polls)
    section.add("probes", len(delays), "", "counted, each a customer of its own")
    section.add(
        "poll_interval", 1000 * float(np.mean(between)), "ms",
        f"the resolution; the longest was {1000 * float(np.max(between)):.0f} ms",
    )  # fmt: skip
    section.add(
        "producer_behind_max", 1000 * loop.behind_s, "ms",
        f"behind its schedule of one send every {1000 * TICK_S:.0f} ms; part of the latency",
    )  # fmt: skip


def _with_probes(truth: Outcome, probes: list[Probe]) -> Outcome:
    totals = dict(truth.totals)
    for probe in probes:
        key = TotalKey(probe.customer, "workflow_runs", "{}", probe.occurred_s // 3600 * 3600)
        totals[key] = Total(Decimal(1), 1)
    return Outcome(accepted=truth.accepted + len(probes), totals=totals)

"""Meterline's row: one worker reads the topic into an empty deployment, and is checked."""

from __future__ import annotations

import time
from dataclasses import replace

from bench import Bench, BenchFailed
from deployment import Deployment
from drain import drain
from exactness import check_charges, check_exact
from peer_load import PeerLoad
from peer_run import KILLED_AT, raw_text
from rated import Priced
from worker import BenchWorker

from loadtest.figures import Section
from loadtest.oracle import settle
from loadtest.peers.deviation import deviation, true_hours
from loadtest.peers.report import Run
from loadtest.prices import expected_charges

_STUCK_S = 120.0
_SETTLED_S = 120.0
_POLL_S = 0.1


def measure_ours(
    bench: Bench, load: PeerLoad, *, number: int, name: str, priced: Priced | None = None
) -> Run:
    """One pass; every count, total and charge is compared, and `verify` must hold.

    Raises `BenchFailed` when anything of it is not exact.
    """
    deployment, truth = load.load.deployment, load.load.truth
    # A flush counts what it holds as accepted, so that is what is waited for.
    drained = drain(bench, replace(load.load, events=load.accepted), name)
    section = Section(name, name)
    deployment.wait_quiet()
    check_exact(bench, deployment, truth, section)
    if priced is not None:
        charges = expected_charges(truth.totals, priced.customers, changed_at=priced.changed_at)
        check_charges(deployment, charges, section)
    _refuse_differences(section)
    used = drained.last.cpu.since(drained.first.cpu)
    found = deployment.observed().outcome()
    messages = load.load.events
    names = {name: "process" if name == "worker" else name for name in used.processes}
    return Run(
        round=number,
        messages=messages,
        seconds=drained.seconds,
        cpu_us={names[name]: cpu / messages * 1e6 for name, cpu in used.processes.items()},
        others_cores=used.others / used.at_s,
        deviation=deviation(load.hours, true_hours(found)),
        raw=raw_text(load.accepted, found.accepted, found.accepted),
        totals_s=_totals_s(deployment),
    )


def measure_ours_killed(bench: Bench, load: PeerLoad) -> str:
    """Kill the worker at each of `KILLED_AT`, start another, and compare at the end."""
    deployment, truth = load.load.deployment, load.load.truth
    for share in KILLED_AT:
        bench.say(f"meterline is killed when {share:.0%} of the rows are there")
        with BenchWorker(deployment, bench.folder / "worker-killed.log") as worker:
            if _waited(deployment, worker, int(load.accepted * share)) >= load.accepted:
                return "not measured: it had ended before it was killed"
    with BenchWorker(deployment, bench.folder / "worker-after.log") as worker:
        settle(deployment.observed(), truth, deadline_s=_SETTLED_S)
        worker.stop()
    section = Section("killed", "killed")
    check_exact(bench, deployment, truth, section)
    _refuse_differences(section)
    found = deployment.observed().outcome()
    told = deviation(load.hours, true_hours(found)).text
    return f"{told}; {raw_text(load.accepted, found.accepted, found.accepted)}"


def _waited(deployment: Deployment, worker: BenchWorker, rows: int) -> int:
    """Wait for so many raw rows; how many there are then."""
    deadline = time.monotonic() + _STUCK_S
    with deployment.connect() as client:
        while True:
            found = int(client.query("SELECT count() FROM usage_events").result_rows[0][0])
            if found >= rows:
                return found
            worker.metrics()  # raises when it has ended
            if time.monotonic() > deadline:
                worker.fail(f"only {found:,} of {rows:,} rows came within {_STUCK_S:.0f} s")
            time.sleep(_POLL_S)


def _totals_s(deployment: Deployment) -> float:
    """How long it takes to read all totals, as people do."""
    with deployment.connect() as client:
        began = time.monotonic()
        client.query(
            "SELECT customer_id, meter, toUnixTimestamp(window_start), toString(sum(quantity)),"
            " sum(events) FROM live_usage GROUP BY customer_id, meter, window_start"
        )
        return time.monotonic() - began


def _refuse_differences(section: Section) -> None:
    if section.differences:
        msg = "Meterline's own numbers are not exact:\n" + "\n".join(section.differences)
        raise BenchFailed(msg)

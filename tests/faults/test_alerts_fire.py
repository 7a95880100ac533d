"""Real Prometheus and Alertmanager beside a real worker: the right alert, soon, and not for long.

Everything that waits, in the rules and in the configurations of this project, is divided by the
same number: two evaluations stay two evaluations.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from alert_watch import SQUEEZE, Prometheus, Webhook
from harness import Deploy, Deployment
from planted_usage import ACTIVE_H, HOUR, hour_of_usage, weeks_of_usage
from worker_process import WorkerProcess, wait_for

from deploy.localstack.alertmanager_service import AlertmanagerService
from deploy.localstack.prometheus_service import PrometheusService
from deploy.localstack.stack import WATCHING_NAMES, LocalStack
from loadtest.meterline import Meterline
from loadtest.topics import create_events_topic

_NORMAL_EVALUATIONS = 8


#: What a steward does often here.
_STEWARD = {
    "METERLINE_HTTP_PORT": "0",
    "METERLINE_STEWARD_CHECKS_EVERY": "PT1S",
    "METERLINE_ALERT_EVERY": "PT1S",
}
_JOBS = {"meterline-worker", "meterline-steward"}
_SPIKING, _SILENT = ("spiking-inc", "workflow_runs"), ("silent-inc", "agent_minutes")


class Watched(NamedTuple):
    """A deployment with a worker and a steward, and who hears of them."""

    deployment: Deployment
    worker: WorkerProcess
    mark: datetime
    prometheus: Prometheus
    webhook: Webhook


@pytest.fixture
def watched(
    deploy: Deploy, fault_stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watched]:
    webhook = Webhook()
    monkeypatch.setattr(PrometheusService, "squeeze", SQUEEZE)
    monkeypatch.setattr(AlertmanagerService, "squeeze", SQUEEZE)
    monkeypatch.setattr(AlertmanagerService, "webhook", webhook.url)
    deployment = deploy(events=4_000, partitions=2, customers=50)
    subscriptions = deployment.catalog / "subscriptions.csv"
    header, _, _ = subscriptions.read_text().partition("\n")
    subscriptions.write_text(f"{header}\n")  # their allowances are small: most would be used up
    service = fault_stack.service("prometheus")
    assert isinstance(service, PrometheusService)
    environment = deployment._environment
    environment["METERLINE_METRICS_TARGETS"] = str(service.targets)
    kafka = environment["KAFKA_BOOTSTRAP_SERVERS"]
    create_events_topic(kafka, f"{deployment.namespace}.usage.alerts", 1)
    worker = deployment.start_worker()
    worker.wait_ready()
    deployment.produce(0.5)
    deployment.wait_drained()
    ((complete_to,),) = deployment.query("SELECT complete_to FROM complete_to")
    mark = complete_to.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
    _send(
        deployment, *weeks_of_usage(*_SPIKING, mark=mark, last_hours=1),
        *weeks_of_usage(*_SILENT, mark=mark, last_hours=0),
    )  # fmt: skip
    _mute(deployment, _SILENT[1])
    log = deployment.folder / "steward.log"
    meterline = Meterline(deployment.folder, {**os.environ, **environment, **_STEWARD})
    steward = meterline.start("steward", log=log)
    _wait_checked(deployment, log)
    fault_stack.up(WATCHING_NAMES)
    yield Watched(deployment, worker, mark, Prometheus(service.own_address()), webhook)
    steward.terminate()
    steward.wait()
    for name in WATCHING_NAMES:
        fault_stack.service(name).stop()
        shutil.rmtree(fault_stack.service(name).folder)
    webhook.close()


def _send(deployment: Deployment, *messages: bytes) -> None:
    """Produce usage, and wait until it is counted."""
    deployment.send([(0, message) for message in messages])
    deployment.wait_drained()


def _wait_checked(deployment: Deployment, log: Path) -> None:
    """The first check works through nine weeks, hour by hour: as long as it takes, if it goes on.

    On a machine that is busy that was longer than anybody's patience.
    """

    def state() -> tuple[int, object]:
        ((is_done,),) = deployment.query("SELECT countIf(step = 'deltas') FROM alert_progress")
        newest = deployment.query(
            "SELECT max(built_at) FROM usage_marks UNION ALL SELECT max(built_at) FROM usage_noise"
        )
        return int(is_done), sorted(str(row) for row in newest)

    def has_moved(before: object) -> bool:
        return state() != before

    while not (before := state())[0]:
        wait_for(f"the first check of alerts to go on; see {log}", partial(has_moved, before))


@pytest.mark.timeout(1500)  # ten minutes where others use the machine's two cores too
def test_each_trouble_is_told_soon_to_whom_it_concerns_and_ends(watched: Watched) -> None:
    """Each fires alone after its cause; they end side by side, since each waits for its group."""
    told: set[str] = set()
    for trouble, names in (
        (_a_normal_time, set()),
        (_spikes_and_silence, {"MeterlineUsageSpike", "MeterlineCustomerSilent"}),
        (_a_total_that_drifts, {"MeterlineTotalsDrift"}),
        (_rejects_that_pile_up, {"MeterlineRejectsPilingUp"}),
        (_a_redis_that_is_stopped, {"MeterlineDependencyDown"}),
    ):
        trouble(watched)
        told |= names
        assert _fired(watched) == told
    watched.webhook.wait("MeterlineRejectsPilingUp", "resolved", receiver="pipeline")
    assert _fired(watched) == told


def _fired(watched: Watched) -> set[str]:
    """What was told of until now.

    No events: rightly told where the machine is slow, since the load pauses meanwhile.
    """
    return watched.webhook.fired() - {"MeterlineNoEvents"}


def _a_normal_time(watched: Watched) -> None:
    watched.deployment.produce(0.8, over_s=10)

    def is_evaluated() -> bool:
        return len(watched.prometheus.evaluations()) >= _NORMAL_EVALUATIONS

    wait_for("some evaluations", is_evaluated)
    wait_for("both to be watched", lambda: watched.prometheus.jobs_up() == _JOBS)
    assert watched.prometheus.firing() - {"MeterlineNoEvents"} == set()


def _spikes_and_silence(watched: Watched) -> None:
    """Usage that came late made a spike, and a customer known by its weeks of history is silent.

    Nobody wanted to hear of its meter until now.
    """
    before = _last(watched)
    # The oldest first: what is there in between is nothing else than silence.
    last_hours = [watched.mark - age * HOUR for age in range(ACTIVE_H, 0, -1)]
    _unmute(watched.deployment, _SILENT[1])
    more = (hour_of_usage(*_SPIKING, hour, events=100, note="-more") for hour in last_hours)
    _send(watched.deployment, *more)
    spike = watched.webhook.wait("MeterlineUsageSpike", "firing", receiver="usage")
    assert spike.labels["customer"] == _SPIKING[0]
    assert "times the workflow_runs that was expected" in spike.summary
    silent = watched.webhook.wait("MeterlineCustomerSilent", "firing", receiver="usage")
    assert silent.labels["customer"] == _SILENT[0]
    for name, kind in (("MeterlineUsageSpike", "spike"), ("MeterlineCustomerSilent", "silence")):
        cause = f'meterline_usage_anomaly_ratio{{kind="{kind}"}}'
        watched.prometheus.assert_fired_soon(name, cause=cause, since=before)
    _send(watched.deployment, *(hour_of_usage(*_SILENT, hour) for hour in last_hours))
    _mute(watched.deployment, _SPIKING[1])


def _mute(deployment: Deployment, meter: str) -> None:
    """Say in the catalog that the meter shall not alert, as an operator does."""
    _edit(deployment, rf"(key: {meter}, .+)}}$", r"\1, alerts: {sensitivity: off}}")


def _unmute(deployment: Deployment, meter: str) -> None:
    _edit(deployment, rf"(key: {meter}, .+), alerts: .+$", r"\1}")


def _edit(deployment: Deployment, pattern: str, text: str) -> None:
    meters = deployment.catalog / "meters.yaml"
    edited, count = re.subn(pattern, text, meters.read_text(), flags=re.MULTILINE)
    assert count == 1
    part = meters.with_suffix(".part")
    part.write_text(edited)
    part.replace(meters)


def _a_total_that_drifts(watched: Watched) -> None:
    watched.deployment.wait_drained()
    before = _last(watched)
    watched.deployment.query(
        "INSERT INTO usage_totals SELECT * REPLACE(quantity + 1 AS quantity) "
        "FROM usage_totals FINAL ORDER BY customer_id, window_start LIMIT 1"
    )
    told = watched.webhook.wait("MeterlineTotalsDrift", "firing", receiver="page")
    assert told.summary == "1 total(s) are not what raw history adds up to"
    watched.webhook.wait("MeterlineTotalsDrift", "firing", receiver="finance")
    watched.prometheus.assert_fired_soon(
        "MeterlineTotalsDrift", cause='meterline_conservation_differences{check="totals"}',
        since=before, above=0,
    )  # fmt: skip
    assert watched.deployment.verify("--repair")[0] == 0


def _rejects_that_pile_up(watched: Watched) -> None:
    """Case 22: somebody is told when rejected events pile up."""
    before = _last(watched)
    watched.deployment.send([(0, b'{"id": "broken"}')] * 300)
    told = watched.webhook.wait("MeterlineRejectsPilingUp", "firing", receiver="pipeline")
    assert "were rejected" in told.summary
    watched.prometheus.assert_fired_soon(
        "MeterlineRejectsPilingUp", cause="meterline:rejected:ratio_rate5m", since=before,
        above=0.01,
    )  # fmt: skip


def _a_redis_that_is_stopped(watched: Watched) -> None:
    """Case 20: the dedup store is away, and says so; what follows from it is kept back."""
    for name, receiver in (  # while a server is away, silence is kept back, also that it ended
        ("MeterlineCustomerSilent", "usage"), ("MeterlineUsageSpike", "usage"),
        ("MeterlineTotalsDrift", "page"),
    ):  # fmt: skip
        watched.webhook.wait(name, "resolved", receiver=receiver)
    before = _last(watched)
    redis = watched.deployment.stack.service("redis")
    redis.kill()
    name = "MeterlineDependencyDown"
    told = watched.webhook.wait(name, "firing", receiver="page")
    assert told.summary == "redis does not answer 1 worker(s); counting waits"
    watched.prometheus.assert_fired_soon(
        name, cause='meterline_dependency_up{dependency="redis"}', since=before, below=1
    )
    redis.start()
    watched.webhook.wait(name, "resolved", receiver="page")
    watched.worker.wait_ready()
    watched.deployment.wait_drained()


def _last(watched: Watched) -> float:
    """Time of the newest evaluation."""
    return watched.prometheus.evaluations()[-1]

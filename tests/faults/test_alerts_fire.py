"""Real Prometheus and Alertmanager beside a real worker: the right alert, soon, and not for long.

Everything that waits, in the rules and in the configurations of this project, is divided by the
same number: two evaluations stay two evaluations.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from alert_watch import Prometheus, Webhook
from harness import Deploy, Deployment
from prometheus_client import start_http_server
from worker_process import WorkerProcess, wait_for

from deploy.localstack.alertmanager_service import AlertmanagerService
from deploy.localstack.prometheus_service import PrometheusService
from deploy.localstack.stack import WATCHING_NAMES, LocalStack
from metering.catalog_load import load_catalog
from metering.metrics import StewardMetrics
from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse
from sinks.conservation.job import conservation_job
from sinks.metrics_target import MetricsTarget

#: 30 s between evaluations become 2.
_SQUEEZE = 15
_NORMAL_EVALUATIONS = 8
#: Pending at the first evaluation that sees it, firing at the second.
_EVALUATIONS_MAX = 2


class Watched(NamedTuple):
    """A deployment with a worker and a steward's metrics, and who hears of it."""

    deployment: Deployment
    worker: WorkerProcess
    steward: StewardMetrics
    settings: Settings
    prometheus: Prometheus
    webhook: Webhook

    def check_totals(self) -> None:
        """One run of the steward's job."""
        client = connect_clickhouse(self.settings)
        catalog = load_catalog(self.settings.catalog)
        conservation_job(client, catalog, metrics=self.steward, clock_s=time.time)()
        client.close()


@pytest.fixture
def watched(
    deploy: Deploy, fault_stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watched]:
    webhook = Webhook()
    monkeypatch.setattr(PrometheusService, "squeeze", _SQUEEZE)
    monkeypatch.setattr(AlertmanagerService, "squeeze", _SQUEEZE)
    monkeypatch.setattr(AlertmanagerService, "webhook", webhook.url)
    deployment = deploy(events=4_000, partitions=2, customers=50)
    service = fault_stack.service("prometheus")
    assert isinstance(service, PrometheusService)
    deployment._environment["METERLINE_METRICS_TARGETS"] = str(service.targets)
    settings = deployment.settings.model_copy(update={"metrics_targets": service.targets})
    worker = deployment.start_worker()
    worker.wait_ready()
    deployment.produce(0.5)
    deployment.wait_drained()
    steward = StewardMetrics()
    server, thread = start_http_server(0, "127.0.0.1", registry=steward.registry)
    target = MetricsTarget(settings, job="meterline-steward", port=server.server_port)
    fault_stack.up(WATCHING_NAMES)
    yield Watched(deployment, worker, steward, settings, Prometheus(service.own_address()), webhook)
    for name in WATCHING_NAMES:
        fault_stack.service(name).stop()
        shutil.rmtree(fault_stack.service(name).folder)
    target.withdraw()
    server.shutdown()
    server.server_close()
    thread.join()
    webhook.close()


def test_each_trouble_is_told_soon_to_whom_it_concerns_and_ends(watched: Watched) -> None:
    _a_normal_time_is_silent(watched)
    _spikes_and_silence(watched)
    _a_total_that_drifts(watched)
    _rejects_that_pile_up(watched)
    _a_redis_that_is_stopped(watched)
    assert watched.webhook.fired() == {
        "MeterlineUsageSpike",
        "MeterlineCustomerSilent",
        "MeterlineTotalsDrift",
        "MeterlineRejectsPilingUp",
        "MeterlineDependencyDown",
    }


def _a_normal_time_is_silent(watched: Watched) -> None:
    watched.check_totals()
    watched.deployment.produce(0.8, over_s=10)

    def is_evaluated() -> bool:
        return len(watched.prometheus.evaluations()) >= _NORMAL_EVALUATIONS

    wait_for("some evaluations", is_evaluated)
    up = watched.prometheus.ask("query", query="up == 1")["result"]
    assert {found["metric"]["job"] for found in up} == {"meterline-worker", "meterline-steward"}
    assert watched.prometheus.firing() == set()
    assert watched.webhook.fired() == set()


def _spikes_and_silence(watched: Watched) -> None:
    before = _last(watched)
    watched.steward.anomaly.replace(
        {("spike", "org_1", "api_requests"): 4, ("silence", "org_2", "api_requests"): 0}
    )
    spike = watched.webhook.wait("MeterlineUsageSpike", "firing", receiver="usage")
    assert spike.summary == "org_1 uses 4 times the api_requests that was expected"
    silent = watched.webhook.wait("MeterlineCustomerSilent", "firing", receiver="usage")
    assert silent.labels["customer"] == "org_2"
    for name in ("MeterlineUsageSpike", "MeterlineCustomerSilent"):
        seen = _first(watched, "meterline_usage_anomaly_ratio", since=before)
        assert watched.prometheus.evaluations_until_firing(name, since=seen) <= _EVALUATIONS_MAX
    watched.steward.anomaly.replace({})
    watched.webhook.wait("MeterlineUsageSpike", "resolved", receiver="usage")
    watched.webhook.wait("MeterlineCustomerSilent", "resolved", receiver="usage")


def _a_total_that_drifts(watched: Watched) -> None:
    watched.deployment.wait_drained()
    before = _last(watched)
    watched.deployment.query(
        "INSERT INTO usage_totals SELECT * REPLACE(quantity + 1 AS quantity) "
        "FROM usage_totals FINAL ORDER BY customer_id, window_start LIMIT 1"
    )
    watched.check_totals()
    told = watched.webhook.wait("MeterlineTotalsDrift", "firing", receiver="page")
    assert told.summary == "1 total(s) are not what raw history adds up to"
    watched.webhook.wait("MeterlineTotalsDrift", "firing", receiver="finance")
    series = 'meterline_conservation_differences{check="totals"}'
    seen = _first(watched, series, since=before, above=0)
    evaluations = watched.prometheus.evaluations_until_firing("MeterlineTotalsDrift", since=seen)
    assert evaluations <= _EVALUATIONS_MAX
    assert watched.deployment.verify("--repair")[0] == 0
    watched.check_totals()
    watched.webhook.wait("MeterlineTotalsDrift", "resolved", receiver="page")


def _rejects_that_pile_up(watched: Watched) -> None:
    """Case 22: somebody is told when rejected events pile up."""
    before = _last(watched)
    watched.deployment.send([(0, b'{"id": "broken"}')] * 300)
    told = watched.webhook.wait("MeterlineRejectsPilingUp", "firing", receiver="pipeline")
    assert "were rejected" in told.summary
    series = "meterline:rejected:ratio_rate5m"
    seen = _first(watched, series, since=before, above=0.01)
    name = "MeterlineRejectsPilingUp"
    assert watched.prometheus.evaluations_until_firing(name, since=seen) <= _EVALUATIONS_MAX
    watched.webhook.wait(name, "resolved", receiver="pipeline")


def _a_redis_that_is_stopped(watched: Watched) -> None:
    """Case 20: the dedup store is away, and says so; what follows from it is kept back."""
    before = _last(watched)
    redis = watched.deployment.stack.service("redis")
    redis.kill()
    told = watched.webhook.wait("MeterlineDependencyDown", "firing", receiver="page")
    assert told.summary == "redis does not answer 1 worker(s); counting waits"
    down = watched.prometheus.samples('meterline_dependency_up{dependency="redis"}')
    seen = min(at for at, value in down if at > before and not value)
    name = "MeterlineDependencyDown"
    evaluations = watched.prometheus.evaluations_until_firing(name, since=seen)
    assert evaluations <= _EVALUATIONS_MAX
    redis.start()
    watched.webhook.wait(name, "resolved", receiver="page")
    watched.worker.wait_ready()
    watched.deployment.wait_drained()


def _last(watched: Watched) -> float:
    """Time of the newest evaluation."""
    return watched.prometheus.evaluations()[-1]


def _first(watched: Watched, series: str, *, since: float, above: float = -1) -> float:
    """Time of the first sample after `since` that is above a value."""
    samples = watched.prometheus.samples(series)
    return min(at for at, value in samples if at > since and value > above)

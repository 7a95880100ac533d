"""Partitions that a worker gets, and workers that get none."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient, NewPartitions
from harness import Deploy, Deployment
from own_events import counted, usage
from worker_process import wait_for


def test_case_04_partitions_without_a_committed_offset_are_read_from_their_start(
    deploy: Deploy,
) -> None:
    deployment = deploy(events=1, partitions=1)
    deployment.send([(0, usage(f"old-{n}", "grown")) for n in range(50)])
    assert deployment.group.committed() == {}
    worker = deployment.start_worker(kafka={"topic.metadata.refresh.interval.ms": 1000})
    worker.wait_ready()

    # New partitions hold events before any worker knows of them.
    _add_partitions(deployment, 3)
    for number in range(10):
        deployment.send([(p, usage(f"new-{number}-{p}", "grown")) for p in (1, 2, 0)])
    wait_for("the new partitions to be held", lambda: worker.held == 3)

    deployment.wait_drained()
    assert counted(deployment, "grown") == 50 + 30
    deployment.assert_verified()


def test_case_19_a_worker_without_a_partition_is_not_ready_and_soon_not_healthy(
    deploy: Deploy,
) -> None:
    deployment = deploy(events=2_000, partitions=1)
    busy = deployment.start_worker()
    deployment.wait_shared(busy)
    spare = deployment.start_worker(unassigned_s=4)
    wait_for("the spare to join", lambda: "no partition assigned yet" in spare.page("/readyz").text)

    assert spare.page("/readyz").status == 503
    assert spare.page("/healthz").status == 200
    wait_for("the spare to be unhealthy", lambda: spare.page("/healthz").status == 503)
    assert "no partition assigned for" in spare.page("/healthz").text
    assert busy.page("/healthz").status == busy.page("/readyz").status == 200
    # What the alert asks: one partition, two workers, so a spare that has none wakes nobody.
    wait_for("its topic to be known", lambda: spare.metric("meterline_topic_partitions") == 1)
    assert spare.metric("meterline_unassigned_seconds") > 4
    assert busy.metric("meterline_unassigned_seconds") == 0

    busy.stop()
    spare.wait_ready()
    assert spare.page("/healthz").status == 200
    deployment.produce()
    deployment.assert_exact()


def _add_partitions(deployment: Deployment, total: int) -> None:
    admin = AdminClient({"bootstrap.servers": deployment.addresses["KAFKA_BOOTSTRAP_SERVERS"]})
    wanted = [NewPartitions(deployment.topic, total)]
    admin.create_partitions(wanted)[deployment.topic].result()
    wait_for("the partitions to be there", lambda: len(deployment.group.ends()) == total)

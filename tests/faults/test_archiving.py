"""The process that archives, while things go wrong around it; and what a rebuild goes on with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from archived import Archived
from harness import Deploy
from own_events import usage
from worker_process import wait_for

from loadtest.clickhouse import database_of

_SOON = {"METERLINE_ARCHIVE_FILE_WAIT": "PT0.5S", "METERLINE_KAFKA_PROPERTIES": ""}


@pytest.fixture
def archived(deploy: Deploy, tmp_path: Path) -> Iterator[Archived]:
    """A deployment whose load is not produced yet, and its archive."""
    deployment = deploy(events=4_000, customers=80)
    kafka = json.dumps({"session.timeout.ms": 3000, "heartbeat.interval.ms": 500})
    environment = {**_SOON, "METERLINE_KAFKA_PROPERTIES": kafka}
    found = Archived(deployment, str(tmp_path / "archive"), environment)
    yield found
    found.close()


def test_a_lost_database_is_rebuilt_and_the_worker_goes_on_where_the_archive_ends(
    archived: Archived,
) -> None:
    deployment = archived.deployment
    deployment.produce(0.6)
    worker = deployment.start_worker()
    deployment.wait_drained()
    worker.stop()
    archived.archive()
    deployment.query(f"DROP DATABASE {database_of(deployment.namespace)}")

    assert archived.ask("rebuild")["accepted"] > 1_000
    deployment.produce()
    deployment.start_worker()
    deployment.assert_exact()


def test_archivers_that_are_killed_lose_and_double_nothing(archived: Archived) -> None:
    deployment = archived.deployment
    first, second = archived.start(), archived.start()
    with deployment.producing(over_s=6):
        first.wait_ready()
        second.wait_ready()
        first.kill()
        third = archived.start()
        third.wait_ready()
        second.suspend()
    archived.wait_archived()
    second.resume()
    archived.wait_archived()
    for process in (second, third):
        process.wait_ready()
        process.stop()
    left_over = {"file_unlisted"}  # of the one that stood still: nobody reads it
    assert set(archived.findings()) <= left_over
    deployment.start_worker()
    deployment.assert_exact()
    namespace = archived.into(1)
    archived.archive()
    archived.environment["METERLINE_DEDUP_WINDOW"] = "PT1S"  # over several generations
    archived.rebuild(namespace)
    archived.assert_equal(namespace)
    archived.assert_verified(namespace)


def test_while_kafka_or_the_archive_is_away_it_waits_says_so_and_goes_on(
    archived: Archived,
) -> None:
    deployment = archived.deployment
    deployment.produce(0.3)
    targets = Path(f"{archived.uri}.targets")
    archived.environment["METERLINE_METRICS_TARGETS"] = str(targets)
    process = archived.start()
    process.wait_ready()
    archived.wait_archived()
    (announced,) = targets.glob("meterline-archive-*.json")
    assert '"job": "meterline-archive"' in announced.read_text()
    assert "meterline_flowing" not in process.page("/metrics").text  # no worker, for its alerts

    root, aside = Path(archived.uri), Path(f"{archived.uri}.aside")
    root.rename(aside)
    root.write_text("no folder")
    deployment.produce(0.6)
    process.wait_says("Archive")
    assert process.page("/readyz").status == 503
    assert process.metric('meterline_archive_dependency_up{dependency="archive"}') == 0
    root.unlink()
    aside.rename(root)
    process.wait_ready()
    archived.wait_archived()

    kafka = deployment.stack.service("kafka")
    kafka.kill()
    wait_for("a red page", lambda: "Kafka does not answer" in process.page("/readyz").text)
    kafka.start()
    deployment.produce()
    process.wait_ready()
    archived.wait_archived()
    process.stop()
    archived.archive()
    assert archived.findings() == []


def test_what_the_log_lost_before_it_was_archived_is_never_passed_over_silently(
    archived: Archived,
) -> None:
    deployment = archived.deployment
    deployment.produce(0.5)
    archived.archive()
    end = archived.ends[0]
    deployment.produce()
    deployment.group.cut_log(0, end + 20)

    assert archived.findings() == ["lost_before_archived"]
    stopped = archived.run("archive", "run", "--once")
    assert stopped.returncode == 2
    assert "20 offsets were never archived" in stopped.stderr
    gap = f"{deployment.topic}[0]={end + 20}"
    assert gap in stopped.stderr
    archived.ask("archive", "run", "--once", "--accept-gap", gap)
    assert archived.findings() == []
    namespace = archived.into(1)
    archived.rebuild(namespace)
    lost = archived.rows(
        "SELECT first_offset, next_offset, reason FROM {db}.offset_gaps", namespace
    )
    assert (end, end + 20, "lost") in [tuple(row) for row in lost]
    archived.assert_verified(namespace)


def test_rows_of_a_backfill_are_archived_and_rebuilt(archived: Archived, tmp_path: Path) -> None:
    path = tmp_path / "october.ndjson"
    lines = [usage(f"old-{n}", "customer-1", quantity="1.5") for n in range(300)]
    path.write_bytes(b"\n\n".join(lines) + b"\n{broken\n")
    archived.ask("backfill", str(path))
    before = archived.ask("archive", "list")
    archived.ask("backfill", str(path))
    assert archived.ask("archive", "list") == before
    assert [(row["kind"], row["rows"]) for row in before] == [("backfill", 301)]

    namespace = archived.into(1)
    assert archived.rebuild(namespace)["rejected"] == 1
    for sql in (
        "SELECT * EXCEPT ingested_at FROM {db}.usage_events FINAL ORDER BY ALL",
        "SELECT * EXCEPT complete_to FROM {db}.live_usage ORDER BY ALL",
        "SELECT * FROM {db}.streams FINAL WHERE stream != 'rebuild' ORDER BY ALL",
    ):
        assert archived.rows(sql)
        assert archived.rows(sql, namespace) == archived.rows(sql)
    archived.assert_verified(namespace)

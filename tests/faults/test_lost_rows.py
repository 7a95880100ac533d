"""ClickHouse is set back, or emptied, while a worker runs on and is not told."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness import Deploy
from worker_process import wait_for

from deploy.localstack.service import Service
from sinks.migrate import migrate

_PATIENT = {"session.timeout.ms": 120_000}
_TOLD = "meterline_rows_lost_timestamp_seconds"


def _back_up(clickhouse: Service, backup: Path) -> None:
    clickhouse.stop()
    shutil.copytree(clickhouse.folder, backup, symlinks=True)
    clickhouse.start()


def _set_back(clickhouse: Service, backup: Path) -> None:
    clickhouse.stop()
    shutil.rmtree(clickhouse.folder)
    shutil.copytree(backup, clickhouse.folder, symlinks=True)
    clickhouse.start()


def test_a_worker_notices_that_clickhouse_was_set_back_to_a_backup(
    deploy: Deploy, tmp_path: Path
) -> None:
    deployment = deploy(events=12_000)
    clickhouse, backup = deployment.stack.service("clickhouse"), tmp_path / "backup"
    worker = deployment.start_worker()
    deployment.produce(0.3)
    deployment.wait_drained()
    worker.stop()
    _back_up(clickhouse, backup)
    backed_up = deployment.durable()

    # It stands still between two requests, so that it misses nothing but its rows; its group waits.
    worker = deployment.start_worker(freeze_before="flush:3", kafka=_PATIENT)
    deployment.produce(0.7)
    worker.wait_frozen()
    assert deployment.durable() != backed_up
    _set_back(clickhouse, backup)
    assert deployment.durable() == backed_up
    worker.resume()

    worker.wait_says("RowsLost: ClickHouse lost rows that this worker wrote")
    assert worker.metric(_TOLD) > 0
    deployment.produce()
    deployment.assert_exact()
    assert worker.is_running


def test_a_worker_that_begins_on_a_clickhouse_that_was_set_back_says_so(
    deploy: Deploy, tmp_path: Path
) -> None:
    deployment = deploy(events=6_000)
    clickhouse, backup = deployment.stack.service("clickhouse"), tmp_path / "backup"
    worker = deployment.start_worker()
    deployment.produce(0.4)
    deployment.wait_drained()
    worker.stop()
    _back_up(clickhouse, backup)

    worker = deployment.start_worker()
    deployment.produce()
    deployment.wait_drained()
    assert worker.metric(_TOLD) == 0
    worker.stop()
    _set_back(clickhouse, backup)

    worker = deployment.start_worker()
    worker.wait_says("ClickHouse lost rows that it had acknowledged")
    deployment.assert_exact()
    wait_for("the metric", lambda: worker.metric(_TOLD) > 0)


def test_a_worker_waits_for_the_tables_of_a_clickhouse_that_was_emptied(deploy: Deploy) -> None:
    deployment = deploy(events=8_000)
    worker = deployment.start_worker(freeze_before="flush:4")
    deployment.produce(0.6)
    worker.wait_frozen()
    deployment.stack.service("clickhouse").wipe()
    worker.resume()

    worker.wait_red("ClickHouse lacks what `meterline migrate` creates")
    assert worker.page("/healthz").status == 200
    migrate(deployment.settings)
    deployment.produce()
    deployment.assert_exact()
    assert worker.is_running

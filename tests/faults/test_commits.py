"""Offsets are committed only for what is durable, per partition and never past a gap."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from time import sleep

from clickhouse_connect.driver.exceptions import ClickHouseError
from harness import Deploy, Deployment

_DURABLE = """
SELECT partition, uniqExact(offset) FROM
(
    SELECT partition, offset FROM usage_events
    UNION ALL SELECT partition, offset FROM duplicate_events
    UNION ALL SELECT partition, offset FROM rejected_events
    UNION ALL SELECT partition, offset FROM suppressed_events
)
WHERE offset < mapFromArrays(%(partitions)s, %(offsets)s)[partition]
GROUP BY partition
"""


def test_case_05_the_commit_of_the_next_batch_does_not_skip_one_that_failed(
    deploy: Deploy,
) -> None:
    deployment = deploy(events=10_000)
    planted = (
        "usage_events:before:2", "usage_totals:after:4", "usage_totals:before:6", "commit:before:8",
    )  # fmt: skip
    worker = deployment.start_worker(fail=" ".join(planted))
    worker.wait_ready()

    with _watching(deployment) as readings, deployment.producing(over_s=5):
        pass
    deployment.assert_exact()
    assert [place for place in planted if place not in worker.text] == []
    assert len(readings) > 3


def test_case_21_no_offset_is_committed_before_its_rows_are_durable(
    deploy: Deploy, seed: int
) -> None:
    random = Random(seed)
    deployment = deploy(events=20_000)
    alive = [deployment.start_worker(), deployment.start_worker()]
    deployment.wait_shared(*alive)

    with _watching(deployment) as readings, deployment.producing(over_s=6):
        sleep(random.uniform(1, 2))
        alive.pop(random.randrange(2)).kill()
        deployment.start_worker()
        sleep(random.uniform(1, 2))
        deployment.stack.service("clickhouse").kill()
        deployment.stack.service("clickhouse").start()

    deployment.assert_exact()
    assert len(readings) > 3
    assert any(sum(reading.values()) > 0 for reading in readings)


def test_case_15_the_live_view_is_exact_before_any_background_merge(deploy: Deploy) -> None:
    deployment = deploy(events=6_000)
    for table in ("usage_events", "usage_totals", "duplicate_events", "rejected_events"):
        deployment.query(f"SYSTEM STOP MERGES {table}")
    deployment.produce()
    deployment.start_worker(kill_before="3:4").wait_killed()
    deployment.start_worker()

    deployment.assert_exact()
    for table in ("usage_events", "usage_totals"):
        rows = deployment.query(f"SELECT count(), (SELECT count() FROM {table} FINAL) FROM {table}")
        stored, distinct = rows[0]
        assert stored > distinct, f"{table} was merged, so this test saw nothing"


@contextmanager
def _watching(deployment: Deployment) -> Iterator[list[dict[int, int]]]:
    """Compare commits with rows over and over, beside what is done in the context."""
    readings: list[dict[int, int]] = []
    gaps: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            committed = deployment.group.committed()  # first: rows may only grow meanwhile
            try:
                durable = _durable_before(deployment, committed)
                marks = deployment.durable()
            except (ClickHouseError, OSError):
                continue  # it was killed
            readings.append(committed)
            gaps.extend(
                f"partition {p}: {offset} committed, {durable.get(p, 0)} durable, marked "
                f"{marks.get(p, 0)}"
                for p, offset in committed.items()
                if offset > min(durable.get(p, 0), marks.get(p, 0))
            )

    thread = threading.Thread(target=watch, name="watching")
    thread.start()
    try:
        yield readings
    finally:
        done.set()
        thread.join()
    assert not gaps, gaps[:5]


def _durable_before(deployment: Deployment, committed: dict[int, int]) -> dict[int, int]:
    """How many of the offsets below the committed one hold a row, by partition."""
    if not committed:
        return {}
    partitions, offsets = zip(*committed.items(), strict=True)
    rows = deployment.query(_DURABLE, partitions=list(partitions), offsets=list(offsets))
    return {int(partition): int(count) for partition, count in rows}

"""The archive holds the log: from it an empty ClickHouse is filled with the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archived import Archived
from harness import Deploy

from metering.errors import PermanentError
from sinks.clickhouse import connect_clickhouse
from sinks.progress import Progress


@pytest.fixture
def counted(deploy: Deploy, tmp_path: Path) -> Iterator[Archived]:
    """A seeded load that one worker counted and ended; nothing is archived yet."""
    deployment = deploy(events=4_000, customers=80)
    deployment.produce()
    worker = deployment.start_worker()
    deployment.assert_exact()
    worker.stop()
    found = Archived(deployment, str(tmp_path / "archive"))
    yield found
    found.close()


def test_what_is_rebuilt_from_the_archive_is_what_was_there(counted: Archived) -> None:
    written = counted.archive()
    assert len(written) > 8
    assert counted.archive() == []
    assert counted.findings() == []

    namespace = counted.into(1)
    done = counted.rebuild(namespace)
    assert done["accepted"] > 2_000
    counted.assert_equal(namespace)
    counted.assert_verified(namespace)
    assert counted.rebuild(namespace)["done_before"]
    counted.assert_equal(namespace)


def test_an_archiver_killed_before_every_step_archives_everything_once(
    counted: Archived,
) -> None:
    for death in ("1:2", "2:1", "3:2", "2:2"):
        counted.killed("archive", "run", "--once", hurt=f"archive:{death}")
    assert counted.findings() == []
    counted.archive()
    assert counted.findings() == []
    assert counted.ends == counted.deployment.group.ends()


def test_a_rebuild_killed_at_every_write_comes_to_the_same(counted: Archived) -> None:
    counted.archive()
    namespace = counted.into(1)
    deaths = ("mark:1", "1:1", "2:1", "1:2", "3:1", "2:2", "4:1", "3:2", "mark:1")
    for death in deaths:
        counted.killed("rebuild", "--into", namespace, hurt=f"rebuild:{death}")
        if death == "1:2":
            settings = counted.deployment.settings.model_copy(update={"namespace": namespace})
            client = connect_clickhouse(settings)
            with pytest.raises(PermanentError, match="being rebuilt"):
                Progress(client).live_stream(settings.events_topic, "any")
            client.close()
    counted.rebuild(namespace)
    counted.assert_equal(namespace)
    counted.assert_verified(namespace)


def test_a_database_that_is_not_empty_is_not_rebuilt_into(counted: Archived) -> None:
    counted.archive()
    before = counted.rows("SELECT count() FROM {db}.usage_totals")
    done = counted.run("rebuild")
    assert done.returncode == 2
    assert "expected an empty one" in done.stderr
    assert counted.rows("SELECT count() FROM {db}.usage_totals") == before
    namespace = counted.into(1)
    assert counted.rebuild(namespace, "--until", "2020-01-01T00:00:00Z")["accepted"] == 0
    other = counted.run("rebuild", "--into", namespace)
    assert other.returncode == 2
    assert "expected to go on rebuilding" in other.stderr

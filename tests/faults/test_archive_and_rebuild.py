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
def produced(deploy: Deploy, tmp_path: Path) -> Iterator[Archived]:
    """A seeded load that nobody counted; nothing is archived yet."""
    found = Archived(deploy(events=3_000, customers=60), str(tmp_path / "archive"))
    found.deployment.produce()
    yield found
    found.close()


@pytest.fixture
def counted(produced: Archived) -> Archived:
    """The same, counted by one worker that ended."""
    worker = produced.deployment.start_worker()
    produced.deployment.assert_exact()
    worker.stop()
    return produced


def test_what_is_rebuilt_from_the_archive_is_what_was_there(counted: Archived) -> None:
    for death in ("1:2", "2:1", "3:2"):
        counted.killed("archive", "run", "--once", hurt=f"archive:{death}")
    assert counted.findings() == []
    assert len(counted.archive()) > 3
    assert counted.archive() == []
    assert counted.findings() == []
    assert counted.ends == counted.deployment.group.ends()

    namespace = counted.into(1)
    done = counted.rebuild(namespace)
    assert done["accepted"] > 2_000
    counted.assert_equal(namespace)
    counted.assert_verified(namespace)
    assert counted.rebuild(namespace)["done_before"]
    counted.assert_equal(namespace)


def test_a_rebuild_killed_at_every_write_comes_to_the_same(counted: Archived) -> None:
    counted.archive()
    namespace = counted.into(1)
    for death in ("mark:1", "1:1", "2:1", "1:2", "3:1", "4:1", "mark:1"):
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


def test_a_database_that_is_not_empty_is_not_rebuilt_into(produced: Archived) -> None:
    produced.archive()
    produced.rows("INSERT INTO {db}.usage_totals (customer_id, events) VALUES ('one', 1)")
    done = produced.run("rebuild")
    assert done.returncode == 2
    assert "expected an empty one" in done.stderr
    assert produced.rows("SELECT count() FROM {db}.usage_totals") == [(1,)]
    namespace = produced.into(1)
    assert produced.rebuild(namespace, "--until", "2020-01-01T00:00:00Z")["accepted"] == 0
    other = produced.run("rebuild", "--into", namespace)
    assert other.returncode == 2
    assert "expected to go on rebuilding" in other.stderr

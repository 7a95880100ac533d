"""An archive of a deployment and databases rebuilt from it, as an operator does it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import Deployment
from worker_process import WorkerProcess, wait_for

from loadtest.clickhouse import ClickHouse, database_of

_HURT = Path(__file__).with_name("hurt_archive.py")
_REPOSITORY = Path(__file__).resolve().parents[2]
_PATIENCE_S = 240

#: What has to be equal after a rebuild, row by row.
EQUAL = {
    "live_usage": (
        "SELECT customer_id, meter, `group`, window_start, toString(quantity), events, late_events,"
        " first_occurred_at, last_occurred_at FROM {db}.live_usage ORDER BY ALL"
    ),
    "period_charges": "SELECT * EXCEPT (complete_to) FROM {db}.period_charges ORDER BY ALL",
    "raw history": (
        "SELECT customer_id, meter, identity, `group`, id, subject, toString(quantity),"
        " occurred_at, dimensions, source, batch_id, schema_version, disregarded, part_start,"
        " period_start, digest FROM {db}.usage_events FINAL ORDER BY ALL"
    ),
    "rejected events": (
        "SELECT stream, partition, offset, `index`, code, hex(event), id, customer_id, meter,"
        " record_time FROM {db}.rejected_events FINAL"
        " WHERE code != 'identity_must_not_repeat_with_other_payload' ORDER BY ALL"
    ),
    "conflicts": (
        "SELECT stream, partition, offset, `index`, hex(event) FROM {db}.rejected_events FINAL"
        " WHERE code = 'identity_must_not_repeat_with_other_payload' ORDER BY ALL"
    ),
    "suppressed events": "SELECT * FROM {db}.suppressed_events FINAL ORDER BY ALL",
    "accepted or duplicate": (
        "SELECT * FROM (SELECT stream, partition, offset, `index` FROM {db}.usage_events FINAL"
        " UNION DISTINCT SELECT stream, partition, offset, `index` FROM {db}.duplicate_events"
        " FINAL) ORDER BY ALL"
    ),
    "number of duplicates": "SELECT count() FROM {db}.duplicate_events FINAL",
    "durable": (
        "SELECT stream, partition, min(first_offset), max(next_offset) FROM {db}.watermarks"
        " GROUP BY stream, partition ORDER BY ALL"
    ),
}
#: Where a copy is on another partition, the original may have kept either of them.
_OWNED = (
    "SELECT stream, partition, offset, `index`, record_time, late, counted, toString(quantity),"
    " toString(cumulative_before), toString(included), toString(overage), toString(charge), card,"
    " price_version, catalog FROM {db}.usage_events FINAL"
    " WHERE (customer_id, meter) NOT IN (SELECT customer_id, meter FROM {db}.duplicate_events AS d"
    " WHERE toInt64(d.owner_partition) != toInt64(d.partition)) ORDER BY ALL"
)


class ArchiverProcess(WorkerProcess):
    """`meterline archive run` as a process of its own."""

    def __init__(
        self, log: Path, environment: Mapping[str, str], *, arguments: Sequence[str]
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(_HURT), "archive", "run", *arguments], env=dict(environment),
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip


class Archived:
    """The archive of one deployment, at `uri`."""

    def __init__(
        self, deployment: Deployment, uri: str, environment: dict[str, str] | None = None
    ) -> None:
        self.deployment = deployment
        self.uri = uri
        self.environment = {
            **os.environ, **deployment._environment, "METERLINE_ARCHIVE": uri,
            "PYTHONPATH": str(_REPOSITORY), "METERLINE_ARCHIVE_FILE_BYTES_MAX": "60000",
            **(environment or {}),
        }  # fmt: skip
        self.restored: list[str] = []
        self._processes: list[ArchiverProcess] = []

    def run(
        self, *arguments: str, hurt: str = "", namespace: str = ""
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run `meterline` with a fault planted, to its end."""
        own = {"METERLINE_NAMESPACE": namespace} if namespace else {}
        return subprocess.run(
            [sys.executable, str(_HURT), *arguments], capture_output=True, text=True, check=False,
            env={**self.environment, "FAULT_KILL": hurt, **own}, timeout=_PATIENCE_S,
        )  # fmt: skip

    def ask(self, *arguments: str, code: int = 0) -> Any:
        """What a command says with `--json`."""
        done = self.run(*arguments, "--json")
        assert done.returncode == code, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def killed(self, *arguments: str, hurt: str) -> None:
        """Run a command that has to kill itself."""
        done = self.run(*arguments, hurt=hurt)
        assert done.returncode == -signal.SIGKILL, f"{done.returncode}: {done.stderr}"

    def start(self, *arguments: str) -> ArchiverProcess:
        """`meterline archive run` beside the test; ended at its end if it still runs."""
        log = self.deployment.folder / f"archiver-{len(self._processes) + 1}.log"
        self._processes.append(ArchiverProcess(log, self.environment, arguments=arguments))
        return self._processes[-1]

    @property
    def ends(self) -> dict[int, int]:
        """Where the archive of each partition of the events topic ends."""
        topic = self.deployment.topic
        rows = self.ask("archive", "list")
        return {row["partition"]: row["next_offset"] for row in rows if row["topic"] == topic}

    def wait_archived(self) -> None:
        """Wait until all that the events topic holds is archived."""
        ends = self.deployment.group.ends()
        wait_for("the log to be archived", lambda: self.ends == ends)

    def archive(self) -> list[dict[str, Any]]:
        """Archive what the log holds; the files that were written."""
        found: list[dict[str, Any]] = self.ask("archive", "run", "--once")
        return found

    def findings(self, *, offline: bool = False) -> list[str]:
        """Kinds of what `archive verify` finds."""
        arguments = ["--offline"] if offline else []
        done = self.run("archive", "verify", *arguments, "--json")
        found = json.loads(done.stdout)
        assert (done.returncode == 0) == found["holds"] == (not found["findings"])
        return sorted(each["kind"] for each in found["findings"])

    def into(self, number: int) -> str:
        """A namespace to rebuild into, dropped in the end."""
        name = f"{self.deployment.namespace}_{number}"
        self.restored.append(name)
        return name

    def rebuild(self, namespace: str, *arguments: str) -> Any:
        """Rebuild into a namespace; what the command says."""
        return self.ask("rebuild", "--into", namespace, *arguments)

    def rows(self, sql: str, namespace: str = "") -> Sequence[Sequence[Any]]:
        """Rows of a query with `{db}`, of a rebuilt database or of the original."""
        db = database_of(namespace or self.deployment.namespace)
        return self.deployment.query(sql.format(db=db))

    def assert_equal(self, namespace: str) -> None:
        """Everything that is public of the rebuilt database is what it is in the original."""
        for what, sql in EQUAL.items():
            _same(what, self.rows(sql), got=self.rows(sql, namespace))
        original, rebuilt = set(self.rows(_OWNED)), set(self.rows(_OWNED, namespace))
        assert original, "nothing is compared"
        both = original & rebuilt
        assert len(both) > len(original) * 0.9, "rows with their coordinates differ"
        url = self.deployment.addresses["CLICKHOUSE_URL"]
        outcome = ClickHouse(url, database_of(namespace)).outcome()
        expected = ClickHouse(url, database_of(self.deployment.namespace)).outcome()
        assert outcome == expected

    def assert_verified(self, namespace: str) -> None:
        """`meterline verify` holds of a rebuilt database."""
        done = self.run("verify", "--json", namespace=namespace)
        assert json.loads(done.stdout)["holds"], done.stdout[:4000]

    def close(self) -> None:
        """End what still runs; drop what was rebuilt."""
        for process in self._processes:
            if process.is_running:
                process.kill()
        for namespace in set(self.restored):
            self.deployment.query(f"DROP DATABASE IF EXISTS {database_of(namespace)}")


def _same(what: str, expected: Sequence[Any], *, got: Sequence[Any]) -> None:
    assert expected, f"{what}: nothing is compared"
    differing = [pair for pair in zip(expected, got, strict=False) if pair[0] != pair[1]]
    assert (len(expected), differing[:3]) == (len(got), []), what

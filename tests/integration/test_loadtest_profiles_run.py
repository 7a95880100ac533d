"""Every profile of `python -m loadtest run`, against a deployment that others made and run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import clickhouse_connect
import pytest

from deploy.localstack.stack import LocalStack
from loadtest.catalog import copy_meters
from loadtest.clickhouse import database_of
from loadtest.deployment import new_namespace
from loadtest.load.profiles import PROFILES
from loadtest.meterline import Meterline
from loadtest.servers import ADDRESSES
from loadtest.topics import workers_group
from loadtest.workers import Workers, await_assignment

_REPOSITORY = Path(__file__).resolve().parents[2]
_PARTITIONS = 4
#: Events a second, and seconds: bursts come in the ninth and tenth.
_SHORT, _WITH_A_BURST = (800, 4), (400, 10)
#: Customers of a run have names that begin with when it was: the last one is the greatest.
_OF_THE_RUN = (
    "FROM usage_events FINAL WHERE startsWith(customer_id,"
    " (SELECT max(substring(customer_id, 1, 12)) FROM usage_events))"
)
_OF_ONE_CUSTOMER = "arrayMax(sumMap([customer_id], [toUInt64(1)]).2) / count()"
#: What makes a profile what it is, as raw history tells it, and what it comes to at least.
_MARKS = {
    "skewed": (_OF_ONE_CUSTOMER, 0.1),
    "late-heavy": ("countIf(late) / count()", 0.25),
    "wide-dimensions": ("uniqExact(`group`)", 300),
    "many-small-customers": ("uniqExact(customer_id) / count()", 0.98),
    "one-giant-customer": (_OF_ONE_CUSTOMER, 0.55),
}
#: The same of what the closing line counts, as a share of all events.
_COUNTED = {"duplicate-heavy": ("duplicates", 0.25), "malformed-heavy": ("rejected", 0.25)}


@dataclass(frozen=True)
class _Theirs:
    """A deployment with one worker, of which a load knows addresses and namespace."""

    meterline: Meterline
    workers: Workers

    @property
    def options(self) -> list[str]:
        """How a user names it; there is no Redis among them."""
        given = self.meterline.environment
        return [
            "--kafka", given["KAFKA_BOOTSTRAP_SERVERS"], "--clickhouse", given["CLICKHOUSE_URL"],
            "--namespace", given["METERLINE_NAMESPACE"],
        ]  # fmt: skip

    def asked(self, what: str) -> float:
        """One number about the accepted events of the last run."""
        given = self.meterline.environment
        client = clickhouse_connect.get_client(
            dsn=given["CLICKHOUSE_URL"], database=database_of(given["METERLINE_NAMESPACE"]),
            autogenerate_session_id=False,
        )  # fmt: skip
        with client:
            return float(client.query(f"SELECT {what} {_OF_THE_RUN}").result_rows[0][0])


@pytest.fixture(scope="module")
def theirs(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Theirs]:
    """Made by `meterline migrate`, read by `meterline run`.

    That has to end in order, and all that the loads left has to hold by `meterline verify`.
    """
    folder = tmp_path_factory.mktemp("theirs")
    catalog, namespace = folder / "catalog", new_namespace("theirs")
    copy_meters(catalog)
    meterline = Meterline(
        folder,
        {
            **stack.env(),
            "METERLINE_NAMESPACE": namespace,
            "METERLINE_HTTP_PORT": "0",
            "METERLINE_CATALOG": str(catalog),
        },
    )
    meterline.run("migrate", "--partitions", str(_PARTITIONS))
    with Workers(meterline, catalog) as workers:
        workers.start()
        await_assignment(
            stack.env()["KAFKA_BOOTSTRAP_SERVERS"], workers_group(namespace), workers=workers,
            members=1, partitions=_PARTITIONS,
        )  # fmt: skip
        yield _Theirs(meterline, workers)
        workers.stop()
    meterline.run("verify")


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Without any variable that names a server or a namespace."""
    known = (*ADDRESSES, "METERLINE_NAMESPACE")
    inherited = {name: value for name, value in os.environ.items() if name not in known}
    return subprocess.run(
        [sys.executable, "-m", "loadtest", "run", "--out", str(folder), *arguments],
        cwd=_REPOSITORY,
        env={**inherited, "PYTHONPATH": str(_REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _fastest(samples: list[Mapping[str, float]]) -> float:
    """The most events a second that were due between two looks."""
    return max(
        (later["due"] - earlier["due"]) / (later["at_s"] - earlier["at_s"])
        for earlier, later in pairwise(samples)
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_exact_on_a_deployment_that_runs_already(
    theirs: _Theirs, tmp_path: Path, profile: str
) -> None:
    rate, seconds = _WITH_A_BURST if profile == "burst" else _SHORT
    found = _run(
        tmp_path, *theirs.options, "--profile", profile, "--rate", str(rate),
        "--duration", str(seconds),
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    said = re.search(r"^LOAD OK (.*)$", found.stdout, re.MULTILINE)
    assert said is not None, found.stdout
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", said[1])}
    assert (counts["events"], counts["differences"]) == (rate * seconds, 0)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == "exact"
    # It is the profile that was asked for, and not another one that is exact as well.
    if profile == "burst":
        assert _fastest(report["samples"]) > 1.5 * rate
    if profile in _COUNTED:
        name, least = _COUNTED[profile]
        assert counts[name] / counts["events"] > least
    if profile in _MARKS:
        what, least = _MARKS[profile]
        assert theirs.asked(what) > least
    # Their worker is theirs: nothing is known of it here, none was started, and it goes on.
    assert not [each["name"] for each in report["figures"] if "worker" in each["name"]]
    assert not list(tmp_path.glob("worker-*.log"))
    theirs.workers.check_alive()

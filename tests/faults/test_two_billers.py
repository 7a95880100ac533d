"""Two processes that bill at once: each difference is posted once, by whoever holds the lease."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from late_period import CUSTOMERS, FIRST, LATE, PERIOD, PLANS, write_catalog
from test_killed_closing import Billed

from metering.settings import Settings

_SCRIPT = Path(__file__).with_name("two_billers.py")
_CLOSE = ("close", "--force", "--reason", "fault test")
_BUSY = 75
#: Writes of a close or an adjustment of four chunks: more than there are.
_WRITES_MAX = 24
#: Of a process that is let stand still until its lease runs out by itself.
_LEASE_S = 10
_NATURALLY = 4


class Billers(Billed):
    """A deployment, and commands on it that run beside each other."""

    def start(
        self, command: Sequence[str], *, stop_at: int | str = 0, lease_s: int = 60
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(_SCRIPT), str(stop_at), str(lease_s), *command, "--period",
             PERIOD, "--json"],
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def forget(self) -> None:
        self.truncate("invoices", "invoice_lines", "billing_runs", "billing_run_customers")
        self.truncate("adjustments", "adjustment_lines", "adjustment_events")


def stands_still(process: subprocess.Popen[str]) -> bool:
    """Waits until it has stopped itself, or ended; which of both."""
    while process.poll() is None:
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "T":
            return True
        time.sleep(0.02)
    return False


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


@pytest.fixture
def billers(settings: Settings, tmp_path: Path) -> Iterator[Billers]:
    found = Billers(settings, tmp_path)
    found.backfill(FIRST, "first")
    yield found
    found.close()


def once(billers: Billers, wanted: list[tuple[Any, ...]]) -> None:
    """All invoices are there, as one close alone issues them, and each adjustment once."""
    assert billers.invoices() == wanted
    assert billers.rows("SELECT count() FROM invoices FINAL") == [(len(CUSTOMERS),)]
    for name in ("invoice", "adjustment"):
        billers.assert_whole(name)
    verified = billers.run(["invoices", "verify"])
    assert (verified.code, json.loads(verified.output)["holds"]) == (0, True), verified.output


@pytest.mark.timeout(600)
def test_many_closes_and_adjustments_at_once_bill_once(billers: Billers) -> None:
    assert billers.run(_CLOSE).code == 0
    issued = billers.invoices()
    billers.forget()
    closes = [billers.start(_CLOSE) for _ in range(3)]
    for process in closes:
        code, _, errors = ended(process)
        assert code == 0, errors
    once(billers, issued)
    assert billers.rows("SELECT count() FROM invoices") == [(len(CUSTOMERS),)]
    billers.backfill(LATE, "late")
    mixed = [billers.start(each) for each in (("adjust",), ("adjust",), _CLOSE)]
    answers = []
    for process in mixed:
        code, output, errors = ended(process)
        assert code == 0, errors
        answers.append(json.loads(output))
    posted = [len(each.get("adjustments", ())) for each in answers]
    assert sorted(posted) == [0, 0, len(CUSTOMERS)]
    assert billers.rows("SELECT count() FROM adjustments") == [(len(CUSTOMERS),)]
    once(billers, issued)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", [_CLOSE, ("adjust",)], ids=["close", "adjust"])
def test_who_stood_still_and_was_given_up_writes_nothing_more(
    billers: Billers, command: Sequence[str]
) -> None:
    assert billers.run(_CLOSE).code == 0
    issued = billers.invoices()
    if command != _CLOSE:
        billers.backfill(LATE, "late")
        assert billers.run(command).code == 0
    adjusted = billers.adjustments()
    stopped = 0
    for write in (2, 4, 6, 11, _WRITES_MAX):
        if command == _CLOSE:
            billers.forget()
        else:
            billers.forget_adjustments()
        runs_out = write == _NATURALLY
        first = billers.start(command, stop_at=write, lease_s=_LEASE_S if runs_out else 60)
        if not stands_still(first):
            assert ended(first)[0] == 0
            continue
        stopped += 1
        if not runs_out:
            billers.let_lease_run_out()
        second = billers.start(command)
        code, _, errors = ended(second)
        assert code == 0, errors
        before = billers.rows("SELECT * FROM invoices ORDER BY ALL")
        os.kill(first.pid, signal.SIGCONT)
        code, _, errors = ended(first)
        assert (code, "expected to hold the lease" in errors) == (_BUSY, True), errors
        assert billers.rows("SELECT * FROM invoices ORDER BY ALL") == before
        assert billers.adjustments() == adjusted, f"stopped before write {write}"
        once(billers, issued)
    assert stopped == 4


@pytest.mark.timeout(300)
def test_a_close_under_another_catalog_takes_over_from_one_that_stands_still(
    billers: Billers, tmp_path: Path
) -> None:
    assert billers.run(_CLOSE).code == 0
    billers.forget()
    first = billers.start(_CLOSE, stop_at=8)
    assert stands_still(first)
    issued = billers.rows("SELECT count() FROM invoices")[0][0]
    assert 0 < issued < len(CUSTOMERS)
    billers.let_lease_run_out()
    write_catalog(tmp_path / "catalog", plans=PLANS.replace('"0.333"', '"0.444"'))
    code, output, errors = ended(billers.start(_CLOSE))
    assert code == 0, errors
    assert json.loads(output)["invoices"] == len(CUSTOMERS) - issued
    before = billers.invoices()
    os.kill(first.pid, signal.SIGCONT)
    assert ended(first)[0] == _BUSY
    assert billers.invoices() == before
    billers.assert_whole("invoice")
    assert billers.rows("SELECT uniqExact(run_id), count() FROM invoices") == [(2, len(CUSTOMERS))]


#: The row of the run, and the first customer's invoice or adjustment.
_RUN_ROW, _BILL_ROW = "2+", "6+"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("write", [_RUN_ROW, _BILL_ROW], ids=["run", "bill"])
@pytest.mark.parametrize("command", [_CLOSE, ("adjust",)], ids=["close", "adjust"])
def test_who_stood_still_after_asking_for_the_lease_writes_nothing_either(
    billers: Billers, command: Sequence[str], tmp_path: Path, write: str
) -> None:
    """Under another catalog, so that what the second bills is of another run, with another cut."""
    if command != _CLOSE:
        assert billers.run(_CLOSE).code == 0
        billers.backfill(LATE, "late")
    first = billers.start(command, stop_at=write, lease_s=5)
    assert stands_still(first)
    meters = tmp_path / "catalog/meters.yaml"
    other = meters.read_text() + "- {key: other, unit: thing, aggregation: sum}\n"
    write_catalog(tmp_path / "catalog", meters=other)
    second = billers.start(command)
    code, output, errors = ended(second)
    assert code == 0, errors
    billed = json.loads(output)["invoices" if command == _CLOSE else "adjustments"]
    assert (billed if command == _CLOSE else len(billed)) == len(CUSTOMERS)

    def stored() -> list[tuple[Any, ...]]:
        tables = ("invoices", "adjustments", "billing_runs")
        return [
            row for each in tables for row in billers.rows(f"SELECT * FROM {each} ORDER BY ALL")
        ]

    before = stored()
    os.kill(first.pid, signal.SIGCONT)
    code, _, errors = ended(first)
    assert stored() == before
    assert (code, "nothing was written" in errors) == (_BUSY, True), errors
    once(billers, billers.invoices())

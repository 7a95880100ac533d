"""`kill -9` at every write of a close and of an adjustment: run again, nothing is there twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from late_period import CUSTOMERS, FIRST, LATE, PERIOD, Usage, write_catalog, write_events
from typer.testing import CliRunner, Result

from cli.main import app
from metering.settings import Settings, load_settings
from sinks.billing_lease import lease_key
from sinks.clickhouse import connect_clickhouse

_HURT = Path(__file__).with_name("hurt_billing.py")
_REPOSITORY = Path(__file__).resolve().parents[2]
_CLOSE = ("close", "--force", "--reason", "fault test")
_CLOSE_TABLES = ("invoices", "invoice_lines", "billing_runs", "billing_run_customers")
_ADJUST_TABLES = ("adjustments", "adjustment_lines", "adjustment_events")
#: More writes than there are; the loops end with the first run that is not killed.
_WRITES_MAX = 40


class Done(NamedTuple):
    """Exit code of a command, negative for a signal, and what it said."""

    code: int
    output: str
    errors: str


class Billed:
    """A deployment whose usage is there; commands that are killed, and what they left."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        catalog = write_catalog(folder / "catalog")
        self.settings = load_settings(catalog=catalog, http_port=0)
        assert self.settings.namespace == settings.namespace
        self._folder = folder
        self._environment = {
            **os.environ, "METERLINE_CATALOG": str(catalog), "METERLINE_HTTP_PORT": "0",
            "PYTHONPATH": str(_REPOSITORY),
        }  # fmt: skip
        self._client = connect_clickhouse(self.settings)
        self._process = subprocess.Popen(
            [sys.executable, str(_HURT)], env=self._environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def backfill(self, usage: Usage, name: str) -> None:
        path = write_events(self._folder / f"{name}.ndjson", usage)
        done = self.invoke("backfill", str(path), "--json")
        assert json.loads(done.stdout)[0]["accepted"] == len(usage), done.output

    def invoke(self, *arguments: str) -> Result:
        """A command in this process, that nothing happens to."""
        environment: Mapping[str, str | None] = self._environment
        return CliRunner().invoke(app, list(arguments), env=environment)

    def run(self, command: Sequence[str], **faults: int) -> Done:
        """Run a command of `hurt_billing`."""
        asked = {"arguments": [*command, "--period", PERIOD, "--json"], **faults}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        done = Done(**json.loads(self._process.stdout.readline()))
        if done.code < 0:
            self.let_lease_run_out()
        return done

    def let_lease_run_out(self) -> None:
        """As it does by itself some seconds after its holder was killed."""
        with redis.Redis.from_url(self.settings.redis_url.get_secret_value()) as store:
            store.delete(lease_key(self.settings))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._client.query(sql).result_rows]

    def truncate(self, *tables: str) -> None:
        for table in tables:
            self._client.command(f"TRUNCATE TABLE {table}")

    def forget_adjustments(self) -> None:
        self.truncate(*_ADJUST_TABLES)
        for table in ("billing_runs", "billing_run_customers"):
            self._client.command(
                f"DELETE FROM {table} WHERE run_id LIKE 'adjust%'",
                settings={"lightweight_deletes_sync": 2},
            )

    def close(self) -> None:
        self._client.close()
        with self._process:  # it ends with its input
            pass

    def invoices(self) -> list[tuple[Any, ...]]:
        """Invoices and their lines as finance reads them, without run and time."""
        return self.rows(
            "SELECT * EXCEPT (run_id, issued_at) FROM invoice_lines_explained ORDER BY ALL"
        )

    def adjustments(self) -> list[tuple[Any, ...]]:
        """The same of adjustments, with the events behind them; without ids that name the run."""
        lines = self.rows(
            "SELECT * EXCEPT (run_id, issued_at, adjustment_id, line_id) "
            "FROM adjustment_lines_explained ORDER BY ALL"
        )
        return lines + self.rows(
            "SELECT e.* EXCEPT (run_id) FROM (SELECT * FROM adjustment_events FINAL) AS e "
            "INNER JOIN (SELECT customer_id, period_start, run_id FROM adjustments FINAL) AS a "
            "USING (customer_id, period_start, run_id) ORDER BY ALL"
        )

    def assert_whole(self, name: str) -> None:
        """What is visible has all its lines, and they add up to its total."""
        wrong = self.rows(
            f"SELECT h.customer_id, h.lines, h.total, count() AS n, sum(l.amount) AS due "
            f"FROM (SELECT * FROM {name}s FINAL) AS h "
            f"LEFT JOIN (SELECT * FROM {name}_lines FINAL) AS l "
            "USING (customer_id, period_start, run_id) "
            "GROUP BY h.customer_id, h.lines, h.total HAVING n != h.lines OR due != h.total"
        )
        assert wrong == []


@pytest.fixture
def billed(settings: Settings, tmp_path: Path) -> Any:
    found = Billed(settings, tmp_path)
    found.backfill(FIRST, "first")
    yield found
    found.close()


@pytest.mark.timeout(900)
def test_a_close_that_is_killed_at_any_write_is_completed_with_its_own_cut(billed: Billed) -> None:
    assert billed.run(_CLOSE).code == 0
    wanted = billed.invoices()
    assert {row[3] for row in wanted} == set(CUSTOMERS)
    killed = 0
    for write in range(1, _WRITES_MAX):
        billed.truncate(*_CLOSE_TABLES)
        hurt = billed.run(_CLOSE, before=write)
        if hurt.code == 0:
            break
        killed += 1
        assert hurt.code == -signal.SIGKILL, hurt.errors
        billed.assert_whole("invoice")
        started = billed.rows("SELECT run_id, cut_offsets FROM billing_runs")
        again = billed.run(_CLOSE)
        assert again.code == 0, again.errors
        assert billed.invoices() == wanted, f"killed before write {write}"
        assert billed.rows("SELECT count() FROM invoices") == [(len(CUSTOMERS),)]
        if started:  # the run that was interrupted is the one that issued all invoices
            assert billed.rows("SELECT DISTINCT run_id FROM invoices") == [(started[0][0],)]
            assert json.loads(again.output)["resumed"] == [started[0][0]]
        ended = billed.rows(
            "SELECT countIf(state = 'started') = 1 AND countIf(state = 'finished') = 1 "
            "FROM billing_runs GROUP BY run_id"
        )
        assert ended == [(1,)]
    # audit, customers, run; cards; lines and invoices of two chunks; end
    assert killed >= 9
    # what comes while a close is interrupted is beyond its cut
    billed.truncate(*_CLOSE_TABLES)
    assert billed.run(_CLOSE, before=4).code == -signal.SIGKILL
    billed.backfill(LATE, "late")
    assert billed.run(_CLOSE).code == 0
    assert billed.invoices() == wanted


@pytest.mark.timeout(900)
def test_an_adjustment_that_is_killed_at_any_write_is_completed_with_its_own_cut(
    billed: Billed,
) -> None:
    assert billed.run(_CLOSE).code == 0
    billed.backfill(LATE, "late")
    assert billed.run(["adjust"]).code == 0
    wanted = billed.adjustments()
    killed = 0
    for write in range(1, _WRITES_MAX):
        billed.forget_adjustments()
        hurt = billed.run(["adjust"], after=write)
        if hurt.code == 0:
            break
        killed += 1
        assert hurt.code == -signal.SIGKILL, hurt.errors
        billed.assert_whole("adjustment")
        assert billed.run(["adjust"]).code == 0
        assert billed.adjustments() == wanted, f"killed after write {write}"
        again = billed.run(["adjust"])
        assert json.loads(again.output)["adjustments"] == []
        assert billed.rows("SELECT count() FROM adjustments") == [(len(CUSTOMERS),)]
    # customers, run; events, lines and adjustments of two chunks; end; cards where there are new
    assert killed >= 9


def test_another_catalog_abandons_what_was_interrupted_and_closes_the_rest(
    billed: Billed, tmp_path: Path
) -> None:
    hurt = billed.run(_CLOSE, after=7)  # one chunk of two is issued
    assert hurt.code == -signal.SIGKILL, hurt.errors
    issued = billed.rows("SELECT customer_id FROM invoices ORDER BY customer_id")
    assert 0 < len(issued) < len(CUSTOMERS)
    write_catalog(
        tmp_path / "catalog",
        meters=(tmp_path / "catalog/meters.yaml").read_text()
        + "- {key: other, unit: thing, aggregation: sum}\n",
    )
    again = json.loads(billed.run(_CLOSE).output)
    assert (len(again["abandoned"]), again["resumed"]) == (1, [])
    assert again["invoices"] == len(CUSTOMERS) - len(issued)
    assert billed.rows("SELECT count() FROM invoices") == [(len(CUSTOMERS),)]
    billed.assert_whole("invoice")


def test_who_is_held_back_while_a_close_is_interrupted_gets_no_invoice(billed: Billed) -> None:
    assert billed.run(_CLOSE, before=4).code == -signal.SIGKILL  # the run stands, no invoice does
    held = CUSTOMERS[1]
    hold = ["correct", "hold", "--customer", held, "--reason", "dispute"]
    drafted = json.loads(billed.run([*hold, "--actor", "ann"]).output)
    number = drafted["correction"]["correction_id"]
    applied = billed.invoke("correct", "apply", number, "--actor", "ann")
    assert applied.exit_code == 0, applied.output
    again = json.loads(billed.run(_CLOSE).output)
    assert (again["held"], len(again["resumed"])) == ([held], 1)
    assert billed.rows("SELECT customer_id FROM invoices ORDER BY 1") == [
        (each,) for each in sorted(CUSTOMERS) if each != held
    ]

"""Applying a correction is killed before every single write, and repeated: nothing twice."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from clickhouse_connect.driver.httpclient import HttpClient
from counting import count, produce, rows
from in_process import answer, meterline
from priced import MONTH, PERIOD, catalog
from test_corrections import ADA, LONG_AGO, call, charged, draft

from cli.correct import apply_command
from metering.settings import Settings, load_settings
from sinks.audit import AuditLog
from sinks.billing_lease import lease_key
from sinks.clickhouse import connect_clickhouse
from sinks.dedup_memory import RedisDedupMemory
from sinks.events_topic import EventsTopic

#: More than there are writes in any correction.
MANY = 24
CUSTOMERS = dict.fromkeys(
    ("org", *(f"org-{at}" for at in range(1, MANY + 1))), ("steady", LONG_AGO)
)


def killed_before(number: int, correction_id: str) -> bool:
    """Apply in a process of its own, which is killed before so many writes; whether it was."""
    child = os.fork()
    if child == 0:
        try:
            _hurt(number)
            apply_command(correction_id, actor="ada")
            sys.stdout.flush()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child ends here, whatever happened
            traceback.print_exc()
            os._exit(9)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        settings = load_settings(http_port=0)  # what it held runs out, some seconds later
        with redis.Redis.from_url(settings.redis_url.get_secret_value()) as store:
            store.delete(lease_key(settings))
        return True
    assert os.WEXITSTATUS(status) == 0, f"write {number}"
    return False


def _hurt(number: int) -> None:
    done = 0

    def before(act: Callable[..., Any], is_write: Callable[..., bool]) -> Callable[..., Any]:
        def hurt(*given: Any, **named: Any) -> Any:
            nonlocal done
            if is_write(*given, **named):
                done += 1
                if done == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            return act(*given, **named)

        return hurt

    def always(*_given: Any, **_named: Any) -> bool:
        return True

    def inserts(_client: Any, sql: Any, *_given: Any, **_named: Any) -> bool:
        return str(sql).lstrip().startswith("INSERT")

    for kind, name, is_write in (
        (HttpClient, "raw_insert", always), (HttpClient, "command", inserts),
        (AuditLog, "_put", always), (EventsTopic, "send", always),
        (RedisDedupMemory, "reassign", always),
    ):  # fmt: skip
        setattr(kind, name, before(getattr(kind, name), is_write))


def killed_at_every_write(draft_one: Callable[[int], str]) -> int:
    """A correction of its own for each write, killed before it, then completed: how many writes."""
    for number in range(1, MANY + 1):
        correction_id = draft_one(number)
        if not killed_before(number, correction_id):
            return number - 1
        assert not killed_before(0, correction_id)
    raise AssertionError("more writes than there are things to correct")


@pytest.fixture
def counted(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As many customers, and users of one of them, as there may be writes."""
    folder = catalog(tmp_path / "catalog", CUSTOMERS)
    monkeypatch.setenv("METERLINE_CATALOG", str(folder))
    monkeypatch.setattr("dataflows.rerating._SETTLE_S", 0.05)
    found = load_settings(http_port=0)
    assert found.namespace == settings.namespace
    produce(found, [
        *(call(at, "150", customer_id=f"org-{at}") for at in range(1, MANY + 1)),
        *(user(at, f"old-{at}") for at in range(1, MANY + 1)),
    ])  # fmt: skip
    count(found)
    return found


def user(at: int, name: str, **changes: Any) -> dict[str, Any]:
    return call(at, "1", id=f"u-{at}", meter="users", dimensions={"user_id": name}, **changes)


def invoiced(settings: Settings) -> None:
    """An invoice of 2.50 for each customer's calls, and nothing else."""
    start = f"toDateTime('{MONTH:%Y-%m-%d %H:%M:%S}', 'UTC')"
    client = connect_clickhouse(settings)
    lines = (
        "INSERT INTO invoice_lines (customer_id, period_start, run_id, line, kind, meter, `group`,"
        " part_start, part_end, quantity, amount, exact, currency)"
        " SELECT concat('org-', toString(number)),"
        f" {start}, 'run', 1, 'charge', 'calls', '{{}}', {start}, addMonths({start}, 1), 150,"
        " '2.5', '2.5', 'USD'"
    )
    heads = (
        "INSERT INTO invoices (customer_id, period_start, invoice_id, run_id, currency,"
        " minor_digits, calculation_version, issued_at) SELECT concat('org-', toString(number)),"
        f" {start}, concat('inv-', toString(number)), 'run', 'USD', 2, 1, now64(6)"
    )
    for sql in (lines, heads):
        client.command(f"{sql} FROM numbers(1, {MANY})")
    client.close()


def test_a_replacement_that_is_killed_before_any_write_happens_once(counted: Settings) -> None:
    def one(at: int) -> str:
        found = draft(counted, "replace", "--customer", "org", "--meter", "users", "--id",
                      f"u-{at}", "--dimension", f"user_id=new-{at}", "--reason", "other",
                      "--note", "a drill", *ADA)  # fmt: skip
        return str(found["correction"]["correction_id"])

    writes = killed_at_every_write(one)
    assert writes >= 14
    done = writes + 1
    # of the values that nobody holds any more one counts again; one that was put there does not
    again = [user(100, "old-1"), user(101, "old-1"), user(102, "new-1"), user(103, f"old-{MANY}")]
    produce(counted, again)
    count(counted)
    new = rows(counted, "SELECT count(), uniqExact(id) FROM usage_events FINAL "
                        "WHERE batch_id != ''")  # fmt: skip
    assert new == [(done, done)]
    assert rows(counted, "SELECT count() FROM retracted_events FINAL") == [(done,)]
    exact = Decimal("0.333") * (MANY + 1)
    assert charged(counted, "users") == exact.quantize(Decimal("0.01"))
    whole(counted)


def test_a_rerating_and_a_credit_that_are_killed_before_any_write_happen_once(
    counted: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoiced(counted)
    folder = catalog(tmp_path / "new", CUSTOMERS, first="0.07")
    monkeypatch.setenv("METERLINE_CATALOG", str(folder))
    new = counted.model_copy(update={"catalog": folder})
    edit = meterline(new, "catalog", "load", "--allow-edit", "--reason", "it was wrong", *ADA)
    assert edit.returncode == 0, edit.stderr

    def rerated(at: int) -> str:
        found = draft(new, "rerate", "--period", PERIOD, "--customer", f"org-{at}", "--reason",
                      "price_change", *ADA)  # fmt: skip
        # 50 calls for 0.02 more, and base fee and documents that the invoice left out
        assert found["exposure"] == "28.00"
        return str(found["correction"]["correction_id"])

    def credited(at: int) -> str:
        found = draft(new, "credit", "--customer", f"org-{at}", "--amount=-5", "--currency", "USD",
                      "--reason", "goodwill", *ADA)  # fmt: skip
        return str(found["correction"]["correction_id"])

    reratings = killed_at_every_write(rerated)
    given = killed_at_every_write(credited)
    assert reratings >= 13
    assert given >= 10
    assert rows(
        new, "SELECT kind, toString(total), count(), uniqExact(customer_id), any(lines) "
        "FROM adjustments FINAL GROUP BY kind, total ORDER BY 1"
    ) == [("credit", "-5", given + 1, given + 1, 1),
          ("rerating", "28", reratings + 1, reratings + 1, 3)]  # fmt: skip
    assert rows(
        new, "SELECT count() FROM (SELECT adjustment_id, sum(amount) AS lines "
        "FROM adjustment_lines_explained GROUP BY adjustment_id) AS l "
        "JOIN (SELECT adjustment_id, total FROM adjustments FINAL) AS a USING adjustment_id "
        "WHERE lines != total"
    ) == [(0,)]  # fmt: skip
    assert charged(new, customer="org-1") == Decimal("3.50")
    assert charged(new, customer=f"org-{MANY}") == Decimal("2.50"), "it was not rated again"
    whole(new)


def whole(settings: Settings) -> None:
    """Every correction that was killed is applied, and the audit log is whole."""
    assert rows(settings, "SELECT DISTINCT state FROM correction_states") == [("applied",)]
    assert answer(settings, "audit", "verify")["holds"]

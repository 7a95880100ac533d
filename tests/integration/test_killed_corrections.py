"""Applying a correction is killed before every single write, and repeated: nothing twice."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.httpclient import HttpClient
from counting import count, produce, rows
from in_process import answer, meterline
from priced import PERIOD, catalog
from test_corrections import ADA, CALLS, LONG_AGO, call, charged, draft, invoice, oracle

from cli.correct import apply_command
from metering.settings import Settings, load_settings
from sinks.audit import AuditLog
from sinks.dedup_memory import RedisDedupMemory
from sinks.events_topic import EventsTopic

_WRITES_MAX = 60


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


def killed_at_every_write(correction_id: str) -> int:
    """How many writes it took."""
    for number in range(1, _WRITES_MAX):
        if not killed_before(number, correction_id):
            return number - 1
    raise AssertionError(correction_id)


@pytest.fixture
def counted(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    customers: dict[str, tuple[str, datetime]] = {"org": ("steady", LONG_AGO)}
    folder = catalog(tmp_path / "catalog", customers)
    monkeypatch.setenv("METERLINE_CATALOG", str(folder))
    monkeypatch.setattr("dataflows.rerating._SETTLE_S", 0.05)
    found = load_settings(http_port=0)
    assert found.namespace == settings.namespace
    produce(found, [
        *(call(at, each) for at, each in enumerate(CALLS)),
        call(7, "1", id="u-1", meter="users", dimensions={"user_id": "a"}),
    ])  # fmt: skip
    count(found)
    return found


def test_what_is_killed_before_any_write_and_repeated_happens_once(
    counted: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_id = ("--customer", "org", "--reason", "wrong_quantity", *ADA)
    replaced = draft(counted, "replace", "--meter", "calls", "--id", "call-1", "--quantity", "7",
                     *by_id)["correction"]["correction_id"]  # fmt: skip
    assert killed_at_every_write(replaced) >= 9
    gone = draft(counted, "retract", "--meter", "users", "--id", "u-1", *by_id)
    assert killed_at_every_write(gone["correction"]["correction_id"]) >= 8
    # the value that nobody holds any more counts again, once
    value = {"meter": "users", "dimensions": {"user_id": "a"}}
    produce(counted, [call(8, "1", id="u-2", **value), call(9, "1", id="u-3", **value)])
    count(counted)
    left = [CALLS[0], "7", *CALLS[2:]]
    assert charged(counted) == oracle(left)
    assert str(charged(counted, "users")) == "0.33"

    invoice(counted, [
        ("charge", "calls", "{}", left, oracle(left)),
        ("charge", "users", "{}", ["1"], Decimal("0.33")),
        ("charge", "documents", "{}", [], Decimal(7)),
        ("base_fee", "", "", [], Decimal(20)),
    ])  # fmt: skip
    folder = catalog(tmp_path / "new", {"org": ("steady", LONG_AGO)}, first="0.07")
    monkeypatch.setenv("METERLINE_CATALOG", str(folder))
    new = counted.model_copy(update={"catalog": folder})
    edit = meterline(new, "catalog", "load", "--allow-edit", "--reason", "it was wrong", *ADA)
    assert edit.returncode == 0, edit.stderr
    again = draft(new, "rerate", "--period", PERIOD, "--reason", "price_change", *ADA)
    assert killed_at_every_write(again["correction"]["correction_id"]) >= 9
    given = draft(new, "credit", "--customer", "org", "--amount=-5", "--currency", "USD",
                  "--reason", "goodwill", *ADA)["correction"]["correction_id"]  # fmt: skip
    assert killed_at_every_write(given) >= 7

    assert charged(new) == oracle(left, "0.07")
    moved = oracle(left, "0.07") - oracle(left)
    assert rows(
        new, "SELECT kind, toString(total), count() FROM adjustments FINAL GROUP BY ALL ORDER BY 1"
    ) == [("credit", "-5", 1), ("rerating", str(moved.normalize()), 1)]
    assert rows(
        new, "SELECT sum(amount) = any(total) FROM adjustment_lines_explained AS l JOIN "
        "(SELECT adjustment_id, total FROM adjustments FINAL) AS a USING adjustment_id "
        "GROUP BY adjustment_id"
    ) == [(True,), (True,)]  # fmt: skip
    states = rows(new, "SELECT DISTINCT state FROM correction_states")
    assert states == [("applied",)]
    assert answer(new, "audit", "verify")["holds"]
    assert answer(new, "charges", "--period", PERIOD)["differing"] == 0
    assert rows(new, "SELECT count() FROM usage_events FINAL WHERE batch_id != ''") == [(1,)]

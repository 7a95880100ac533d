"""The audit log on real servers: tampering is found, killed writers and races leave it whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from counting import environment, plant, rows
from in_process import answer, meterline

from metering.audit_chain import AuditEntry, AuditRow
from metering.settings import Settings
from sinks.audit import AuditBroken, AuditLog
from sinks.clickhouse import connect_clickhouse

NOW = partial(datetime.now, UTC)


def write(settings: Settings, *notes: str) -> list[AuditRow]:
    client = connect_clickhouse(settings)
    audit = AuditLog(client, settings, now=NOW)
    try:
        return [
            audit.append(AuditEntry("tested", "thing", "ada", "other", note, "", '{"a":1}'))
            for note in notes
        ]
    finally:
        audit.close()
        client.close()


def faults(settings: Settings, *more: str) -> list[dict[str, Any]]:
    done = meterline(settings, "audit", "verify", "--json", *more)
    found = json.loads(done.stdout)
    assert done.returncode == (1 if found["faults"] else 0)
    assert found["holds"] == (not found["faults"])
    return list(found["faults"])


@pytest.mark.parametrize(
    ("tampering", "seq", "told"),
    [
        ("ALTER TABLE audit_log UPDATE note = 'x' WHERE seq = 2", 2, "the row was changed"),
        ("ALTER TABLE audit_log UPDATE recorded_at = recorded_at + 1 WHERE seq = 3", 3, "changed"),
        ("DELETE FROM audit_log WHERE seq = 2", 2, "rows 2 to 2 are missing"),
        ("DELETE FROM audit_log WHERE seq = 1", 1, "rows 1 to 1 are missing"),
        ("DELETE FROM audit_log WHERE seq >= 3", 4, "that was kept elsewhere"),
        ("DELETE FROM audit_log WHERE 1", 4, "that was kept elsewhere"),
        ("INSERT INTO audit_log SELECT * REPLACE ('eve' AS actor) FROM audit_log WHERE seq = 2",
         2, "changed"),
        ("INSERT INTO audit_log SELECT * REPLACE (5 AS seq) FROM (SELECT * FROM audit_log)", 5,
         "changed"),
    ],
)  # fmt: skip
def test_a_row_that_was_tampered_with_is_found(
    settings: Settings, tampering: str, seq: int, told: str
) -> None:
    write(settings, "one", "two", "three", "four")
    assert faults(settings) == []
    client = connect_clickhouse(settings)
    client.command(tampering, settings={"mutations_sync": 2, "lightweight_deletes_sync": 2})
    client.close()
    found = faults(settings)
    assert any(each["seq"] == seq and told in each["what"] for each in found), found


def test_a_forged_end_with_right_hashes_is_found(settings: Settings) -> None:
    (row,) = write(settings, "one")
    client = connect_clickhouse(settings)
    forger = AuditLog(
        client, settings.model_copy(update={"namespace": f"f{settings.namespace}"}), now=NOW
    )
    try:
        forged = forger.append(AuditEntry("tested", "thing", "eve", "other", "forged"))
    finally:
        forger.close()
        client.close()
    assert forged.seq > row.seq
    assert any("Redis knows of none of them" in each["what"] for each in faults(settings))
    with pytest.raises(AuditBroken, match="meterline audit accept"):
        write(settings, "more")
    accepted = meterline(settings, "audit", "accept", "--note", "a drill", "--actor", "bob")
    assert accepted.returncode == 0, accepted.stderr
    assert faults(settings) == []
    assert answer(settings, "audit", "list")[-1]["action"] == "audit_head_accepted"
    write(settings, "more")
    assert meterline(settings, "audit", "accept", "--note", "x").returncode == 2


def test_a_head_that_was_noted_tells_of_truncation_even_without_redis(settings: Settings) -> None:
    noted = str(write(settings, "one", "two")[-1].head)
    assert answer(settings, "audit", "verify")["head"] == noted
    plant(settings, "DELETE FROM audit_log WHERE seq = 2")
    client = connect_clickhouse(settings)
    audit = AuditLog(client, settings, now=NOW)
    audit._redis.delete(audit._key)
    audit.close()
    client.close()
    assert faults(settings) == []
    assert [each["seq"] for each in faults(settings, "--head", noted)] == [2]
    write(settings, "three")
    actions = [each["action"] for each in answer(settings, "audit", "list")]
    assert actions == ["tested", "audit_head_adopted", "tested"]


_WRITER = """
import os, signal, sys
from datetime import UTC, datetime
from functools import partial
from metering.audit_chain import AuditEntry
from metering.settings import load_settings
from sinks.audit import AuditLog
from sinks.clickhouse import connect_clickhouse

settings = load_settings()
audit = AuditLog(connect_clickhouse(settings), settings, now=partial(datetime.now, UTC))
where, count = sys.argv[1], int(sys.argv[2])
insert = audit._insert
def hurt(row):
    if where == "stop" and row.entry.object == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGSTOP)
    if where == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    insert(row)
audit._insert = hurt
for number in range(count):
    audit.append(AuditEntry("raced", sys.argv[3], "ada", "other", str(number)))
"""


def writer(settings: Settings, where: str, count: int, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, where, str(count), name], env=environment(settings)
    )


def test_writers_at_once_and_one_that_is_killed_or_stands_still_fork_nothing(
    settings: Settings,
) -> None:
    writers = [writer(settings, "", 10, f"w{at}") for at in range(3)]
    assert [each.wait(120) for each in writers] == [0, 0, 0]
    killed = writer(settings, "kill", 1, "killed")
    assert killed.wait(60) == -signal.SIGKILL
    still = writer(settings, "stop", 1, "still")
    os.waitpid(still.pid, os.WUNTRACED)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: write(settings, name), ["a", "b"]))
    still.send_signal(signal.SIGCONT)
    assert still.wait(60) == 0
    assert faults(settings) == []
    found = rows(
        settings, "SELECT object, uniqExact(seq) FROM audit_log GROUP BY object ORDER BY 1"
    )
    assert found == [
        ("killed", 1), ("still", 1), ("thing", 2), ("w0", 10), ("w1", 10), ("w2", 10),
    ]  # fmt: skip

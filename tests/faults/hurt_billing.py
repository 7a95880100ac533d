"""`meterline close` and `meterline adjust` that kill themselves at a write.

Reads a command from each line of its input, `{"arguments": [...], "before": 5}`, runs it in a
process forked off, and answers with a line `{"code", "output", "errors"}`. `before`: right before
the fifth write of rows, SIGKILL; `after`: right after it, when the rows are durable. Customers come
two at a time, so that there are several chunks.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

import billing.adjustment_posting
import billing.bills
import billing.closing
import sinks.audit
import sinks.billing_runs
import sinks.clickhouse
import sinks.fenced_insert
import sinks.invoice_store
from cli.main import main

_insert_arrow = sinks.clickhouse.insert_arrow
_write_until = sinks.fenced_insert.write_until


class _HurtInsert:
    """Counts writes of rows, and ends the process at one of them."""

    def __init__(self, before: int, after: int) -> None:
        self._before = before
        self._after = after
        self._writes = 0

    def insert_arrow(self, client: Any, table: str, rows: pa.Table) -> None:
        self._hurt(rows, lambda: _insert_arrow(client, table, rows))

    def write_until(self, client: Any, table: str, rows: pa.Table, **named: Any) -> None:
        self._hurt(rows, lambda: _write_until(client, table, rows, **named))

    def _hurt(self, rows: pa.Table, write: Callable[[], None]) -> None:
        if rows.num_rows == 0:
            return
        self._writes += 1
        if self._writes == self._before:
            os.kill(os.getpid(), signal.SIGKILL)
        write()
        if self._writes == self._after:
            os.kill(os.getpid(), signal.SIGKILL)


def _run(asked: dict[str, Any], output: Path, errors: Path) -> None:
    """The command, in a process of its own; does not return."""
    for path, number in ((output, 1), (errors, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    hurt = _HurtInsert(asked.get("before", 0), asked.get("after", 0))
    for module in (sinks.billing_runs, sinks.audit, sinks.invoice_store):
        setattr(module, "insert_arrow", hurt.insert_arrow)  # noqa: B010
    setattr(sinks.fenced_insert, "write_until", hurt.write_until)  # noqa: B010
    sys.argv = ["meterline", *asked["arguments"]]
    code: Any = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _answer(asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    output, errors = folder / "output", folder / "errors"
    child = os.fork()
    if child == 0:
        _run(asked, output, errors)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"code": code, "output": output.read_text(), "errors": errors.read_text()}


if __name__ == "__main__":
    setattr(billing.closing, "chunks", partial(billing.bills.chunks, size=2))  # noqa: B010
    billing.adjustment_posting._CHUNK_CUSTOMERS = 2
    with tempfile.TemporaryDirectory() as name:
        for line in sys.stdin:
            sys.stdout.write(json.dumps(_answer(json.loads(line), Path(name))) + "\n")
            sys.stdout.flush()

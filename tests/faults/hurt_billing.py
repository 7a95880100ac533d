"""`meterline close` and `meterline adjust` that kill themselves at a write.

`FAULT_KILL_BEFORE=5`: right before the fifth write of rows, SIGKILL. `FAULT_KILL_AFTER=5`: right
after it, when the rows are durable. Customers come two at a time, so that there are several chunks.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any

import pyarrow as pa

import billing.adjustment
import billing.bills
import billing.closing
import sinks.billing_runs
import sinks.catalog_store
import sinks.clickhouse
import sinks.invoice_store
from cli.main import main

_BEFORE = int(os.environ.get("FAULT_KILL_BEFORE", "0"))
_AFTER = int(os.environ.get("FAULT_KILL_AFTER", "0"))
_insert_arrow = sinks.clickhouse.insert_arrow
_writes = 0


def _hurt_insert(client: Any, table: str, rows: pa.Table) -> None:
    global _writes  # noqa: PLW0603 - one process, one count
    if rows.num_rows == 0:
        return
    _writes += 1
    if _writes == _BEFORE:
        os.kill(os.getpid(), signal.SIGKILL)
    _insert_arrow(client, table, rows)
    if _writes == _AFTER:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    for module in (sinks.billing_runs, sinks.catalog_store, sinks.invoice_store):
        module.insert_arrow = _hurt_insert  # type: ignore[attr-defined]
    billing.closing.chunks = partial(billing.bills.chunks, size=2)  # type: ignore[attr-defined]
    billing.adjustment._CHUNK_CUSTOMERS = 2
    main()

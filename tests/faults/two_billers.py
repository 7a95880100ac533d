"""`meterline` commands that bill, slowed down or stopped at a write; for tests of two at once.

    python two_billers.py WRITE SECONDS ARGUMENT...

Stops itself (SIGSTOP) right before asking for the lease for write number WRITE, or right after
that (`6+`), so that whoever started it sees it stand still, and goes on after SIGCONT; 0 never
does. Customers come one at a time, and a lease lasts SECONDS.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from functools import partial
from typing import Any

import billing.adjustment_posting
import billing.bills
import billing.closing
import cli.sole_biller
import sinks.billing_lease
from cli.main import main

_Lease = sinks.billing_lease.BillingLease


class StoppingLease(_Lease):
    """Stands still once, before or after it is asked whether it is held."""

    stop_at = 0
    is_asked = False
    lease_seconds = 1.0

    def __init__(self, settings: Any, *, holder: str) -> None:
        super().__init__(settings, holder=holder, lease_s=self.lease_seconds)
        self._writes = 0

    def require(self, doing: str) -> timedelta:
        is_now = False
        if doing != "anything":
            self._writes += 1
            is_now = self._writes == self.stop_at
        if is_now and not self.is_asked:
            os.kill(os.getpid(), signal.SIGSTOP)
        lasts = super().require(doing)
        if is_now and self.is_asked:
            os.kill(os.getpid(), signal.SIGSTOP)
        return lasts


if __name__ == "__main__":
    write, seconds, *arguments = sys.argv[1:]
    StoppingLease.stop_at, StoppingLease.lease_seconds = int(write.rstrip("+")), float(seconds)
    StoppingLease.is_asked = write.endswith("+")
    setattr(cli.sole_biller, "BillingLease", StoppingLease)  # noqa: B010
    setattr(billing.closing, "chunks", partial(billing.bills.chunks, size=1))  # noqa: B010
    billing.adjustment_posting._CHUNK_CUSTOMERS = 1
    sys.argv = ["meterline", *arguments]
    main()

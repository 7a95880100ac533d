"""`meterline` commands that bill, slowed down or stopped at a write; for tests of two at once.

    python two_billers.py WRITE SECONDS ARGUMENT...

Stops itself (SIGSTOP) right before asking for the lease for write number WRITE, so that whoever
started it sees it stand still, and goes on after SIGCONT; 0 never does. Customers come one at a
time, and a lease lasts SECONDS.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import Any

import billing.adjustment
import billing.bills
import billing.closing
import cli.sole_biller
import sinks.billing_lease
from cli.main import main

_Lease = sinks.billing_lease.BillingLease


class StoppingLease(_Lease):
    """Stands still once, before it is asked whether it is held."""

    stop_at = 0
    lease_seconds = 1.0

    def __init__(self, settings: Any, *, holder: str) -> None:
        super().__init__(settings, holder=holder, lease_s=self.lease_seconds)
        self._writes = 0

    def require(self, doing: str) -> None:
        if doing != "anything":
            self._writes += 1
            if self._writes == self.stop_at:
                os.kill(os.getpid(), signal.SIGSTOP)
        super().require(doing)


if __name__ == "__main__":
    write, seconds, *arguments = sys.argv[1:]
    StoppingLease.stop_at, StoppingLease.lease_seconds = int(write), float(seconds)
    setattr(cli.sole_biller, "BillingLease", StoppingLease)  # noqa: B010
    setattr(billing.closing, "chunks", partial(billing.bills.chunks, size=1))  # noqa: B010
    billing.adjustment._CHUNK_CUSTOMERS = 1
    sys.argv = ["meterline", *arguments]
    main()

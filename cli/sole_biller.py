"""Commands that bill take turns: each holds the lease while it writes, and waits for it before."""

from collections.abc import Iterator
from contextlib import contextmanager

from cli.context import stderr
from metering.settings import Settings
from sinks.billing_lease import BillingLease

#: How long to wait for another command: longer than a close of many customers takes.
_WAIT_S = 900


class SoleBiller:
    """The lease of this process; `require` is what `InvoiceStore` asks before each write."""

    def __init__(self, lease: BillingLease) -> None:
        self._lease = lease
        self.require = lease.require

    @contextmanager
    def turn(self) -> Iterator[None]:
        """While nobody else bills. Raises `BillingLeaseLost`, `DependencyDown`."""
        with self._lease.held(
            wait_s=_WAIT_S, say=lambda text: stderr.print(text, markup=False)
        ):  # fmt: skip
            yield


@contextmanager
def sole_biller(settings: Settings, doing: str) -> Iterator[SoleBiller]:
    """Connected to Redis while it is used; `doing` tells others who has the turn."""
    lease = BillingLease(settings, holder=doing)
    try:
        yield SoleBiller(lease)
    finally:
        lease.close()

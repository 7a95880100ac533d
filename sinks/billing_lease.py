"""Who bills: of all that would close, adjust or re-rate, one process at a time.

Each works out what is due less what was billed so far, so two at once could post the same
difference twice. A lease in Redis keeps them apart: it is renewed while its holder lives, runs out
soon after it was killed, and is asked for again right before each write. So a holder that stood
still and was given up writes nothing more. Where it stood still between that question and the
write, ClickHouse refuses what would make a bill visible (see `fenced_insert.py`).
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from redis.exceptions import LockError
from redis.lock import Lock

from metering.errors import BillingLeaseLost, DependencyDown
from metering.settings import Settings
from sinks.dedup_connection import connect_redis, redis_errors

#: How long a lease outlives its holder (seconds), and how often it is renewed meanwhile.
LEASE_S = 15
_RENEWALS = 5
_POLL_S = 0.2


def lease_key(settings: Settings) -> str:
    """Where the lease of a deployment stands."""
    return f"{settings.redis_prefix}:billing-lease"


class BillingLease:
    """The lease of one deployment, as one process sees it. Not for several threads."""

    def __init__(self, settings: Settings, *, holder: str, lease_s: float = LEASE_S) -> None:
        """`holder` tells others who holds it: what is done, and by whom."""
        self._redis = connect_redis(settings.redis_url.get_secret_value())
        self._key = lease_key(settings)
        self._lease_s = lease_s
        self._token = (
            f"{uuid.uuid4().hex} {holder}, process {os.getpid()} on {socket.gethostname()}"
        )
        self._lock = Lock(self._redis, self._key, timeout=lease_s, thread_local=False)

    def close(self) -> None:
        """Let go of the connection to Redis."""
        self._redis.close()

    @contextmanager
    def held(self, *, wait_s: float, say: Callable[[str], None]) -> Iterator[None]:
        """Hold it for a while; `say` hears, once, whom this waits for.

        Raises `BillingLeaseLost` where another process holds it for longer than `wait_s`, and
        `DependencyDown`.
        """
        self._acquire(wait_s, say)
        stop = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(stop,), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            stop.set()
            renewing.join()
            self._release()

    def require(self, doing: str) -> timedelta:
        """Renew it, right before a write; how long that write may take.

        That is two thirds of how long the lease lasts: what is left is for the server, between
        checking that and having written. Raises `BillingLeaseLost` where it is gone.
        """
        try:
            with redis_errors(f"asking for the lease to bill, before writing {doing}"):
                self._lock.extend(self._lease_s, replace_ttl=True)
        except LockError:
            msg = (
                f"expected to hold the lease to bill before writing {doing}, got it held by "
                f"{self._holder() or 'nobody'}: this process stood still for too long. Nothing is "
                "lost; repeat the command"
            )
            raise BillingLeaseLost(msg) from None
        return timedelta(seconds=self._lease_s) * 2 / 3

    def _acquire(self, wait_s: float, say: Callable[[str], None]) -> None:
        until = time.monotonic() + wait_s
        is_told = False
        while True:
            with redis_errors("asking for the lease to bill"):
                if self._lock.acquire(blocking=False, token=self._token):
                    return
                holder = self._holder()
            if time.monotonic() > until:
                msg = f"expected nobody else to bill, got {holder}; repeat the command later"
                raise BillingLeaseLost(msg)
            if holder and not is_told:
                say(f"waiting for {holder}")
                is_told = True
            time.sleep(_POLL_S)

    def _renew(self, stop: threading.Event) -> None:
        while not stop.wait(self._lease_s / _RENEWALS):
            with suppress(BillingLeaseLost, DependencyDown):  # whoever writes next hears of it
                self.require("anything")

    def _release(self) -> None:
        with (
            suppress(LockError, DependencyDown),  # it is gone, or runs out by itself
            redis_errors("giving the lease to bill back"),
        ):
            self._lock.release()

    def _holder(self) -> str:
        with redis_errors("asking who holds the lease to bill"):
            found = self._redis.get(self._key)
        return found.decode().partition(" ")[2] if isinstance(found, bytes) else ""

"""Whether watermarks told the truth while a load went on, and not only at its end.

A watermark says that all events of a partition that occurred before it, and came on time, stand
before the offset it was written with. So none that comes later in the log may have occurred before.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import NamedTuple

from clickhouse_connect.driver.exceptions import ClickHouseError

from loadtest.clickhouse import ClickHouse

_EVERY_S = 0.1


class Claim(NamedTuple):
    """A partition is complete to `watermark_ms` (Unix) with all before `next_offset`."""

    partition: int
    next_offset: int
    watermark_ms: int


class Arrival(NamedTuple):
    """An event that came on time; where it stands, and when it occurred (Unix milliseconds)."""

    partition: int
    offset: int
    occurred_ms: int


class Completeness:
    """Asks in a thread of its own what is said to be complete, until `stop`."""

    def __init__(self, connect: Callable[[], ClickHouse]) -> None:
        """Start; `connect` is called anew after every error."""
        self._connect = connect
        self._claims: set[Claim] = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="completeness", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._is_over.set()
        self._thread.join()

    def broken(self, arrivals: Sequence[Arrival]) -> list[str]:
        """A sentence for each partition about which something untrue was said."""
        return broken_claims(sorted(self._claims), arrivals)

    def _ask(self) -> None:
        client: ClickHouse | None = None
        while not self._is_over.wait(_EVERY_S):
            try:
                client = client or self._connect()
                self._claims |= {Claim(*row) for row in client.watermarks()}
            except (ClickHouseError, OSError):  # it is hurt now
                client = None


def broken_claims(claims: Sequence[Claim], arrivals: Sequence[Arrival]) -> list[str]:
    """The first untrue claim of each partition, with the event that it denies."""
    found = []
    for partition in sorted({claim.partition for claim in claims}):
        ours = sorted(each[1:] for each in arrivals if each.partition == partition)
        offsets = [offset for offset, _ in ours]
        # From each place in the log on: the earliest occurrence.
        earliest = list(accumulate((moment for _, moment in reversed(ours)), min))[::-1]
        for claim in (each for each in claims if each.partition == partition):
            at = bisect_left(offsets, claim.next_offset)
            with suppress(IndexError):
                if earliest[at] < claim.watermark_ms:
                    found.append(
                        f"partition {partition}: said to be complete to {claim.watermark_ms} at"
                        f" offset {claim.next_offset}, an event on time behind it is of"
                        f" {earliest[at]}"
                    )
                    break
    return found

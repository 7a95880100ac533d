"""Windows and calendar months: half-open ranges of `occurred_at`, named by their start.

All are Unix seconds UTC. A window is one hour, cut where a part of a billing period begins; the
calendar month in UTC is the billing period of a customer that never had a subscription.
"""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

WINDOW_SECONDS = 3600
#: Start of 1971: usage did not occur before, so that no billing period begins before Unix time,
#: wherever its customer is and whatever its anchor day.
FIRST_SECOND = 365 * 86_400
_WINDOW_US = WINDOW_SECONDS * 1_000_000


def window_starts(occurred_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Start of the hour that holds each moment (Unix microseconds in, seconds out)."""
    return (occurred_us // _WINDOW_US) * WINDOW_SECONDS


def hour_of(moment: int) -> int:
    """Start of the hour that holds a moment."""
    return moment - moment % WINDOW_SECONDS


def period_starts(occurred_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Start of the calendar month (UTC) that holds each moment (microseconds in, seconds out)."""
    if len(occurred_us):
        first = period_start(int(occurred_us.min()) // 1_000_000)
        if int(occurred_us.max()) < period_end(first) * 1_000_000:
            return np.full(len(occurred_us), first, np.int64)
    months = occurred_us.view("datetime64[us]").astype("datetime64[M]")
    return months.astype("datetime64[s]").astype(np.int64)


def period_ends(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """First moment after each of the months that start at `starts`."""
    if len(starts) and starts.min() == starts.max():
        return np.full(len(starts), period_end(int(starts[0])), np.int64)
    months = starts.view("datetime64[s]").astype("datetime64[M]") + np.timedelta64(1, "M")
    return months.astype("datetime64[s]").astype(np.int64)


def period_start(moment: int) -> int:
    """Start of the month that holds a moment."""
    start = datetime.fromtimestamp(moment, UTC)
    return int(datetime(start.year, start.month, 1, tzinfo=UTC).timestamp())


def period_end(period_start: int) -> int:
    """First moment after the month that starts at `period_start`."""
    start = datetime.fromtimestamp(period_start, UTC)
    year, month = divmod(start.year * 12 + start.month, 12)
    return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp())

"""The clock, and moments as people read them."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """Unix microseconds UTC."""
    return (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1)


def moment_text(moment_ms: int) -> str:
    """Unix milliseconds as RFC 3339 in UTC, to the second; "never" for 0."""
    if not moment_ms:
        return "never"
    return f"{_EPOCH + timedelta(milliseconds=moment_ms):%Y-%m-%dT%H:%M:%SZ}"

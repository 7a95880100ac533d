"""Where to resume a partition, or why that is impossible; pure."""

from dataclasses import dataclass

from metering.errors import LogBeginsLater, OffsetsNotThere


@dataclass(frozen=True, slots=True)
class LogRange:
    """What the log holds of one partition: `low` inclusive, `high` exclusive."""

    low: int
    high: int


def resume_offset(name: str, *, committed: int | None, durable: int | None, log: LogRange) -> int:
    """The offset to read next.

    `committed` is the group's offset, `durable` the next offset after what ClickHouse holds; None
    where there is none. The lower one wins: reading again is harmless, and a ClickHouse that was
    set back to a backup reads again what it lost. Without a commit the log is read from its start.

    Raises `OffsetsNotThere` when that offset is outside the log.
    """
    if committed is None:
        if durable is not None and durable < log.low:
            raise _missing(name, durable, log)
        if durable is not None and durable > log.high:
            raise OffsetsNotThere(_beyond(name, durable, log))
        return log.low
    wanted = committed if durable is None else min(committed, durable)
    if durable is None and committed > log.low:
        # Another database: everything the log still holds is new to it.
        wanted = log.low
    if wanted < log.low:
        raise _missing(name, wanted, log)
    if max(committed, durable or 0) > log.high:
        raise OffsetsNotThere(_beyond(name, max(committed, durable or 0), log))
    return wanted


def _missing(name: str, wanted: int, log: LogRange) -> LogBeginsLater:
    message = (
        f"{name}: expected to resume at offset {wanted}, but the log begins at {log.low}: "
        f"{log.low - wanted} offsets are missing (retention?). Nothing was skipped. Restore them "
        f"with `meterline backfill`, then accept the loss of this range with "
        f"`meterline run --accept-gap {name}={log.low}`"
    )
    return LogBeginsLater(message, wanted=wanted, low=log.low)


def _beyond(name: str, wanted: int, log: LogRange) -> str:
    return (
        f"{name}: expected to resume at offset {wanted}, but the log ends at {log.high}: "
        f"{wanted - log.high} offsets are missing: the topic was truncated. Nothing was skipped, "
        f"but offsets of this topic no longer mean what was recorded. Copy what is new to a topic "
        f"created afresh under this name, and accept its id with `meterline run --accept-topic`"
    )

"""Is the archive whole? Compared with what Kafka holds and with what ClickHouse counted; pure."""

from typing import NamedTuple

from sinks.archive_verify import Verified
from sinks.conservation.findings import Cut


class KafkaRange(NamedTuple):
    """What a log holds of one partition: `low` inclusive, `high` exclusive."""

    low: int
    high: int


def check_whole(
    found: Verified, ranges: dict[tuple[str, int], KafkaRange], *, cuts: list[Cut]
) -> None:
    """Add what the archive lacks to the findings, and what it only does not have yet to the notes.

    `ranges` are of the topics as they are now, by stream and partition; `cuts` of all streams that
    were counted. Both were read before the archive was.
    """
    for key, log in sorted(ranges.items()):
        _against_kafka(found, key, log=log)
    for cut in cuts:
        _against_counted(found, cut, log=ranges.get((cut.stream, cut.partition)))


def _against_kafka(found: Verified, key: tuple[str, int], *, log: KafkaRange) -> None:
    place = f"{key[0]}/{key[1]}"
    if key not in found.logs:
        if log.high:
            found.notes.append(f"{place}: nothing is archived yet of {log.high - log.low} offsets")
        return
    _, end = found.logs[key]
    if end < log.low:
        sentence = (
            f"expected the log to begin at offset {end} at the latest, got {log.low}: "
            f"{log.low - end} offsets were deleted before they were archived"
        )
        found.find("lost_before_archived", place, sentence=sentence)
    elif end > log.high:
        sentence = f"expected the log to reach offset {end}, got {log.high}: it was truncated"
        found.find("log_truncated", place, sentence=sentence)
    elif end < log.high:
        found.notes.append(f"{place}: {log.high - end} offsets are not archived yet")


def _against_counted(found: Verified, cut: Cut, *, log: KafkaRange | None) -> None:
    key, place = (cut.stream, cut.partition), f"{cut.stream}/{cut.partition}"
    first, end = found.logs.get(key, (cut.next_offset, cut.first_offset))
    if key in found.logs and first > cut.first_offset:
        sentence = (
            f"expected the archive to begin at offset {cut.first_offset}, where counting began, "
            f"got {first}: {first - cut.first_offset} offsets are not in it"
        )
        found.find("begins_later", place, sentence=sentence)
    if end < cut.next_offset and (log is None or log.low > end):
        sentence = (
            f"expected offsets up to {cut.next_offset - 1}, which were counted, got them up to "
            f"{end - 1}; no log holds the rest any more"
        )
        found.find("not_archived", place, sentence=sentence)

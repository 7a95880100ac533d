"""What `meterline archive verify` compares the archive with."""

from dataflows.archive_source import log_ranges, topic_ids
from metering.settings import Settings
from sinks.archive_reader import ArchiveReader
from sinks.archive_store import ArchiveStore
from sinks.archive_verify import Verified, verify_archive
from sinks.archive_whole import KafkaRange, check_whole
from sinks.clickhouse import connect_clickhouse
from sinks.conservation.cuts import read_cuts
from sinks.progress import stream_name


def checked(settings: Settings, store: ArchiveStore, *, offline: bool) -> Verified:
    """The archive by itself, then against Kafka and ClickHouse. Raises `DependencyDown`."""
    # What is counted and what the log holds are read first: the archive may only be ahead.
    ranges = {} if offline else _kafka(settings)
    client = None if offline else connect_clickhouse(settings)
    cuts = [] if client is None else read_cuts(client)
    found = verify_archive(ArchiveReader(store))
    if client is not None:
        check_whole(found, ranges, cuts=cuts)
        client.close()
    return found


def _kafka(settings: Settings) -> dict[tuple[str, int], KafkaRange]:
    topics = [settings.events_topic, settings.rejected_topic]
    ids = topic_ids(settings, topics)
    return {
        (stream_name(topic, ids[topic]), partition): KafkaRange(low, high)
        for (topic, partition), (low, high) in log_ranges(settings, topics).items()
    }

"""The archive as the reconciler reads it: every message of it, decoded by the catalog as it is."""

from collections.abc import Iterator

from cli.archive import store_of
from metering.batch import EventBatch, RawBatch, Source
from metering.catalog import Catalog
from metering.decode import Decoder
from metering.errors import PermanentError
from metering.settings import Settings
from reconcile.archived import Archive
from sinks.archive_entry import ArchiveEntry
from sinks.archive_reader import ArchiveReader


def open_archive(settings: Settings, *, catalog: Catalog) -> Archive:
    """The archive of the settings.

    Raises `ArchiveBroken` where its chain breaks, `PermanentError` where it holds no events.
    """
    reader = ArchiveReader(store_of(settings, None))
    logs = [entries for entries in reader.manifests() if entries[0].log.kind != "rejected"]
    if not logs:
        msg = f"archive {reader.store.uri}: expected archived events, got none"
        raise PermanentError(msg)
    ends = {(log[-1].log.stream, log[-1].log.partition): log[-1].next_offset for log in logs}
    decoder = Decoder(catalog, settings)
    return Archive(reader.store.uri, lambda: _decoded(reader, logs, decoder=decoder), ends)


def _decoded(
    reader: ArchiveReader, logs: list[list[ArchiveEntry]], *, decoder: Decoder
) -> Iterator[EventBatch]:
    for entries in logs:
        source = Source(entries[0].log.stream, entries[0].log.partition, 0)
        for entry in entries:
            for records in reader.records(entry):
                first, following = records.offsets[0], records.offsets[-1] + 1
                yield decoder.decode(
                    RawBatch(
                        source, records.offsets, records.times_ms, records.values, first, following
                    )
                )

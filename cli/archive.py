"""`meterline archive`: the log as files, for ever."""

import signal
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from cli.archive_checks import checked
from cli.context import JsonOption, console, settings_with, stderr
from cli.run import accepted_gap
from dataflows.archiver import Archiver
from dataflows.health import Health, HealthServer
from dataflows.kafka_reader import kafka_config
from metering.errors import PermanentError
from metering.metrics import WorkerMetrics
from metering.settings import Settings
from sinks.archive_entry import ArchiveEntry
from sinks.archive_reader import ArchiveReader
from sinks.archive_store import ArchiveStore, open_store
from sinks.archive_verify import Verified
from sinks.consumer_group import ConsumerGroup
from sinks.metrics_target import MetricsTarget

app = typer.Typer(
    help="Every message as it was received, in Parquet files: written, listed, proved.",
    no_args_is_help=True,
)
UriOption = Annotated[
    str | None,
    typer.Option(
        "--to", "--from", help="Folder or s3://bucket/prefix. Default: METERLINE_ARCHIVE."
    ),
]


def store_of(settings: Settings, uri: str | None) -> ArchiveStore:
    """The archive that was named, or that of the settings. Raises `SettingsInvalid`."""
    return open_store(settings.archive if uri is None else uri)


@app.command("run")
def run_command(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Archive what the log holds now, and end.")
    ] = False,
    uri: UriOption = None,
    accept_gap: Annotated[
        list[str] | None,
        typer.Option(help="TOPIC[PARTITION]=OFFSET: go on where the log begins, accepting a loss."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the events topic and the rejected topic to files, message by message as received.

    A file is written when METERLINE_ARCHIVE_FILE_BYTES_MAX wait, or for
    METERLINE_ARCHIVE_FILE_WAIT. Several processes share the partitions. Stops on SIGTERM and
    Ctrl-C, after writing what was read. Harmless to repeat: it goes on where the manifest ends.

    Exit codes: 0 stopped, or with --once everything is archived; 2 the log does not hold what
    comes next; 75 (with --once) a server does not answer.

    Example: meterline archive run --to s3://usage-history/live
    """
    settings = settings_with()
    store = store_of(settings, uri)
    health = Health(WorkerMetrics())
    gaps = dict(accepted_gap(text) for text in accept_gap or [])
    archiver = Archiver(settings, store, health, gaps=gaps)
    if once:
        _require_alone(settings)
        written = archiver.run_once()
        if as_json:
            console.print_json(orjson.dumps([_summary(each) for each in written]).decode())
        else:
            rows = sum(each.rows for each in written)
            console.print(f"{len(written)} files with {rows} messages written to {store.uri}")
        return
    _follow(settings, archiver, health=health, uri=store.uri)


@app.command("list")
def list_command(*, uri: UriOption = None, as_json: JsonOption = False) -> None:
    """What is archived: for each partition its range of offsets, files, messages and chain hash.

    The chain hash stands for everything up to there: kept elsewhere, it proves later that nothing
    of it was changed. Exit codes: 0 listed; 2 the manifest is broken; 75 it does not answer.

    Example: meterline archive list --from s3://usage-history/live --json
    """
    reader = ArchiveReader(store_of(settings_with(), uri))
    logs = reader.manifests()
    if as_json:
        console.print_json(orjson.dumps([_log_summary(entries) for entries in logs]).decode())
        return
    table = Table("stream", "partition", "offsets", "files", "messages", "bytes", "chain")
    for entries in logs:
        row = _log_summary(entries)
        offsets = f"{row['first_offset']} .. {row['next_offset'] - 1}"
        counts = (row[name] for name in ("partition", "files", "rows", "bytes"))
        partition, files, rows, size = map(str, counts)
        table.add_row(row["stream"], partition, offsets, files, rows, size, row["chain"][:16])
    console.print(table)


@app.command("verify")
def verify_command(
    *,
    uri: UriOption = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Look at the archive alone, not at Kafka, ClickHouse.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove the archive: every checksum, the chain of entries, every offset; and that it is whole.

    Compared with Kafka (what it holds of the logs) and ClickHouse (what was counted): nothing may
    be missing that neither holds any more. Right while it is being written.

    Exit codes: 0 it holds; 1 it does not; 75 a server does not answer.

    Example: meterline archive verify --json | jq .holds
    """
    settings = settings_with()
    found = checked(settings, store_of(settings, uri), offline=offline)
    if as_json:
        console.print_json(orjson.dumps(_as_dict(found)).decode())
    else:
        _print(found)
    if not found.holds:
        raise typer.Exit(1)


def _follow(settings: Settings, archiver: Archiver, *, health: Health, uri: str) -> None:
    server = HealthServer(health, settings.http_host, settings.http_port)
    target = MetricsTarget(settings, job="meterline-archive", port=server.port)
    stderr.print(
        f"archiving {settings.events_topic} and {settings.rejected_topic} to {uri}; "
        f"http://{settings.http_host}:{server.port}/readyz"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: archiver.stop())
    try:
        archiver.run()
    finally:
        target.withdraw()
        server.close()
    if health.waiting_for:
        stderr.print(f"stopped while waiting for {health.waiting_for}; the next run goes on")
        raise typer.Exit(75)
    stderr.print("stopped; everything read is archived")


def _require_alone(settings: Settings) -> None:
    group = ConsumerGroup(
        kafka_config(settings), group=settings.archive_group_id, topic=settings.events_topic
    )
    members = group.view().members
    if members:
        msg = (
            f"group {settings.archive_group_id}: expected nobody who archives beside --once, got "
            f"{members} members; they keep the archive up to date by themselves"
        )
        raise PermanentError(msg)


def _summary(entry: ArchiveEntry) -> dict[str, Any]:
    return {
        "file": entry.file, "stream": entry.log.stream, "partition": entry.log.partition,
        "first_offset": entry.first_offset, "next_offset": entry.next_offset, "rows": entry.rows,
        "bytes": entry.size_bytes, "sha256": entry.sha256,
    }  # fmt: skip


def _log_summary(entries: list[ArchiveEntry]) -> dict[str, Any]:
    log = entries[0].log
    return {
        "stream": log.stream, "partition": log.partition, "kind": log.kind, "topic": log.topic,
        "topic_id": log.topic_id, "first_offset": entries[0].first_offset,
        "next_offset": entries[-1].next_offset, "files": len(entries),
        "rows": sum(entry.rows for entry in entries),
        "bytes": sum(entry.size_bytes for entry in entries),
        "lost": sum(
            gap.next_offset - gap.first_offset
            for entry in entries
            for gap in entry.gaps
            if gap.reason == "lost"
        ),
        "chain": entries[-1].chain,
    }  # fmt: skip


def _as_dict(found: Verified) -> dict[str, Any]:
    return {
        "holds": found.holds,
        "files": found.files,
        "rows": found.rows,
        "findings": [
            {"kind": each.kind, "place": each.place, "sentence": each.sentence}
            for each in found.findings
        ],
        "notes": found.notes,
    }


def _print(found: Verified) -> None:
    for each in found.findings:
        console.print(f"{each.kind}: {each.place}: {each.sentence}", style="red", markup=False)
    for note in found.notes:
        console.print(note, markup=False)
    verdict = "the archive holds" if found.holds else f"{len(found.findings)} findings"
    console.print(f"{verdict}: {found.files} files, {found.rows} messages looked at")

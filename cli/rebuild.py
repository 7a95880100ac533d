"""`meterline rebuild`: an empty ClickHouse filled from the archive."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from cli.archive import store_of
from cli.context import CatalogOption, JsonOption, console, settings_with, stderr
from cli.places import moment
from dataflows.archive_source import log_ranges
from dataflows.catalog_watch import store_versions
from dataflows.kafka_reader import kafka_config
from dataflows.rebuild import Rebuild
from dataflows.replay import Counts
from dataflows.runner import tune_memory
from metering.errors import DependencyDown, PermanentError
from metering.settings import Settings
from rating_engine.price_book.load import load_price_book
from sinks.archive_reader import ArchiveReader
from sinks.consumer_group import ConsumerGroup
from sinks.migrate import migrate


def rebuild_command(
    *,
    uri: Annotated[
        str | None,
        typer.Option("--from", help="Folder or s3://bucket/prefix. Default: METERLINE_ARCHIVE."),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(help="Namespace to rebuild into. Default: METERLINE_NAMESPACE."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Leave out what arrived from then on (RFC 3339, or an age).")
    ] = None,
    as_json: JsonOption = False,
    catalog: CatalogOption = None,
) -> None:
    """Rebuild raw history, outcomes, totals and charges in an empty database from the archive.

    Every message is counted at its own offset and record time, by the catalog as it is now; the
    dedup memory of the namespace is emptied first. Workers of it must be stopped; started
    afterwards, they go on where the archive ends. Interrupted, it goes on when it is repeated.

    Exit codes: 0 done (or done before); 2 the database is not empty, or the archive is broken;
    75 a server does not answer: repeat the command.

    Example: meterline rebuild --from s3://usage-history/live --into restored
    """
    settings = settings_with(catalog)
    store = store_of(settings, uri)
    if into is not None:
        settings = Settings.model_validate({**settings.model_dump(), "namespace": into})
    _require_no_workers(settings)
    book = load_price_book(settings.catalog)
    migrate(settings)
    store_versions(settings, book)
    rebuild = Rebuild(
        settings, book, ArchiveReader(store),
        until=None if until is None else moment(until, datetime.now(UTC)),
    )  # fmt: skip
    tune_memory()
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Bars(*columns, TimeRemainingColumn(), console=stderr, transient=True) as bars:
        task = bars.add_task(settings.database, total=1.0)
        is_new = rebuild.run(lambda share: bars.update(task, completed=share))
    took_s = time.monotonic() - began
    _report(settings, rebuild.counts, took_s=took_s if is_new else None, as_json=as_json)


def _require_no_workers(settings: Settings) -> None:
    topic = settings.events_topic
    group = ConsumerGroup(kafka_config(settings), group=settings.group_id, topic=topic)
    try:
        # Where there is no topic, nobody reads it.
        members = group.view().members if log_ranges(settings, [topic]) else 0
    except DependencyDown as error:
        stderr.print(f"{error}; make sure that no worker of {settings.group_id} runs")
        return
    if members:
        msg = (
            f"group {settings.group_id}: expected no workers while its database is rebuilt, got "
            f"{members}. Stop them, then repeat this; start them again afterwards"
        )
        raise PermanentError(msg)


def _report(settings: Settings, counts: Counts, *, took_s: float | None, as_json: bool) -> None:
    """`took_s` is None where it was done before."""
    names = ("accepted", "duplicates", "conflicts", "rejected", "suppressed", "absorbed")
    found: dict[str, Any] = {name: getattr(counts, name) for name in names}
    if as_json:
        took = {"done_before": took_s is None, "seconds": round(took_s or 0, 3)}
        text = orjson.dumps({"database": settings.database, **took, **found})
        console.print_json(text.decode())
        return
    if took_s is None:
        console.print(f"{settings.database} was rebuilt before; nothing was done")
        return
    told = ", ".join(f"{count} {name}" for name, count in found.items() if count)
    console.print(f"{settings.database} is rebuilt: {told or 'all was durable'}")
    events = sum(found.values())
    console.print(f"{events} events in {took_s:.1f} s: {events / max(took_s, 0.001):.0f} a second")
    console.print("next: `meterline verify`, then start the workers")

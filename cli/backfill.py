"""`meterline backfill`: events from files."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from cli.context import CatalogOption, JsonOption, console, settings_with, stderr
from dataflows.backfill import Backfill, open_rows, register_backfill
from dataflows.backfill_archive import archive_rows
from dataflows.backfill_rows import RowFile
from dataflows.catalog_watch import store_versions
from dataflows.replay import Counts
from metering.settings import Settings
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from sinks.archive_store import open_store
from sinks.clickhouse import connect_clickhouse
from sinks.progress import Progress, StreamRecord


def backfill_command(
    files: Annotated[list[Path], typer.Argument(help="NDJSON, CSV or Parquet files, in order.")],
    *,
    stream: Annotated[
        str | None,
        typer.Option(help="Name of the stream, for one file. Default: its content's digest."),
    ] = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Read rows again that are durable already.")
    ] = False,
    as_json: JsonOption = False,
    catalog: CatalogOption = None,
) -> None:
    """Count the events in files, each once, through the same steps as the live stream.

    Every file is a stream of its own. What the live stream or another file counted before is a
    duplicate here. Harmless to repeat: interrupted, it goes on where it is durable; finished, it
    changes nothing. Rows that cannot be counted become rejections (`meterline rejects list`).

    With METERLINE_ARCHIVE the rows are archived before they are counted.

    CSV and Parquet have the columns id, customer_id, subject, meter, quantity, occurred_at,
    source, batch_id, schema_version, and dimensions (JSON) or dimensions.NAME. A Parquet file of
    the archive is read as the messages that it holds.

    Exit codes: 0 all rows are accounted for; 2 a file cannot be read as events; 75 a server does
    not answer, or another run of it took over: repeat the command.

    Example: meterline backfill 2026-10.ndjson 2026-11.parquet
    """
    if stream is not None and len(files) != 1:
        msg = f"--stream names one stream: expected one file, got {len(files)}"
        raise typer.BadParameter(msg)
    settings = settings_with(catalog)
    known = load_price_book(settings.catalog)
    store_versions(settings, known)
    opened = [(path, open_rows(path)) for path in files if _must_exist(path)]
    summaries = []
    for path, rows in opened:
        record = _registered(settings, path, stream)
        if settings.archive:
            archive_rows(settings, open_store(settings.archive), record=record, rows=rows)
        summary = _backfill(settings, known, record, rows, path=path, from_start=from_start)
        summaries.append(summary)
        if not as_json:
            console.print(_sentence(summary), markup=False)
    if as_json:
        console.print_json(orjson.dumps(summaries).decode())


def _registered(settings: Settings, path: Path, name: str | None) -> StreamRecord:
    client = connect_clickhouse(settings)
    try:
        return register_backfill(Progress(client), path, name=name)
    finally:
        client.close()


def _backfill(
    settings: Settings, book: PriceBook, record: StreamRecord, rows: RowFile, *,
    path: Path, from_start: bool,
) -> dict[str, Any]:  # fmt: skip
    run = Backfill(settings, book, record=record)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    try:
        with Bars(*columns, TimeRemainingColumn(), console=stderr, transient=True) as bars:
            task = bars.add_task(path.name, total=1.0)
            counts = run.run(
                rows, from_start=from_start,
                say=lambda share: bars.update(task, completed=share),
            )  # fmt: skip
    finally:
        run.close()
    return {"file": str(path), "stream": record.stream, **_as_dict(counts)}


def _must_exist(path: Path) -> bool:
    if not path.is_file():
        msg = f"{path}: expected a file, got nothing there"
        raise typer.BadParameter(msg)
    return True


def _as_dict(counts: Counts) -> dict[str, int]:
    names = ("accepted", "duplicates", "conflicts", "rejected", "suppressed", "absorbed", "skipped")
    return {name: getattr(counts, name) for name in names}


def _sentence(summary: dict[str, Any]) -> str:
    told = ", ".join(
        f"{summary[name]} {word}"
        for name, word in (
            ("accepted", "accepted"), ("duplicates", "duplicates"), ("conflicts", "conflicts"),
            ("rejected", "rejected"), ("suppressed", "suppressed"),
            ("absorbed", "counted before"),
        )
        if summary[name] or name == "accepted"
    )  # fmt: skip
    resumed = f"; resumed at row {summary['skipped']}" if summary["skipped"] else ""
    return f"{summary['file']}: {told}{resumed} (stream {summary['stream']})"

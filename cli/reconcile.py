"""`meterline reconcile`: proves usage, invoices, exports and ledger against each other."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.context import CatalogOption, JsonOption, acting, console, settings_with, stderr
from cli.reconcile_archive import open_archive
from cli.reconcile_output import json_pieces, print_run
from metering.errors import PermanentError, SettingsInvalid
from metering.metrics import ReconciliationMetrics
from metering.settings import Settings
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from reconcile.gauges import newest_runs, set_gauges, write_textfile
from reconcile.ledger_rows import LedgerMapping, read_ledger_mapping
from reconcile.mapping import FileMapping, read_mapping
from reconcile.own_periods import OwnPeriods
from reconcile.part import Part
from reconcile.period import month_of
from reconcile.policy import Policy, read_policy
from reconcile.report_csv import write_exceptions
from reconcile.report_html import write_html
from reconcile.result import Reconciliation
from reconcile.review_records import review_rows
from reconcile.run import Books, Say, read_files, reconcile
from reconcile.store import write_findings, write_frame, write_run
from sinks.clickhouse import clickhouse_errors, connect_clickhouse

#: A query over all of raw history takes its time.
_ANSWER_S = 3600


def reconcile_command(
    *,
    period: Annotated[str, typer.Option(help="A month: periods that begin in it, like 2026-06.")],
    export: Annotated[
        Path | None, typer.Option(help="Export of the billing system: CSV, JSONL or Parquet.")
    ] = None,
    mapping: Annotated[
        str, typer.Option(help="What its columns are: generic, stripe, or a YAML file.")
    ] = "generic",
    gl: Annotated[Path | None, typer.Option("--gl", help="Postings of the general ledger.")] = None,
    gl_mapping: Annotated[
        Path | None, typer.Option(help="YAML file: columns, and the account of each meter.")
    ] = None,
    archive: Annotated[
        bool, typer.Option("--archive", help="Take usage from METERLINE_ARCHIVE.")
    ] = False,
    tolerances: Annotated[
        Path | None, typer.Option(help="YAML file: what may differ, per meter.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report to read and to print.")] = None,
    exceptions: Annotated[Path | None, typer.Option(help="Write all findings as CSV.")] = None,
    textfile: Annotated[
        Path | None, typer.Option(help="Write gauges for Prometheus' textfile collector.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Findings to show.")] = 50,
    actor: Annotated[str, typer.Option(help="Who runs it, for the record.")] = "",
    catalog: CatalogOption = None,
    as_json_: JsonOption = False,
) -> None:
    """Compare raw usage, totals, invoices, an export and ledger postings of a month.

    Every difference gets one class, an amount and a severity; the classes add up to the whole
    difference. The run, its findings and a review record for every customer and meter are stored.

    Exit codes: 0 all agree (or differ within tolerance); 1 findings; 2 a file, mapping, period or
    setting is wrong, and nothing was stored; 75 ClickHouse does not answer.

    Example: meterline reconcile --period 2026-06 --export june.csv --mapping generic --json
    """
    month_of(period)
    settings = settings_with(catalog)
    book = load_price_book(settings.catalog)
    rules = _Rules.read(mapping, gl_mapping, tolerances)
    books = Books(
        period=period, meters=book.catalog.meters, own=_own_periods(book), policy=rules.policy,
        export=export, export_mapping=rules.export, ledger=gl, ledger_mapping=rules.ledger,
        archive=open_archive(settings, catalog=book.catalog) if archive else None,
    )  # fmt: skip
    with _progress() as say:
        run = _run(settings, books, say=say, actor=acting(settings, actor))
    if html is not None:
        _written(html, lambda: write_html(html, run))
    if exceptions is not None:
        _written(exceptions, lambda: write_exceptions(exceptions, run.findings))
    if textfile is not None:
        client = connect_clickhouse(settings)
        metrics = ReconciliationMetrics()
        with clickhouse_errors("reading the newest reconciliation"):
            set_gauges(metrics, newest_runs(client))
        client.close()
        _written(textfile, lambda: write_textfile(textfile, metrics))
    if as_json_:
        console.file.writelines(json_pieces(run))
    else:
        print_run(console, run, limit=limit)
    if run.exit_code:
        raise typer.Exit(run.exit_code)


@dataclass(frozen=True, slots=True)
class _Rules:
    """Mappings and tolerances, whose faults are told together."""

    export: FileMapping
    ledger: LedgerMapping
    policy: Policy

    @classmethod
    def read(cls, mapping: str, gl_mapping: Path | None, tolerances: Path | None) -> "_Rules":
        """Raises `SettingsInvalid`."""
        faults: list[str] = []

        try:
            export = read_mapping(mapping)
        except SettingsInvalid as error:
            faults += error.faults
        try:
            ledger = read_ledger_mapping(gl_mapping)
        except SettingsInvalid as error:
            faults += error.faults
        try:
            policy = Policy() if tolerances is None else read_policy(tolerances)
        except SettingsInvalid as error:
            faults += error.faults
        if faults:
            raise SettingsInvalid(faults)
        return cls(export, ledger, policy)


def _run(settings: Settings, books: Books, *, say: Say, actor: str) -> Reconciliation:
    """Compare and store; files first, so that a wrong one leaves nothing behind."""
    say("files", 0)
    files = read_files(books)
    reader = connect_clickhouse(settings, answer_s=_ANSWER_S)
    client = connect_clickhouse(settings, answer_s=_ANSWER_S)
    run_id = f"reconcile-{books.period}-{uuid.uuid4().hex[:12]}"
    run = Reconciliation(run_id, books.period, datetime.now(UTC), inputs=list(files.inputs))

    def keep(part: Part) -> None:
        records = review_rows(
            client, part, policy=books.policy, run_id=run_id, now=datetime.now(UTC)
        )
        write_frame(client, "review_records_log", records)

    try:
        with clickhouse_errors("reconciling"):
            reconcile(reader, books, files=files, run=run, say=say, keep=keep)
            write_findings(client, run)
            write_run(client, run, actor=actor, now=datetime.now(UTC))
    finally:
        reader.close()
        client.close()
    return run


def _own_periods(book: PriceBook) -> OwnPeriods:
    """What the price book says about calendars and prices; the reconciler reckons by itself."""

    def calendar_of(customer_id: str) -> tuple[int, str] | None:
        calendar = book.calendar_of(customer_id)
        return None if calendar is None else (calendar.anchor_day, calendar.time_zone)

    return OwnPeriods(calendar_of, book.spans)


@contextmanager
def _progress() -> Iterator[Say]:
    columns = (SpinnerColumn(), TextColumn("{task.description:<34}"), BarColumn())
    with Progress(*columns, TimeElapsedColumn(), console=stderr, transient=True) as bars:
        task = bars.add_task("", total=100)
        yield lambda doing, done: bars.update(task, description=doing, completed=done)


def _written(path: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        msg = f"{path}: expected a place to write to, got: {error.strerror}"
        raise PermanentError(msg) from error

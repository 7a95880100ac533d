"""`meterline invoices`: what was issued, as tables, as files for others, and checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import orjson
import typer
from clickhouse_connect.driver.client import Client
from rich.markup import escape
from rich.table import Table

from billing.adjustment_export import exported_adjustments
from billing.adjustment_posting import chunks_of
from billing.credit_check import tampered_credits
from billing.invoice_check import InvoiceCheck, Tampered
from billing.invoice_export import amount_text, exported, row_of
from billing.issued import issued_periods, posted_periods
from billing.period_name import PeriodName
from cli.close import ANSWER_S
from cli.context import CatalogOption, JsonOption, console, settings_with, stderr
from cli.customer_progress import customer_progress
from cli.invoice_formats import ExportFormat, line_writer
from cli.moments import moment_text
from metering.errors import PermanentError
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from sinks.adjustment_rows import AdjustmentLineRow
from sinks.clickhouse import connect_clickhouse
from sinks.invoice_store import InvoiceStore
from sinks.posted_adjustments import posted_adjustments

app = typer.Typer(help="Issued invoices: list, show, export, verify.", no_args_is_help=True)

PeriodOption = Annotated[
    str, typer.Option("--period", help="Begins in 2026-06, or holds the day 2026-06-15; else all.")
]
CustomerOption = Annotated[
    list[str] | None, typer.Option("--customer", help="Only these; repeatable.")
]
_SHOWN_MAX = 50


class _Issued(NamedTuple):
    client: Client
    book: PriceBook
    store: InvoiceStore
    periods: list[tuple[str, int]]


@contextmanager
def _issued(period: str, customers: list[str] | None, *, catalog: Path | None) -> Iterator[_Issued]:
    name = PeriodName.read(period) if period else None
    settings = settings_with(catalog)
    book = load_price_book(settings.catalog)
    client = connect_clickhouse(settings, answer_s=ANSWER_S)
    try:
        periods = issued_periods(client, name, book=book, customers=customers or [])
        yield _Issued(client, book, InvoiceStore(client), periods)
    finally:
        client.close()


@app.command("list")
def list_command(
    *,
    period: PeriodOption = "",
    customer: CustomerOption = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Invoices with their totals, what was adjusted since, and what was credited for the period.

    Example: meterline invoices list --period 2026-06
    """
    with _issued(period, customer, catalog=catalog) as found:
        rows = [row for chunk in chunks_of(found.periods) for row in _listed(found.store, chunk)]
    if as_json:
        console.print_json(orjson.dumps(rows).decode())
        return
    table = Table(
        "customer", "period", "invoice", "lines", "total", "adjusted", "credited", "currency"
    )
    for row in rows:
        table.add_row(
            escape(str(row["customer_id"])), str(row["period_start"])[:10],
            str(row["invoice_id"]), str(row["lines"]), str(row["total"]), str(row["adjusted"]),
            str(row["credited"]), str(row["currency"]),
        )  # fmt: skip
    console.print(table if rows else "no invoices")


def _listed(store: InvoiceStore, periods: list[tuple[str, int]]) -> list[dict[str, Any]]:
    adjusted: dict[str, int] = {}
    for each in store.adjustments(periods):
        adjusted[each.invoice_id] = adjusted.get(each.invoice_id, 0) + each.total
    credited: dict[tuple[str, int, str], int] = {}
    for each in store.credits(periods):
        key = (each.customer_id, each.period_start, each.currency)
        credited[key] = credited.get(key, 0) + each.total
    return [
        {
            "customer_id": each.customer_id,
            "invoice_id": each.invoice_id,
            "period_start": moment_text(each.period_start * 1000),
            "period_end": moment_text(each.period_end * 1000),
            "lines": each.lines,
            "total": amount_text(each.total, each.minor_digits),
            "adjusted": amount_text(adjusted.get(each.invoice_id, 0), each.minor_digits),
            "credited": amount_text(
                credited.get((each.customer_id, each.period_start, each.currency), 0),
                each.minor_digits,
            ),
            "currency": each.currency,
            "lines_hash": each.lines_hash,
            "run_id": each.run_id,
            "catalog": each.catalog,
        }
        for each in store.invoices(periods)
    ]


@app.command("show")
def show_command(
    *,
    customer: Annotated[str, typer.Option("--customer", help="Whose invoice.")],
    period: PeriodOption = "",
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lines of a customer's invoices, of the adjustments to them, and of credits for them.

    Exit codes: 0 shown; 2 there is no invoice.

    Example: meterline invoices show --customer org_123 --period 2026-06
    """
    with _issued(period, [customer], catalog=catalog) as found:
        if not found.periods:
            msg = f"--customer: expected one with an invoice, got {customer!r} in {period or 'any'}"
            raise PermanentError(msg)
        invoices = found.store.invoices(found.periods)
        lines = found.store.lines(found.periods)
        adjustments = found.store.adjustment_lines(found.periods)
        given = found.store.adjustment_lines(found.periods, are_credits=True)
    digits = {each.period_start: each.minor_digits for each in invoices}
    document: dict[str, list[dict[str, Any]]] = {
        "lines": [dict(row_of(*each)) for each in exported(invoices, lines)],
        "adjustments": _shown(adjustments, digits),
        "credits": _shown(given, digits),
    }
    if as_json:
        console.print_json(orjson.dumps(document).decode())
        return
    table = Table("line", "kind", "meter", "group", "quantity", "overage", "amount", "currency")
    for row in document["lines"]:
        table.add_row(*(escape(str(row[name])) for name in (
            "line_id", "kind", "meter", "group", "quantity", "overage", "amount", "currency",
        )))  # fmt: skip
    for row in document["adjustments"] + document["credits"]:
        table.add_row(
            str(row["line_id"]), str(row["kind"]), escape(str(row["meter"])),
            escape(str(row["group"])), "", "", str(row["amount"]), str(row["currency"]),
        )  # fmt: skip
    console.print(table)


def _shown(lines: list[AdjustmentLineRow], digits: dict[int, int]) -> list[dict[str, Any]]:
    """Lines as people read them; `digits` are those of the currency, by start of the period."""
    return [
        {
            "line_id": each.line_id, "kind": each.kind, "meter": each.meter, "group": each.group,
            "amount": amount_text(each.amount, digits[each.period_start]),
            "currency": each.currency,
        }
        for each in lines
    ]  # fmt: skip


@app.command("export")
def export_command(
    *,
    period: PeriodOption = "",
    wanted: Annotated[
        ExportFormat, typer.Option("--format", help="What to write.")
    ] = ExportFormat.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", help="File to write; else standard output.")
    ] = None,
    customer: CustomerOption = None,
    catalog: CatalogOption = None,
) -> None:
    """Write what is to be paid: lines of issued invoices, and adjustments posted to the period.

    One row for each line. Those of adjustments and credits come last: their `invoice_id` is that of
    the adjustment, their period the one that was adjusted, quantities and amounts the differences.
    In CSV a text that a spreadsheet might take for a formula begins with an apostrophe.

    Exit codes: 0 written; 2 --format parquet without --output, or a number of more than 38 digits.

    Example: meterline invoices export --period 2026-06 --format parquet --output june.parquet
    """
    count = adjusted = 0
    name = PeriodName.read(period) if period else None
    with _issued(period, customer, catalog=catalog) as found, line_writer(wanted, output) as out:
        for chunk in chunks_of(found.periods):
            lines = list(exported(found.store.invoices(chunk), found.store.lines(chunk)))
            out.write(lines)
            count += len(lines)
        posted = posted_periods(found.client, name, book=found.book, customers=customer or [])
        for chunk in chunks_of(posted):
            adjustments = posted_adjustments(found.client, chunk)
            out.write(list(exported_adjustments(adjustments, book=found.book)))
            adjusted += len(adjustments)
    if output is not None:
        more = f" and {adjusted} adjustments" if adjusted else ""
        stderr.print(f"{count} lines of {len(found.periods)} invoices{more} written to {output}")


@app.command("verify")
def verify_command(
    *,
    period: PeriodOption = "",
    customer: CustomerOption = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Derive issued lines again, from raw history at their cut and from their rate cards.

    A raw event, a line, a rate card or an invoice that was changed since is found, and a credit
    that is not as it was applied.

    Exit codes: 0 everything comes out as it was issued; 1 something differs; 75 ClickHouse does not
    answer.

    Example: meterline invoices verify --period 2026-06
    """
    tampered: list[Tampered] = []
    with (
        _issued(period, customer, catalog=catalog) as found,
        customer_progress("verifying", is_shown=not as_json) as say,
    ):
        check = InvoiceCheck(found.client, found.book.catalog.meters, store=found.store)
        for chunk in chunks_of(found.periods):
            tampered += check.tampered(chunk)
            say(check.invoices, len(found.periods))
        tampered += tampered_credits(
            found.client, PeriodName.read(period) if period else None, book=found.book,
            customers=customer or [],
        )  # fmt: skip
    if as_json:
        document = {
            "invoices": check.invoices, "lines": check.lines, "holds": not tampered,
            "differing": len(tampered), "shown": [each._asdict() for each in tampered[:_SHOWN_MAX]],
        }  # fmt: skip
        console.print_json(orjson.dumps(document).decode())
    else:
        if tampered:
            table = Table("customer", "invoice", "line", "what", "issued", "derived now")
            for each in tampered[:_SHOWN_MAX]:
                table.add_row(*(escape(str(value)) for value in each))
            console.print(table)
        console.print(
            f"{check.invoices} invoices, {check.lines} lines: "
            + (f"{len(tampered)} differ" if tampered else "all come out as they were issued")
        )
    if tampered:
        raise typer.Exit(1)

"""`meterline adjust`: posts what late usage and retractions change in invoiced periods."""

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from billing.adjustment import Adjusted, Adjusting
from billing.closing import Asked
from billing.invoice_export import amount_text
from billing.late_differences import CustomerDifference
from billing.period_name import PeriodName
from cli.billing_options import CustomersOption, PeriodOption
from cli.close import ANSWER_S
from cli.context import CatalogOption, JsonOption, acting, console, settings_with
from cli.customer_progress import customer_progress
from cli.moments import moment_text, now_us
from cli.sole_biller import sole_biller
from metering.errors import PermanentError
from rating_engine.price_book.load import load_price_book
from sinks.adjustment_rows import AdjustmentRow
from sinks.clickhouse import connect_clickhouse
from sinks.invoice_store import InvoiceStore

_SHOWN_MAX = 50


def adjust_command(
    *,
    period: PeriodOption,
    customer: CustomersOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the differences, and post nothing.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "late usage",
    actor: Annotated[str, typer.Option("--actor", help="Who adjusts, for the record.")] = "",
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Post what came after the invoice, or was taken back since, as adjustments with their events.

    For every invoiced customer: the bill of all usage up to a new cut, less the invoice and all
    adjustments so far; charged in the customer's open period. Without anything new nothing is
    written. What was interrupted is completed with its own cut. One command that bills runs at a
    time; others wait for it.

    Exit codes: 0 adjusted, or there was nothing to adjust; 1 some customers would be charged other
    prices than they were billed by, and were left alone (`meterline correct rerate` bills that);
    2 a period that is none, or a catalog with faults; 75 ClickHouse does not answer.

    Example: meterline adjust --period 2026-06 --dry-run
    """
    settings = settings_with(catalog)
    book = load_price_book(settings.catalog)
    for each in customer or []:
        if each not in book.subscriptions:
            msg = f"--customer: expected one with a subscription, got {each!r}"
            raise PermanentError(msg)
    asked = Asked(PeriodName.read(period), acting(settings, actor), reason)
    client = connect_clickhouse(settings, answer_s=ANSWER_S)
    try:
        with sole_biller(settings, f"adjusting {asked.name.text} by {asked.actor}") as biller:
            store = InvoiceStore(client, biller.require)
            adjusting = Adjusting(client, book, store=store, now=now_us)
            differences: list[CustomerDifference] = []
            if dry_run:
                differences = adjusting.look(asked, customer or [])
            else:
                with biller.turn(), customer_progress("adjusting", is_shown=not as_json) as say:
                    adjusting.run(asked, customer or [], say=say)
    finally:
        client.close()
    adjusted = adjusting.adjusted
    if as_json:
        document = _document(asked, adjusted, differences=differences)
        console.print_json(orjson.dumps(document).decode())
    else:
        _tell(asked, adjusted, differences=differences)
    if adjusted.refused:
        raise typer.Exit(1)


def _document(
    asked: Asked, adjusted: Adjusted, *, differences: Sequence[CustomerDifference]
) -> dict[str, Any]:
    run = adjusted.run
    return {
        "period": asked.name.text,
        "run": None if run is None else run.run_id,
        "cut": [] if run is None else [each._asdict() for each in run.state.cut],
        "looked_at": adjusted.looked_at,
        "adjustments": [_posted(each) for each in adjusted.adjustments],
        "lines": adjusted.lines,
        "events": adjusted.events,
        "would_adjust": [
            {
                "customer_id": each.customer_id,
                "amount": amount_text(each.total, each.invoice.minor_digits),
                "currency": each.invoice.currency,
                "lines": len(each.lines),
            }
            for each in differences
        ],
        "refused": adjusted.refused,
        "resumed": [each.run_id for each in adjusted.resumed],
        "abandoned": [each.run_id for each in adjusted.abandoned],
    }


def _posted(each: AdjustmentRow) -> dict[str, Any]:
    return {
        "adjustment_id": each.adjustment_id,
        "customer_id": each.customer_id,
        "invoice_id": each.invoice_id,
        "amount": amount_text(each.total, each.minor_digits),
        "currency": each.currency,
        "posted_to": moment_text(each.posted_to * 1000),
        "lines": each.lines,
    }


def _tell(asked: Asked, adjusted: Adjusted, *, differences: Sequence[CustomerDifference]) -> None:
    for run in adjusted.abandoned:
        console.print(
            f"{run.run_id} was interrupted under another catalog ({run.catalog[:12]}): what it "
            "posted stands, the rest is worked out anew",
            markup=False,
        )
    for run in adjusted.resumed:
        console.print(f"{run.run_id} of {run.period} was interrupted and is complete now")
    table = Table("customer", "adjustment", "lines", "amount", "posted to")
    for row in adjusted.adjustments[:_SHOWN_MAX]:
        amount = f"{amount_text(row.total, row.minor_digits)} {row.currency}"
        posted_to = moment_text(row.posted_to * 1000)
        table.add_row(escape(row.customer_id), row.adjustment_id, str(row.lines), amount, posted_to)
    for each in differences[:_SHOWN_MAX]:
        amount = f"{amount_text(each.total, each.invoice.minor_digits)} {each.invoice.currency}"
        table.add_row(escape(each.customer_id), "(dry run)", str(len(each.lines)), amount, "")
    if table.row_count:
        console.print(table)
    if adjusted.refused:
        names = ", ".join(adjusted.refused[:_SHOWN_MAX])
        console.print(
            f"{len(adjusted.refused)} customers were left alone, since the catalog charges other "
            f"prices now than they were billed by: {names}. `meterline correct rerate` bills the "
            "difference",
            style="red", markup=False,
        )  # fmt: skip
    count = len(adjusted.adjustments)
    if count:
        console.print(
            f"{count} adjustments posted, {adjusted.lines} lines, {adjusted.events} events"
        )
    elif not differences and not adjusted.resumed:
        console.print(
            f"nothing to adjust in {asked.name.text}: {adjusted.looked_at} invoices looked at"
        )

"""`meterline close`: issues the invoices of a billing period that has ended."""

import time
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, NamedTuple

import orjson
import typer
from clickhouse_connect.driver.client import Client
from rich.markup import escape
from rich.table import Table

from billing.closing import Asked, Closed, Closing, Due
from billing.period_name import PeriodName
from cli.billing_options import CustomersOption, PeriodOption
from cli.context import CatalogOption, JsonOption, acting, console, settings_with, stderr
from cli.customer_progress import customer_progress
from cli.moments import moment_text, now_us
from cli.sole_biller import sole_biller
from metering.audit_chain import AuditEntry
from metering.correction import ReasonCode
from metering.errors import PeriodIncomplete, PermanentError
from metering.settings import Settings
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from sinks.audit import AuditLog
from sinks.billing_runs import RunStore
from sinks.clickhouse import connect_clickhouse
from sinks.invoice_store import InvoiceStore

ANSWER_S = 3600
_POLL_S = 2
_SHOWN_MAX = 50


def close_command(
    *,
    period: PeriodOption,
    customer: CustomersOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until usage is complete.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Close though it is not.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "",
    actor: Annotated[str, typer.Option("--actor", help="Who closes, for the record.")] = "",
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Issue the invoices of a billing period: from raw history, up to a cut, each once.

    For every subscribed customer whose period of that name has ended, in its own calendar. Takes
    how far each partition is durable as the cut, and compares with live totals first. What was
    interrupted is completed with its own cut. Once issued, an invoice never changes. One command
    that bills runs at a time; others wait for it.

    Exit codes: 0 closed, or there was nothing to close; 1 totals of some customers are not right
    (they have no invoice; see `meterline verify`); 2 a period that is none, an unknown customer, or
    --force without --reason; 75 usage is not complete yet, or ClickHouse does not answer.

    Example: meterline close --period 2026-06 --wait
    """
    if force and not reason.strip():
        msg = "--force: expected --reason TEXT beside it, got none"
        raise PermanentError(msg)
    settings = settings_with(catalog)
    book = load_price_book(settings.catalog)
    for each in customer or []:
        if each not in book.subscriptions:
            msg = f"--customer: expected one with a subscription, got {each!r}"
            raise PermanentError(msg)
    asked = Asked(PeriodName.read(period), acting(settings, actor), reason)
    client = connect_clickhouse(settings, answer_s=ANSWER_S)
    try:
        due, closed = _close(
            client, book, asked=asked, settings=settings,
            how=_How(sorted(set(customer or [])) or None, wait, force, not as_json),
        )  # fmt: skip
    finally:
        client.close()
    if as_json:
        console.print_json(orjson.dumps(_document(asked, due, closed=closed)).decode())
    else:
        _tell(asked, due, closed=closed)
    if closed.wrong:
        raise typer.Exit(1)


class _How(NamedTuple):
    """What a close is asked for beside the period; no `customers` means all."""

    customers: list[str] | None
    is_waiting: bool
    is_forced: bool
    is_shown: bool


def _close(
    client: Client, book: PriceBook, *, asked: Asked, settings: Settings, how: _How
) -> tuple[Due, Closed]:
    """Who is due is asked in the turn that closes: a hold of a moment ago counts."""
    runs = RunStore(client)
    is_told = False
    with sole_biller(settings, f"close of {asked.name.text} by {asked.actor}") as biller:
        store = InvoiceStore(client, biller.require)
        closing = Closing(client, book, store=store, now=now_us)
        while True:
            with biller.turn():
                with customer_progress("closing", is_shown=how.is_shown) as say:
                    closing.resume(say)
                due = closing.due(asked.name, how.customers)
                incomplete = _incomplete(runs, due, settings=settings)
                if how.is_forced and due.open:
                    audit = AuditLog(client, settings, now=partial(datetime.now, UTC))
                    audit.append(_forced(asked, due, complete_to_ms=runs.complete_to_ms()))
                    audit.close()
                if how.is_forced or not due.open or not incomplete:
                    with customer_progress("closing", is_shown=how.is_shown) as say:
                        return due, closing.close(due, asked, say=say)
            if not how.is_waiting:
                msg = f"{incomplete}. Close later, or --wait, or --force with a --reason"
                raise PeriodIncomplete(msg)
            if not is_told:
                stderr.print(f"waiting: {incomplete}", markup=False)
                is_told = True
            while _incomplete(runs, due, settings=settings):
                time.sleep(_POLL_S)


def _incomplete(runs: RunStore, due: Due, *, settings: Settings) -> str:
    """What is missing until usage is complete to the end and the grace; "" when nothing is."""
    wanted_ms = due.until_s * 1000 + int(settings.close_grace.total_seconds() * 1000)
    complete_to_ms = runs.complete_to_ms()
    if complete_to_ms >= wanted_ms:
        return ""
    return (
        f"usage is complete to {moment_text(complete_to_ms)}; expected "
        f"{moment_text(wanted_ms)}, the end of the period and a grace of {settings.close_grace}"
    )


def _forced(asked: Asked, due: Due, *, complete_to_ms: int) -> AuditEntry:
    before = {"complete_to": moment_text(complete_to_ms), "until": moment_text(due.until_s * 1000)}
    after = {"customers": len(due.open)}
    return AuditEntry(
        "period_closed_by_force", asked.name.text, asked.actor, str(ReasonCode.OTHER), asked.reason,
        orjson.dumps(before, option=orjson.OPT_SORT_KEYS).decode(), orjson.dumps(after).decode(),
    )  # fmt: skip


def _document(asked: Asked, due: Due, *, closed: Closed) -> dict[str, Any]:
    run = closed.run
    return {
        "period": asked.name.text,
        "run": None if run is None else run.run_id,
        "cut": [] if run is None else [each._asdict() for each in run.state.cut],
        "catalog": None if run is None else run.catalog,
        "invoices": closed.invoices,
        "lines": closed.lines,
        "totals": {code: str(closed.totals[code]) for code in sorted(closed.totals)},
        "issued_before": due.issued,
        "still_running": due.running,
        "held": sorted({*due.held, *closed.held}),
        "resumed": [each.run_id for each in closed.resumed],
        "abandoned": [each.run_id for each in closed.abandoned],
        "differing": len(closed.wrong),
        "differing_customers": sorted({each.customer_id for each in closed.wrong}),
        "shown": [each._asdict() for each in closed.wrong[:_SHOWN_MAX]],
    }


def _tell(asked: Asked, due: Due, *, closed: Closed) -> None:
    for each in closed.abandoned:
        console.print(
            f"{each.run_id} was interrupted under another catalog ({each.catalog[:12]}): what it "
            "issued stands, the rest is closed anew",
            markup=False,
        )
    for each in closed.resumed:
        console.print(f"{each.run_id} of {each.period} was interrupted and is complete now")
    if closed.wrong:
        console.print(_table(closed))
        console.print(
            f"{len({each.customer_id for each in closed.wrong})} customers have no invoice: their "
            "totals are not what raw history comes to. See meterline verify, and close again",
            style="red", markup=False,
        )  # fmt: skip
    totals = ", ".join(f"{closed.totals[code]} {code}" for code in sorted(closed.totals))
    if closed.invoices:
        console.print(f"{closed.invoices} invoices issued, {closed.lines} lines: {totals}")
    elif not closed.wrong and not closed.resumed:
        console.print(f"nothing to close in {asked.name.text}")
    if due.issued:
        console.print(f"{due.issued} customers had an invoice already")
    held = {*due.held, *closed.held}
    if held:
        console.print(
            f"{len(held)} invoices are held back: see `meterline correct list --kind hold` and "
            "`meterline review list --held`"
        )
    if due.running:
        at = moment_text(due.ends_s * 1000)
        console.print(f"{due.running} customers' periods have not ended; the next one does at {at}")


def _table(closed: Closed) -> Table:
    table = Table("customer", "meter", "group", "window", "from raw history", "total")
    for each in closed.wrong[:_SHOWN_MAX]:
        table.add_row(*map(escape, each))
    return table

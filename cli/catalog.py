"""`meterline catalog`: check the files, load their prices, publish the schemas for editors."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from cli.catalog_faults import fault_document
from cli.context import CatalogOption, JsonOption, acting, console, settings_with, stderr
from dataflows.catalog_load import LoadRefused, load_versions
from metering.errors import PermanentError, SettingsInvalid
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from rating_engine.price_book.schema import schema_text, schemas
from sinks.audit import AuditLog
from sinks.catalog_store import CatalogStore
from sinks.clickhouse import connect_clickhouse

app = typer.Typer(
    help="The files that say what is counted and what it costs.", no_args_is_help=True
)


@app.command("check")
def check_command(*, catalog: CatalogOption = None, as_json: JsonOption = False) -> None:
    """Check all files of a catalog together, and tell every fault at once. Needs no server.

    Exit codes: 0 everything is right; 1 there are faults.

    Example: meterline catalog check --catalog ./catalog --json | jq '.faults[]'
    """
    folder = settings_with(catalog).catalog
    try:
        book = load_price_book(folder)
    except SettingsInvalid as error:
        if as_json:
            _print_json({"holds": False, "faults": [fault_document(each) for each in error.faults]})
        else:
            for fault in error.faults:
                console.print(fault, markup=False)
            stderr.print(f"{folder} has faults; every one is told above", style="red", markup=False)
        raise typer.Exit(1) from None
    if as_json:
        _print_json({"holds": True, "faults": [], **_summary(book)})
    else:
        told = _summary(book)
        console.print(
            f"{folder}: {told['meters']} meters, {told['plans']} plans with "
            f"{len(told['versions'])} versions, {told['subscriptions']} subscriptions of "
            f"{told['customers']} customers; hash {book.content_hash}",
            markup=False,
        )


@app.command("load")
def load_command(
    *,
    catalog: CatalogOption = None,
    allow_edit: Annotated[
        bool, typer.Option("--allow-edit", help="Change prices that took effect; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")] = "",
    actor: Annotated[str, typer.Option("--actor", help="Who loads, for the record.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Check a catalog and store its price versions. Safe to repeat.

    A version that took effect is refused with other content, with the difference, and so is one
    that would take effect in the past. --allow-edit does it all the same and audits it: usage that
    was rated already is then rated differently when it is rated again. A catalog without a great
    part of the subscriptions that were there is refused as well: its file may have been cut off.

    Exit codes: 0 loaded; 2 faults in the files, or refused; 75 ClickHouse does not answer.

    Example: meterline catalog load --catalog ./catalog
    """
    settings = settings_with(catalog)
    book = load_price_book(settings.catalog)
    if allow_edit and not reason.strip():
        msg = "--allow-edit: expected --reason with a text, got none"
        raise PermanentError(msg)
    client = connect_clickhouse(settings)
    now = partial(datetime.now, UTC)
    audit = AuditLog(client, settings, now=now) if allow_edit else None
    try:
        done = load_versions(
            CatalogStore(client, audit),
            book,
            actor=acting(settings, actor),
            edit_reason=reason.strip() if allow_edit else "",
            now=now(),
            lost_percent_max=settings.catalog_lost_percent_max,
        )
    except LoadRefused as error:
        if as_json:
            _print_json({"loaded": False, "refused": [each.document for each in error.refused]})
        raise
    finally:
        client.close()
    if as_json:
        changes = [each.document for each in done]
        _print_json({"loaded": True, "changes": changes, **_summary(book)})
        return
    for each in done:
        console.print(each.sentence, markup=False)
    console.print(f"{len(done)} price versions stored; catalog {book.content_hash} is loaded")


@app.command("schema")
def schema_command(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write the files to; made if missing.")
    ] = None,
) -> None:
    """Print the JSON Schemas of the catalog's files, or write them for an editor.

    Example: meterline catalog schema --out catalog/schema
    """
    found = schemas()
    if out is None:
        _print_json(found)
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, schema in found.items():
        (out / name).write_text(schema_text(schema), encoding="utf-8")
        console.print(f"wrote {out / name}", markup=False)


def _summary(book: PriceBook) -> dict[str, Any]:
    return {
        "content_hash": book.content_hash,
        "meters": len(book.catalog.meters),
        "plans": len(book.plans),
        "versions": [
            {"plan": each.plan, "version": each.version, "content_hash": each.content_hash}
            for each in book.versions()
        ],
        "subscriptions": len(book.subscriptions),
        "customers": book.subscriptions.customers,
    }


def _print_json(document: object) -> None:
    console.print_json(orjson.dumps(document).decode())

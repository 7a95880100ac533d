"""`meterline rerate`: what other prices would have charged for the same usage."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from billing.bills import CHUNK_CUSTOMERS, Biller
from billing.period_name import PeriodName
from billing.rerate import Difference, Rerating, customers_of_both
from cli.billing_options import CustomersOption, PeriodOption
from cli.context import JsonOption, console, settings_with
from metering.errors import PermanentError
from rating_engine.money import Money
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from sinks.clickhouse import connect_clickhouse

_ANSWER_S = 3600
#: Old and new by currency.
Totals = dict[str, tuple[Money, Money]]


def rerate_command(
    *,
    period: PeriodOption,
    catalog: Annotated[Path, typer.Option("--catalog", help="Folder with the other prices.")],
    current_catalog: Annotated[
        Path | None,
        typer.Option("--current-catalog", help="Folder in force; else METERLINE_CATALOG."),
    ] = None,
    customer: CustomersOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compare, and change nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """What would other prices change? Old, new and difference, from raw history.

    For every customer, meter and group, with base fees and true-ups, and in all for each currency.
    Nothing is stored: without --dry-run it is refused, since `meterline correct rerate` is what
    applies prices.

    Exit codes: 0 compared; 2 --dry-run is missing, a catalog has faults, or an unknown customer or
    a period that is none; 75 ClickHouse does not answer.

    Example: meterline rerate --period 2026-06 --catalog ./proposal --dry-run
    """
    name = PeriodName.read(period)
    if not dry_run:
        msg = (
            "--dry-run: expected it, got none. rerate only compares; `meterline correct rerate` "
            "applies the prices of the catalog in force to usage that was rated"
        )
        raise PermanentError(msg)
    settings = settings_with(current_catalog)
    old, new = load_price_book(settings.catalog), load_price_book(catalog)
    customers = _customers(old, new, asked=customer or [])
    client = connect_clickhouse(settings, answer_s=_ANSWER_S)
    try:
        rerating = Rerating(Biller(client, old), Biller(client, new))
        differences = rerating.differences(customers, name)
        if as_json:
            _write_json(differences, {
                "period": name.text, "old_catalog": old.content_hash,
                "new_catalog": new.content_hash,
            })  # fmt: skip
        else:
            _print_tables(differences)
    finally:
        client.close()


def _customers(old: PriceBook, new: PriceBook, *, asked: list[str]) -> Iterator[str]:
    for each in asked:
        if each not in old.subscriptions and each not in new.subscriptions:
            msg = f"--customer: expected one with a subscription in either catalog, got {each!r}"
            raise PermanentError(msg)
    return iter(sorted(set(asked))) if asked else customers_of_both(old, new)


def _write_json(differences: Iterator[Difference], head: dict[str, Any]) -> None:
    """One document, written while it is worked out: there may be millions of lines."""
    totals: Totals = {}
    out = sys.stdout
    out.write(f'{orjson.dumps(head).decode()[:-1]},\n"lines": [')
    mark = "\n"
    for each in differences:
        _add(totals, each)
        out.write(mark + orjson.dumps(_document(each)).decode())
        mark = ",\n"
    rows = [{"currency": code, **_amounts(*totals[code])} for code in sorted(totals)]
    out.write(f'],\n"totals": {orjson.dumps(rows).decode()}}}\n')


def _print_tables(differences: Iterator[Difference]) -> None:
    totals: Totals = {}
    columns = ("customer", "for", "group")
    while some := list(islice(differences, CHUNK_CUSTOMERS)):
        table = _table(*columns)
        for each in some:
            _add(totals, each)
            group = ", ".join(f"{name}={value}" for name, value in each.group)
            table.add_row(
                escape(each.customer_id), escape(each.meter or str(each.kind)), escape(group),
                each.old.currency.code, *_amounts(each.old, each.new).values(),
            )  # fmt: skip
        console.print(table)
    table = _table("in all")
    for code in sorted(totals):
        table.add_row("", code, *_amounts(*totals[code]).values(), style="bold")
    console.print(table if totals else "no customer has a subscription in that period")


def _table(*columns: str) -> Table:
    table = Table(*columns, "currency", box=None, pad_edge=False)
    for name in ("old", "new", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _add(totals: Totals, each: Difference) -> None:
    nothing = Money(each.old.currency, 0)
    old, new = totals.get(each.old.currency.code, (nothing, nothing))
    totals[each.old.currency.code] = old + each.old, new + each.new


def _amounts(old: Money, new: Money) -> dict[str, str]:
    return {"old": str(old), "new": str(new), "difference": str(new - old)}


def _document(each: Difference) -> dict[str, Any]:
    return {
        "customer_id": each.customer_id,
        "kind": str(each.kind),
        "meter": each.meter or None,
        "group": dict(each.group),
        "currency": each.old.currency.code,
        **_amounts(each.old, each.new),
    }

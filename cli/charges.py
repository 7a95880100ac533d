"""`meterline charges`: whether all who state a charge state the same one."""

from dataclasses import asdict
from itertools import islice
from typing import Annotated

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from billing.agreement import Agreement, Disagreement
from billing.bills import customers_of
from billing.period_name import PeriodName
from cli.billing_options import CustomersOption, PeriodOption
from cli.context import CatalogOption, JsonOption, console, settings_with
from rating_engine.price_book.load import load_price_book
from sinks.clickhouse import connect_clickhouse

_ANSWER_S = 3600


def charges_command(
    *,
    period: PeriodOption,
    customer: CustomersOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Disagreements to show.")] = 50,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that every charge is the same to the cent, whoever states it.

    For every customer with a subscription: the view that finance reads, the bill derived anew from
    raw history, and the preview. Compare while no event is on its way.

    Exit codes: 0 they agree; 1 they do not; 2 settings, catalog or period are wrong; 75 ClickHouse
    does not answer.

    Example: meterline charges --period 2026-06 --json
    """
    name = PeriodName.read(period)
    settings = settings_with(catalog)
    book = load_price_book(settings.catalog)
    client = connect_clickhouse(settings, answer_s=_ANSWER_S)
    try:
        agreement = Agreement(client, book)
        remaining = agreement.disagreements(customer or customers_of(book), name)
        shown = list(islice(remaining, limit))
        count = len(shown) + sum(1 for _ in remaining)
    finally:
        client.close()
    counts = {"customers": agreement.customers, "charges": agreement.charges, "differing": count}
    if as_json:
        document = {"period": name.text, **counts, "shown": [asdict(each) for each in shown]}
        console.print_json(orjson.dumps(document).decode())
    else:
        if shown:
            console.print(_table(shown))
        console.print(
            f"{agreement.customers} customers, {agreement.charges} charges of {name.text}: "
            + (f"{count} differ" if count else "view, raw history and preview agree to the cent")
        )
    if count:
        raise typer.Exit(1)


def _table(found: list[Disagreement]) -> Table:
    table = Table("customer", "what", "from raw history", "the other")
    for each in found:
        table.add_row(*(escape(text) for text in asdict(each).values()))
    return table

"""`meterline explain`: every step from events to a charge, and whether it still comes out."""

import time
from typing import Annotated

import orjson
import typer

from billing.explanation import Explainer, Explanation
from billing.period_name import PeriodName
from cli.amounts import group_of, group_values
from cli.context import CatalogOption, JsonOption, console, settings_with
from cli.explain_document import explanation_document
from cli.explain_tables import print_explanation
from metering.catalog import Meter
from metering.errors import PermanentError
from metering.settings import Settings
from rating_engine.period_rater import GroupKey
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from sinks.clickhouse import connect_clickhouse

#: What the write of a flush takes, from totals to how far they are.
_PAUSE_S = 2.0
_ANSWER_S = 3600


def explain_command(
    *,
    customer: Annotated[str, typer.Option("--customer", help="Whose charge: customer_id.")],
    meter: Annotated[str, typer.Option("--meter", help="A key of the meters.")],
    period: Annotated[
        str, typer.Option("--period", help="Begins in 2026-04, or holds the day 2026-04-15.")
    ],
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help="NAME=VALUE of the group; repeatable. Without: all groups."),
    ] = None,
    events: Annotated[
        int, typer.Option("--events", min=0, help="How many events of each group to show.")
    ] = 20,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """How did this charge come about? From the price in force down to each event of the log.

    Everything is derived again from raw history: the period's quantity and charge, and beside it
    event by event. It says whether both agree, and whether live totals and what the stream stored
    with the events do.

    Exit codes: 0 all agree; 1 something differs; 2 an unknown customer, meter or group, or a period
    that is none; 75 ClickHouse does not answer.

    Example: meterline explain --customer org_123 --meter api_requests --period 2026-04
    """
    settings = settings_with(catalog)
    book = load_price_book(settings.catalog)
    name = PeriodName.read(period)
    known = _known(book, meter)
    found = _explained(
        settings, book, customer=customer, meter=known, name=name,
        asked=(_group(known, group or []), events),
    )  # fmt: skip
    if as_json:
        document = explanation_document(found, book.content_hash)
        console.print_json(orjson.dumps(document).decode())
    else:
        print_explanation(found)
    if not found.agrees:
        raise typer.Exit(1)


def _explained(
    settings: Settings, book: PriceBook, *, customer: str, meter: Meter, name: PeriodName,
    asked: tuple[GroupKey | None, int],
) -> Explanation:  # fmt: skip
    group, shown_max = asked
    client = connect_clickhouse(settings, answer_s=_ANSWER_S)
    try:
        explainer = Explainer(client, book)
        found = explainer.explain(customer, meter, name=name, group=group, shown_max=shown_max)
        if not found.agrees:  # what was in flight is there by then
            time.sleep(_PAUSE_S)
            found = explainer.explain(customer, meter, name=name, group=group, shown_max=shown_max)
    finally:
        client.close()
    return found


def _known(book: PriceBook, key: str) -> Meter:
    meters = book.catalog.meters
    if key not in meters:
        msg = f"--meter: expected one of the meters {', '.join(sorted(meters))}, got {key!r}"
        raise PermanentError(msg)
    return meters[key]


def _group(meter: Meter, texts: list[str]) -> GroupKey | None:
    values = group_values(texts)
    unknown = sorted(values.keys() - set(meter.group_by))
    if unknown:
        known = ", ".join(meter.group_by) or "none"
        msg = (
            f"--group: expected a dimension in group_by of {meter.key} ({known}), "
            f"got {unknown[0]!r}"
        )
        raise PermanentError(msg)
    return tuple(pair for pair in group_of(meter, values) if pair[1]) if texts else None

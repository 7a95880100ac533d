"""`meterline preview`: what usage would cost, before it happens."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import orjson
import typer

from cli.amounts import group_of, group_values, quantities
from cli.context import CatalogOption, JsonOption, console, settings_with
from cli.live_totals import LiveTotals
from cli.places import moment
from cli.preview_output import preview_document, print_preview
from metering.errors import PermanentError
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from rating_engine.price_book.plan_fields import MOMENT, moment_us
from rating_engine.price_book.preview import Consumed, Preview, Previewer

Texts = list[str]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Finds what a customer's period has consumed, for each span of the previewer's period.
Totals = Callable[[Previewer], Consumed]


def preview_command(
    *,
    customer: Annotated[str, typer.Option("--customer", help="Whose usage: customer_id.")],
    usage: Annotated[
        Texts | None, typer.Option("--usage", help="METER=QUANTITY to preview; repeatable.")
    ] = None,
    consumed: Annotated[
        Texts | None,
        typer.Option("--consumed", help="METER=QUANTITY used in the period so far; repeatable."),
    ] = None,
    group: Annotated[
        Texts | None, typer.Option("--group", help="NAME=VALUE of the group; repeatable.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="When (RFC 3339, or an age like 24h); now.")
    ] = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """What would this usage cost? Included, overage and charge; what is left; the projection.

    What the billing period has used so far comes from live totals, with the moment that they are
    complete to. With --consumed no server is needed: it says so instead, and meters that it does
    not name have used nothing.

    Exit codes: 0 done; 2 an unknown customer, meter or group, or a number that is none;
    75 ClickHouse does not answer.

    Example: meterline preview --customer org_123 --consumed api_requests=249500
    --usage api_requests=1000
    """
    settings = settings_with(catalog)
    book = load_price_book(settings.catalog)
    at_us = _moment_us(at, datetime.now(UTC))
    live = None if consumed else LiveTotals(settings, book)
    found = preview_of(
        book, customer, at_us=at_us, usage=usage or (), group=group or (),
        totals=live or given_totals(book, consumed or (), group=group or ()),
    )  # fmt: skip
    complete_to_ms = None if live is None else live.complete_to_ms
    if as_json:
        document = preview_document(found, book.content_hash, complete_to_ms=complete_to_ms)
        console.print_json(orjson.dumps(document).decode())
    else:
        print_preview(found, book.catalog.meters, complete_to_ms=complete_to_ms)


def preview_of(
    book: PriceBook,
    customer_id: str,
    *,
    at_us: int,
    usage: Iterable[str],
    group: Iterable[str],
    totals: Totals,
) -> Preview:
    """The preview of `usage` (`METER=QUANTITY`) after what `totals` finds.

    Raises `PermanentError` with one line for whatever is unknown or malformed.
    """
    meters = book.catalog.meters
    asked = quantities(list(usage), meters, option="--usage")
    values = group_values(list(group))
    previewer = Previewer(book, customer_id, at_us=at_us)
    before = totals(previewer)
    named = {*asked, *(meter for meter, _ in before)}
    unknown = sorted(values.keys() - {name for key in named for name in meters[key].group_by})
    if unknown:
        msg = f"--group: expected a dimension in group_by of the meters named, got {unknown[0]!r}"
        raise PermanentError(msg)
    return previewer.preview(
        before, {(key, group_of(meters[key], values)): each for key, each in asked.items()}
    )


def given_totals(book: PriceBook, consumed: Iterable[str], *, group: Iterable[str]) -> Totals:
    """Totals as a person gives them, all under the prices of the moment."""
    meters = book.catalog.meters
    given = quantities(list(consumed), meters, option="--consumed")
    values = group_values(list(group))
    by_group = {(key, group_of(meters[key], values)): each for key, each in given.items()}
    return lambda previewer: previewer.consumed_now(by_group)


def _moment_us(text: str | None, now: datetime) -> int:
    if text is None or not text[:4].isdigit() or "-" not in text:
        found: int | None = (_moment(text, now) - _EPOCH) // timedelta(microseconds=1)
    else:
        found = moment_us(text)
    if found is None:
        msg = f"--at: expected {MOMENT}, or an age like 24h, got {text!r}"
        raise PermanentError(msg)
    return found


def _moment(text: str | None, now: datetime) -> datetime:
    if text is None:
        return now
    try:
        return moment(text, now)
    except typer.BadParameter as error:
        msg = f"--at: {error}"
        raise PermanentError(msg) from None

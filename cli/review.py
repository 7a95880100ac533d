"""`meterline review`: the list of records that people work on after a reconciliation."""

from dataclasses import asdict
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from cli.context import JsonOption, acting, console, settings_with
from reconcile.review_rules import Status
from reconcile.review_steps import Record, ReviewLog, Step, Wanted
from sinks.clickhouse import clickhouse_errors, connect_clickhouse

app = typer.Typer(
    name="review", no_args_is_help=True,
    help="What a reconciliation wants looked at: list, assign, resolve, hold, release.",
)  # fmt: skip

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `meterline review list` shows.")]
NoteOption = Annotated[str, typer.Option(help="Why; kept with the step.")]
ActorOption = Annotated[str, typer.Option(help="Who; the system's user otherwise.")]


@app.command("list")
def list_command(
    *,
    period: Annotated[str, typer.Option(help="Only this month, like 2026-06.")] = "",
    status: Annotated[Status | None, typer.Option(help="Only this status.")] = None,
    customer: Annotated[str, typer.Option(help="Only this customer.")] = "",
    held: Annotated[bool, typer.Option("--held", help="Only with an invoice hold.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Also what is rated.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Records to show.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show review records, those that matter most first.

    Exit codes: 0 shown, even if there are none; 2 settings are wrong; 75 ClickHouse does not
    answer.

    Example: meterline review list --period 2026-06 --status needs-review
    """
    wanted = Wanted(
        period=period, status=str(status or ""), customer_id=customer, only_held=held,
        only_open=not every and status is None,
    )  # fmt: skip
    with clickhouse_errors("reading review records"):
        records = _log().records(wanted, limit=limit)
    if as_json:
        _print_json([_as_dict(each) for each in records])
        return
    table = Table("id", "customer", "meter", "period", "status", "severity", "hold", box=None)
    for name in ("quantity", "expected", "delta", "impact"):
        table.add_column(name, justify="right")
    table.add_column("reviewer")
    table.add_column("reason")
    for each in records:
        amounts = (each.quantity, each.expected, each.delta)
        table.add_row(
            each.id, escape(each.customer_id), escape(each.meter), each.period, each.status,
            each.severity, "hold" if each.invoice_hold else "",
            *(_plain(amount) for amount in amounts),
            f"{_plain(each.invoice_impact)} {each.currency}", escape(each.reviewer),
            escape(each.reason),
        )  # fmt: skip
    console.print(table if records else "no review records")


@app.command("show")
def show_command(record_id: IdArgument, *, as_json: JsonOption = False) -> None:
    """Show one record and every step that led to it.

    Exit codes: 0 shown; 2 there is none with this id; 75 ClickHouse does not answer.

    Example: meterline review show use_0f3a5c7e9b1d2f46
    """
    log = _log()
    with clickhouse_errors("reading a review record"):
        record, history = log.record(record_id), log.history(record_id)
    if as_json:
        _print_json({"record": _as_dict(record), "history": [_as_dict(each) for each in history]})
        return
    _print(record)
    table = Table("when", "action", "who", "status", "hold", "why", box=None, pad_edge=False)
    for each in history:
        table.add_row(
            f"{each.recorded_at:%Y-%m-%d %H:%M:%S}", each.action,
            escape(each.actor or each.run_id), each.status, "hold" if each.invoice_hold else "",
            escape(each.note or each.reason),
        )  # fmt: skip
    console.print(table)


@app.command("assign")
def assign_command(
    record_id: IdArgument,
    *,
    reviewer: Annotated[str, typer.Option(help="Who is to look at it.")],
    note: NoteOption,
    actor: ActorOption = "",
) -> None:
    """Say who reviews a record; that stays when a later run finds other figures.

    Exit codes: 0 done; 2 there is none with this id, or a text is empty; 75 ClickHouse does not
    answer.

    Example: meterline review assign use_0f3a5c7e9b1d2f46 --reviewer maya --note "knows the cap"
    """
    _step(record_id, "assigned", note=note, actor=actor, reviewer=reviewer)


@app.command("resolve")
def resolve_command(record_id: IdArgument, *, note: NoteOption, actor: ActorOption = "") -> None:
    """Say that a record is in order as it is: rated, no hold. A run with other figures reopens it.

    Exit codes: as of `meterline review assign`.

    Example: meterline review resolve use_0f3a5c7e9b1d2f46 --note "credit note 1042 covers it"
    """
    _step(record_id, "resolved", note=note, actor=actor)


@app.command("hold")
def hold_command(record_id: IdArgument, *, note: NoteOption, actor: ActorOption = "") -> None:
    """Keep the invoice of a record from going out.

    Exit codes: as of `meterline review assign`.

    Example: meterline review hold use_0f3a5c7e9b1d2f46 --note "spike from an unknown client"
    """
    _step(record_id, "held", note=note, actor=actor)


@app.command("release")
def release_command(record_id: IdArgument, *, note: NoteOption, actor: ActorOption = "") -> None:
    """Take the invoice hold of a record away.

    Exit codes: as of `meterline review assign`.

    Example: meterline review release use_0f3a5c7e9b1d2f46 --note "confirmed by the customer"
    """
    _step(record_id, "released", note=note, actor=actor)


def _log() -> ReviewLog:
    return ReviewLog(connect_clickhouse(settings_with()))


def _step(record_id: str, action: str, *, note: str, actor: str, reviewer: str = "") -> None:
    step = Step(action=action, actor=acting(settings_with(), actor), note=note, reviewer=reviewer)
    with clickhouse_errors("writing a step of a review"):
        _print(_log().append(record_id, step))


def _print(each: Record) -> None:
    hold = ", invoice on hold" if each.invoice_hold else ""
    reviewer = f", reviewer {each.reviewer}" if each.reviewer else ""
    console.print(
        f"{each.id}  {each.customer_id or '(no customer)'}  {each.meter}  {each.period}: "
        f"{each.status}, {each.severity}{hold}{reviewer}",
        markup=False,
    )
    console.print(
        f"quantity {_plain(each.quantity)}, expected {_plain(each.expected)}, delta "
        f"{_plain(each.delta)}, impact {_plain(each.invoice_impact)} {each.currency}: "
        f"{each.reason}",
        markup=False,
    )


def _plain(amount: Any) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _as_dict(record: Record) -> dict[str, Any]:
    return {
        name: _plain(value) if name in _NUMBERS else value for name, value in asdict(record).items()
    }


def _print_json(document: Any) -> None:
    console.print_json(orjson.dumps(document, option=orjson.OPT_NAIVE_UTC).decode())


_NUMBERS = frozenset({"expected", "quantity", "delta", "unit_price", "invoice_impact"})

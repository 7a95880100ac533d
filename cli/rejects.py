"""`meterline rejects`: what could not be counted, and sending it again once it can."""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson
import typer
from rich.markup import escape
from rich.table import Table

from cli.context import CatalogOption, JsonOption, acting, catalog_of, console, settings_with
from cli.places import coordinate, moment
from cli.rejects_replay import Prospect, Replay
from dataflows.kafka_reader import kafka_config
from metering.decode import Decoder
from metering.errors import PermanentError
from metering.rejection import RejectionCode
from sinks.clickhouse import connect_clickhouse
from sinks.events_topic import EventsTopic
from sinks.rejects import CodeCount, Reject, RejectFilter, Rejects

app = typer.Typer(
    name="rejects", no_args_is_help=True,
    help="Events that could not be counted: list them, look at one, send them again.",
)  # fmt: skip

CodeOption = Annotated[
    RejectionCode | None,
    typer.Option(metavar="CODE", help="Only this rejection code.", show_choices=False),
]
SinceOption = Annotated[
    str | None, typer.Option(help="Only what arrived since: 24h, 7d, or an RFC 3339 time.")
]


@app.command("list")
def list_command(
    *,
    code: CodeOption = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Newest to show.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Count rejected events by code, and show the newest with their coordinates.

    Exit codes: 0 shown, even if there are none; 2 settings are wrong; 75 ClickHouse does not
    answer.

    Example: meterline rejects list --code subject_must_be_bound --since 24h
    """
    wanted = _filter(code, since)
    rejects = Rejects(connect_clickhouse(settings_with()))
    counts, newest = rejects.counts(wanted), rejects.newest(wanted, limit=limit)
    if as_json:
        document = {
            "counts": [asdict(each) for each in counts],
            "events": [_as_dict(each) for each in newest],
        }
        console.print_json(orjson.dumps(document).decode())
    else:
        _print_list(counts, newest)


@app.command("show")
def show_command(
    place: Annotated[str, typer.Argument(metavar="STREAM/PARTITION/OFFSET/INDEX")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show one rejected event: why, what to do, and its bytes.

    Exit codes: 0 shown; 2 there is none at this coordinate; 75 ClickHouse does not answer.

    Example: meterline rejects show usage.events:dGhpc2/3/120400/0
    """
    rejects = Rejects(connect_clickhouse(settings_with()))
    found = _one(rejects, place)
    if as_json:
        console.print_json(orjson.dumps(_as_dict(found)).decode())
        return
    replays = f"sent again {found.replays} times" if found.replays else "not sent again"
    console.print(f"{found.coordinate}  {found.code}  ({replays})", markup=False)
    console.print(f"arrived {_moment(found.record_time_ms)}: {found.sentence}", markup=False)
    console.print(_pretty(found.event), markup=False)


@app.command("replay")
def replay_command(
    *,
    code: CodeOption = None,
    place: Annotated[
        str | None,
        typer.Option(
            "--coordinate", metavar="STREAM/PARTITION/OFFSET/INDEX", help="Only this event."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All rejected events.")] = False,
    since: SinceOption = None,
    edit: Annotated[
        Path | None,
        typer.Option(help="File with the mended event to send instead; needs --coordinate."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what was sent before.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also what would be rejected again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: Annotated[str, typer.Option(help="Who sends, for the record.")] = "",
    catalog: CatalogOption = None,
) -> None:
    """Send rejected events again, after what was wrong is mended in the catalog or by --edit.

    Only what would pass now is sent, unless --force. Harmless to repeat: what was sent is not
    sent again (unless --again), and a second copy would be found to be a duplicate.

    Exit codes: 0 sent (or nothing was left to send); 1 not confirmed, or some would be rejected
    again; 2 cannot be done as asked; 75 a server does not answer: repeat the command.

    Example: meterline rejects replay --code subject_must_be_bound --dry-run
    """
    if sum((code is not None, place is not None, every)) != 1:
        msg = "expected exactly one of --code, --coordinate and --all"
        raise typer.BadParameter(msg)
    if edit is not None and place is None:
        msg = "--edit mends one event: expected --coordinate as well"
        raise typer.BadParameter(msg)
    settings = settings_with(catalog)
    rejects = Rejects(connect_clickhouse(settings))
    wanted = _filter(code, since, place, unreplayed_only=not again)
    if place is not None:
        _one(rejects, place)
    replay = Replay(
        rejects, Decoder(catalog_of(settings), settings), wanted,
        edited=None if edit is None else _mended(edit), now_ms=time.time_ns() // 1_000_000,
    )  # fmt: skip
    prospect = replay.prospect()
    _print_prospect(prospect, force=force)
    refused = prospect.refused.total()
    sending = prospect.passing + (refused if force else 0)
    if sending and not dry_run:
        if not yes:
            typer.confirm(f"Send {sending} to {settings.events_topic}?", abort=True, err=True)
        topic = EventsTopic(kafka_config(settings), settings.events_topic)
        sent = replay.send(topic, actor=acting(settings, actor), force=force)
        console.print(f"sent {sent} events to {settings.events_topic}")
    if refused and not force:
        raise typer.Exit(1)


def _filter(
    code: RejectionCode | None, since: str | None, place: str | None = None, *,
    unreplayed_only: bool = False,
) -> RejectFilter:  # fmt: skip
    return RejectFilter(
        code=None if code is None else str(code),
        since=None if since is None else moment(since, datetime.now(UTC)),
        coordinate=None if place is None else coordinate(place),
        unreplayed_only=unreplayed_only,
    )


def _one(rejects: Rejects, place: str) -> Reject:
    found = rejects.newest(RejectFilter(coordinate=coordinate(place)), limit=1)
    if not found:
        msg = f"expected a rejected event at {place}, got none; `meterline rejects list` shows them"
        raise PermanentError(msg)
    return found[0]


def _mended(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        msg = f"--edit: expected a readable file at {path}, got: {error.strerror}"
        raise typer.BadParameter(msg) from error


def _print_list(counts: list[CodeCount], newest: list[Reject]) -> None:
    if not counts:
        console.print("no rejected events")
        return
    table = Table("code", box=None, pad_edge=False)
    table.add_column("events", justify="right")
    table.add_column("sent again", justify="right")
    for each in counts:
        table.add_row(each.code, str(each.count), str(each.replayed))
    console.print(table)
    console.print()
    table = Table("arrived", "coordinate", "code", "customer", "meter", "sent again", box=None)
    for reject in newest:
        table.add_row(
            _moment(reject.record_time_ms), escape(str(reject.coordinate)), reject.code,
            escape(reject.customer_id), escape(reject.meter), str(reject.replays or ""),
        )  # fmt: skip
    console.print(table)
    total = sum(each.count for each in counts)
    if total > len(newest):
        console.print(f"... the newest {len(newest)} of {total}")


def _print_prospect(prospect: Prospect, *, force: bool) -> None:
    refused = prospect.refused.total()
    if not prospect.passing and not refused:
        console.print("nothing to send: no such rejected event, or all were sent before (--again)")
        return
    console.print(f"{prospect.passing} would pass now")
    for code, count in prospect.refused.most_common():
        kept = "sent all the same" if force else "not sent"
        console.print(f"{count} would be rejected again by {code}: {kept}")
    for sentence in prospect.sentences:
        console.print(f"  {sentence}", markup=False)


def _as_dict(reject: Reject) -> dict[str, Any]:
    return {
        **asdict(reject), "coordinate": str(reject.coordinate),
        "event": reject.event.decode("utf-8", "replace"), "event_hex": reject.event.hex(),
    }  # fmt: skip


def _pretty(event: bytes) -> str:
    """JSON with line breaks; numbers stay as they were written. Other bytes as they are."""
    try:
        return msgspec.json.format(event, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return event.decode("utf-8", "backslashreplace")


def _moment(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds")

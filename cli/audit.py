"""`meterline audit`: what people did to money, and whether the log of it is whole."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cli.billing_options import ActorOption
from cli.context import JsonOption, acting, console, settings_with
from cli.correct_desk import now
from cli.correct_output import print_json
from metering.audit_chain import AuditRow, ChainFault, Head, walk
from metering.errors import PermanentError
from metering.rfc3339 import written
from metering.settings import Settings
from sinks.audit import AuditLog
from sinks.clickhouse import connect_clickhouse

app = typer.Typer(
    help="What people did to money: list it, and verify that nobody changed the log.",
    no_args_is_help=True,
)
_HASH_LENGTH = 64


@contextmanager
def _log() -> Iterator[tuple[Settings, AuditLog]]:
    settings = settings_with()
    client = connect_clickhouse(settings)
    audit = AuditLog(client, settings, now=now)
    try:
        yield settings, audit
    finally:
        audit.close()
        client.close()


@app.command("list")
def list_command(
    *,
    about: Annotated[str, typer.Option("--object", help="Only what was done to this.")] = "",
    by: Annotated[str, typer.Option("--by", help="Only what this person did.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Rows to show, the last ones.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List what people did, in order: who, what, why, before and after.

    Exit codes: 0 listed; 75 a server does not answer.

    Example: meterline audit list --object c-2f1a09b3c4d5 --json
    """
    condition = "(%(about)s = '' OR object = %(about)s) AND (%(by)s = '' OR actor = %(by)s)"
    with _log() as (_, audit):
        audit.settle()
        found = deque(audit.rows(condition, about=about, by=by), maxlen=limit)
    if as_json:
        print_json([_document(row) for row in found])
        return
    table = Table("seq", "when", "who", "did", "to", "reason", "note")
    for row in found:
        entry = row.entry
        texts = (entry.actor, entry.action, entry.object, entry.reason_code, entry.note)
        table.add_row(str(row.seq), written(row.recorded_us), *map(escape, texts))
    console.print(table if found else "the audit log has no such rows")


@app.command("verify")
def verify_command(
    *,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", help="SEQ:HASH that was noted before; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Walk along the audit log: no row was changed, removed or put in, the last ones included.

    Compares with the head that Redis keeps, and with those that were noted elsewhere. Prints the
    head, to be noted.

    Exit codes: 0 the log is whole; 1 it is not; 2 a head is none; 75 a server does not answer.

    Example: meterline audit verify --json | jq .head
    """
    noted = [_head(text) for text in head or []]
    with _log() as (_, audit):
        kept = _kept(audit)
        found = walk(audit.rows(), [*noted, *([] if kept is None else [kept])])
        # a row that was written meanwhile is after what Redis knew then
        beyond = kept is not None and found.head.seq > kept.seq and kept == _kept(audit)
    if beyond and kept is not None:
        what = f"rows {kept.seq + 1} to {found.head.seq} were put in: Redis knows of none of them"
        found.faults.append(ChainFault(kept.seq + 1, what))
    if as_json:
        print_json({
            "holds": not found.faults, "rows": found.rows, "head": str(found.head),
            "kept_by_redis": None if kept is None else str(kept),
            "faults": [each._asdict() for each in found.faults],
        })  # fmt: skip
    else:
        for each in found.faults:
            console.print(f"row {each.seq}: {each.what}", style="red", markup=False)
        told = "the audit log is whole" if not found.faults else "the audit log is NOT whole"
        console.print(f"{told}: {found.rows} rows, head {found.head}")
        if kept is None and found.rows:
            console.print("Redis keeps no head: whether rows are missing at the end is not known")
    if found.faults:
        raise typer.Exit(1)


@app.command("accept")
def accept_command(
    *,
    note: Annotated[str, typer.Option("--note", help="What happened to the rows.")],
    actor: ActorOption = "",
) -> None:
    """Go on from the last row although Redis knows another head, and say so in the log.

    After a backup was put back, or Redis lost its last second. Until then nothing is audited, so
    nothing that has to be is done.

    Exit codes: 0 accepted; 2 there is nothing to accept; 75 a server does not answer.

    Example: meterline audit accept --note "restored from the backup of May 3"
    """
    with _log() as (settings, audit):
        row = audit.accept(actor=acting(settings, actor), note=note)
    if row is None:
        msg = "expected a log that ends elsewhere than Redis knows, got one that does not"
        raise PermanentError(msg)
    console.print(f"the audit log goes on after row {row.seq - 1}; head {row.head}")


def _kept(audit: AuditLog) -> Head | None:
    """What Redis knows, after writing what a killed writer left behind, if the log allows it."""
    kept = audit.kept_head()
    if kept is None:
        return None
    audit.complete(*kept)
    return kept[1]


def _head(text: str) -> Head:
    seq, _, found = text.partition(":")
    if not seq.isdecimal() or len(found) != _HASH_LENGTH:
        msg = f"--head: expected SEQ:HASH as `meterline audit verify` prints it, got {text!r}"
        raise PermanentError(msg)
    return Head(int(seq), found)


def _document(row: AuditRow) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "recorded_at": written(row.recorded_us),
        **row.entry._asdict(),
        "previous_hash": row.previous_hash,
        "hash": row.hash,
    }

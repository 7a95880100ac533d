"""`meterline dedup`: the memory of who came first."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.context import CatalogOption, JsonOption, catalog_of, console, settings_with, stderr
from metering.settings import Settings
from sinks.clickhouse import clickhouse_errors, connect_clickhouse
from sinks.dedup_adopt import rebuild_memory
from sinks.dedup_form import ClaimForm
from sinks.dedup_status import DedupStatus, Generation, dedup_status

app = typer.Typer(
    name="dedup", no_args_is_help=True,
    help="The dedup memory in Redis: what it holds and costs, and rebuilding it.",
)  # fmt: skip

_MB = 1 << 20


@app.command("status")
def status_command(*, as_json: JsonOption = False) -> None:
    """Show which dedup memory is in force, what it holds, and what an entry costs.

    Exit codes: 0 it is in force; 1 it is not (workers rebuild it before they count on); 2 settings
    are wrong; 75 a server does not answer.

    Example: meterline dedup status --json | jq .generations
    """
    settings = settings_with()
    status = dedup_status(settings, connect_clickhouse(settings))
    if as_json:
        document = {"in_force": status.is_in_force, **_as_dict(status)}
        console.print_json(orjson.dumps(document).decode())
    else:
        _print(settings, status)
    if not status.is_in_force:
        raise typer.Exit(1)


@app.command("rebuild")
def rebuild_command(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    catalog: CatalogOption = None,
) -> None:
    """Claim every identity of the dedup window again, from raw history.

    Running workers stop counting while it lasts, and go on by themselves. Needed after a change
    of METERLINE_DEDUP_SHARDS, DEDUP_EVENTS_MAX or DEDUP_WINDOW (workers also do it by themselves)
    or of the catalog's counted dimensions.

    Exit codes: 0 done; 1 not confirmed; 2 settings or catalog are wrong; 75 a server does not
    answer, or a worker is rebuilding it right now.

    Example: meterline dedup rebuild --yes
    """
    settings = settings_with(catalog)
    known = catalog_of(settings)
    if not yes:
        typer.confirm("Workers pause while it is rebuilt. Go on?", abort=True, err=True)
    client = connect_clickhouse(settings)
    with clickhouse_errors("counting raw history"):
        total = int(client.query("SELECT count() FROM usage_events").result_rows[0][0])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=stderr, transient=True) as bars:
        task = bars.add_task("claiming", total=total)
        count = rebuild_memory(
            settings, client, known, reason="asked by an operator",
            on_claimed=lambda claimed: bars.update(task, completed=claimed),
        )  # fmt: skip
    console.print(f"rebuilt: {count} identities claimed from raw history; workers go on")


def _print(settings: Settings, status: DedupStatus) -> None:
    verdict = "in force" if status.is_in_force else "NOT in force: workers rebuild it first"
    newest = status.adoptions[0] if status.adoptions else None
    if newest is None:
        console.print("no dedup memory was adopted yet; the first worker does")
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = [
        ("memory", f"{newest.marker[:12]}, {verdict}"),
        ("adopted", f"{_moment(newest.adopted_at)}: {newest.reason}"),
        ("server run", status.run[:12] + ("" if newest.run == status.run else ", restarted since")),
        ("kept in", status.form.name.lower()),
        ("rebuilding", "yes" if status.is_rebuilding else "no"),
        (
            "shards",
            f"{status.shards_ready} of {status.shards} ready, {status.buckets} buckets each",
        ),
        *((f"window {each.window}", _generation(settings, each)) for each in status.generations),
        *_costs(status),
    ]
    for name, text in rows:
        table.add_row(name, escape(text))
    console.print(table)
    for place, generation in sorted(status.assignments.items()):
        console.print(f"{place}: assignment {generation}", markup=False)


def _generation(settings: Settings, generation: Generation) -> str:
    share = generation.entries / settings.dedup_events_max
    since = _ms(generation.starts_ms)
    return f"{generation.entries} entries since {since}, {share:.0%} of what it is laid out for"


def _costs(status: DedupStatus) -> list[tuple[str, str]]:
    sample = status.sample
    limit = f"{status.maxmemory / _MB:.0f} MB" if status.maxmemory else "no limit"
    cost = f"{sample.bytes_per_entry:.1f} bytes, in {sample.buckets} buckets looked at"
    held = f"up to {sample.entries_max} entries"
    if status.form is ClaimForm.TABLES:
        held += " at the most so far"
    else:
        held += (
            f"; Redis keeps {status.listpack_limit} packed; packed: {sample.listpacks} of "
            f"{sample.buckets} buckets"
        )
    used = f"{status.used_memory / _MB:.0f} MB of {limit}"
    return [("an entry costs", cost), ("a bucket holds", held), ("Redis uses", used)]


def _as_dict(status: DedupStatus) -> dict[str, Any]:
    found = asdict(status)
    found["form"] = status.form.name.lower()
    found["wanted_form"] = status.wanted_form.name.lower()
    found["sample"]["bytes_per_entry"] = round(status.sample.bytes_per_entry, 2)
    return found


def _moment(moment: datetime) -> str:
    return moment.replace(tzinfo=UTC).isoformat(timespec="seconds")


def _ms(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="seconds")

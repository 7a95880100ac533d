"""`meterline alerts`: look for spikes, drops, silence and thresholds; list and show findings."""

from datetime import datetime
from typing import Annotated

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from cli.alerting import check_alerts, outlets_of
from cli.context import CatalogOption, JsonOption, console, settings_with
from metering.alert import Change
from metering.errors import SettingsInvalid
from sinks.alert_store import AlertStore
from sinks.clickhouse import connect_clickhouse

app = typer.Typer(help="Spikes, drops, silence and thresholds of usage.", no_args_is_help=True)


@app.command("check")
def check_command(
    *,
    catalog: CatalogOption = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Write findings, and send them nowhere yet.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check once, as the steward does every METERLINE_ALERT_EVERY.

    Exit codes: 0 nothing is open, 1 something is, 2 settings or catalog are wrong, 75 a server
    does not answer.

    Example: meterline alerts check --json | jq '.changes[].sentence'
    """
    settings = settings_with(catalog)
    found = check_alerts(settings, [] if quiet else outlets_of(settings))
    is_open = [*found.anomalies, *found.thresholds]
    if as_json:
        _print_json(
            {
                "judged_to": None if found.mark is None else found.mark.isoformat(),
                "open": len(is_open),
                "changes": [each.document() for each in found.changes],
                "undelivered": list(found.undelivered),
            }
        )
    else:
        if found.changes:
            console.print(_table(found.changes))
        judged = "nothing is complete yet" if found.mark is None else f"judged to {found.mark}"
        console.print(f"{judged}; {len(found.changes)} changes, {len(is_open)} findings open")
        for outlet in found.undelivered:
            console.print(f"{outlet} did not take all messages; the next check sends them again")
    if is_open:
        raise typer.Exit(1)


@app.command("list")
def list_command(
    *,
    customer: Annotated[str, typer.Option("--customer", help="Only this one.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Resolved ones as well.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List findings, the newest first.

    Example: meterline alerts list --customer org_123 --all
    """
    client = connect_clickhouse(settings_with())
    try:
        found = AlertStore(client).changes(customer=customer, is_open=not every, limit=limit)
    finally:
        client.close()
    if as_json:
        _print_json([each.document() for each in found])
    elif found:
        console.print(_table(found))
    else:
        console.print("no findings")


@app.command("show")
def show_command(
    finding: Annotated[str, typer.Argument(help="The id of a finding, or how it begins.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show everything about a finding.

    Example: meterline alerts show 4f1d
    """
    client = connect_clickhouse(settings_with())
    try:
        found = AlertStore(client).changes_of(finding)
    finally:
        client.close()
    if not found:
        msg = f"expected the id of a finding, got {finding!r}; `meterline alerts list --all`"
        raise SettingsInvalid([msg])
    if as_json:
        _print_json([each.document() for each in found])
        return
    for change in found:
        table = Table("field", "value", show_header=False)
        for name, value in change.document().items():
            table.add_row(name, escape(str(value)))
        console.print(table)


def _table(changes: list[Change] | tuple[Change, ...]) -> Table:
    table = Table("finding", "state", "kind", "since", "what")
    for each in changes:
        table.add_row(
            each.finding.finding_id[:8], each.state, each.finding.key.kind,
            _minute(each.finding.window_start), escape(each.finding.sentence),
        )  # fmt: skip
    return table


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _print_json(document: object) -> None:
    console.print_json(orjson.dumps(document).decode())

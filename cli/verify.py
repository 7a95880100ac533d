"""`meterline verify`: the law of conservation, and the repair of totals that break it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import orjson
import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.context import CatalogOption, JsonOption, catalog_of, console, settings_with, stderr
from cli.verify_tables import print_findings
from metering.catalog import Catalog
from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse
from sinks.conservation.findings import Findings
from sinks.conservation.repair import record_superseded, repair_totals
from sinks.conservation.verify import Say, verify
from sinks.dedup_adopt import adopt_memory

#: A query over all of raw history takes its time.
_ANSWER_S = 3600


def verify_command(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write wrong totals anew from raw history.")
    ] = False,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, help="Differences of each kind to show.")] = 50,
    catalog: CatalogOption = None,
) -> None:
    """Check that nothing is lost and nothing counted twice, from offsets to totals.

    For each partition: offsets = accepted + duplicates + conflicts + rejected + suppressed +
    control records; and every total = raw history added up. Right while workers are running.

    --repair writes wrong totals anew from raw history, after making the workers of those
    partitions drop what they hold (they go on by themselves). What raw itself lacks has to be
    read again: the command for it is printed.

    Exit codes: 0 it holds (or does after the repair); 1 it does not; 2 settings or catalog are
    wrong; 75 a server does not answer.

    Example: meterline verify --json | jq .holds
    """
    settings = settings_with(catalog)
    known = catalog_of(settings)
    client = connect_clickhouse(settings, answer_s=_ANSWER_S)
    with verifying() as say:
        found = verify(client, known, shown_max=limit, say=say)
    before = None
    if repair and not found.holds:
        before = found
        found = _repaired(settings, known, before, limit=limit)
    if as_json:
        console.print_json(_as_json(found, before).decode())
    else:
        print_findings(found, settings)
        if before is not None:
            _print_repair(before, found)
    client.close()
    if not found.holds:
        raise typer.Exit(1)


@contextmanager
def verifying() -> Iterator[Say]:
    """A progress bar on stderr that `verify` drives."""
    columns = (SpinnerColumn(), TextColumn("{task.description:<16}"), BarColumn())
    with Progress(*columns, TimeElapsedColumn(), console=stderr, transient=True) as bars:
        task = bars.add_task("", total=1.0)
        yield lambda doing, share: bars.update(task, description=doing, completed=share)


def _repaired(settings: Settings, catalog: Catalog, before: Findings, *, limit: int) -> Findings:
    client = connect_clickhouse(settings, answer_s=_ANSWER_S)
    for balance in before.balances:
        if balance.superseded:
            record_superseded(client, balance)
    partitions = before.totals.partitions - before.incomplete
    if partitions:
        store = adopt_memory(settings, connect_clickhouse(settings), catalog, say=stderr.print)
        repair_totals(client, catalog, store=store, partitions=partitions, say=stderr.print)
        store.close()
    with verifying() as say:
        found = verify(client, catalog, shown_max=limit, say=say)
    client.close()
    return found


def _print_repair(before: Findings, after: Findings) -> None:
    partitions = before.totals.partitions - before.incomplete
    console.print(
        f"repaired: {before.totals.differing - after.totals.differing} of "
        f"{before.totals.differing} wrong totals written anew from raw history in "
        f"{len(partitions)} partitions; their workers drop what they held and go on"
    )
    for stream, partition in sorted(before.totals.partitions & before.incomplete):
        console.print(
            f"not repaired: totals of {stream}/{partition}, whose offsets are missing; they are "
            "counted again with `meterline rewind`",
            markup=False,
        )
    superseded = sum(balance.superseded for balance in before.balances)
    if superseded:
        console.print(f"repaired: {superseded} offsets recorded as duplicates")


def _as_json(found: Findings, before: Findings | None) -> bytes:
    document: dict[str, Any] = {"holds": found.holds, **asdict(found)}
    if before is not None:
        document["before_repair"] = asdict(before)
    return orjson.dumps(document, default=sorted)

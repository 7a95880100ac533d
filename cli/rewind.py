"""`meterline rewind`: read a partition again from an offset, where raw history lost rows."""

from typing import Annotated

import typer

from cli.context import CatalogOption, catalog_of, console, settings_with, stderr
from cli.places import partition_place
from dataflows.kafka_reader import kafka_config, topic_id
from metering.errors import PermanentError
from sinks.clickhouse import connect_clickhouse
from sinks.conservation.rewind import rewind_totals, taken_back_from
from sinks.consumer_group import ConsumerGroup
from sinks.dedup_adopt import adopt_memory
from sinks.progress import Progress


def rewind_command(
    partition: Annotated[str, typer.Argument(help="STREAM/PARTITION, as `verify` shows it.")],
    *,
    to: Annotated[int, typer.Option(min=0, help="First offset to read again.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    catalog: CatalogOption = None,
) -> None:
    """Read a partition again from an offset on: what raw history lost is counted again.

    Needed where `meterline verify` finds missing offsets. Workers must be stopped. Totals of the
    partition go back to what they were before the offset, and grow again as the workers read on;
    nothing is counted twice. A backfill is read again by `meterline backfill --from-start`.

    Exit codes: 0 done; 1 not confirmed; 2 workers are running, or there is no such offset; 75 a
    server does not answer.

    Example: meterline rewind usage.events:dGhpc2/3 --to 120400
    """
    settings = settings_with(catalog)
    known = catalog_of(settings)
    place = partition_place(partition)
    client = connect_clickhouse(settings)
    stream = Progress(client).stream(place.stream)
    if stream is None:
        msg = (
            f"expected a stream that was read, got {place.stream!r}; `meterline verify` lists them"
        )
        raise PermanentError(msg)
    if stream.kind == "live" and topic_id(settings) != stream.topic_id:
        msg = f"{place.stream}: expected the log that is read now, got one whose topic is gone"
        raise PermanentError(msg)
    if not yes:
        typer.confirm(f"Read {partition} again from offset {to} on?", abort=True, err=True)
    # 1  the group resumes at the offset. Crash after: what is absorbed is skipped; no effect.
    # 2  totals go back (see `rewind_totals`).
    if stream.kind == "live":
        group = ConsumerGroup(kafka_config(settings), group=settings.group_id, topic=stream.topic)
        group.set_back(place.partition, to)
    store = adopt_memory(settings, connect_clickhouse(settings), known, say=stderr.print)
    rewind_totals(
        client, known, store=store, stream=place.stream, partition=place.partition, offset=to
    )
    taken_back = taken_back_from(
        client, stream=place.stream, partition=place.partition, offset=to
    )  # fmt: skip
    store.close()
    client.close()
    next_step = (
        "start the workers: they read on from there"
        if stream.kind == "live"
        else "run `meterline backfill --from-start` with the same file"
    )
    console.print(f"{partition} is set back to offset {to}; {next_step}")
    if taken_back:
        console.print(
            f"{taken_back} of these events were taken back by corrections, which the stream does "
            "not know: when it has read on, run `meterline verify --repair`. Until then totals "
            "count them, and `meterline close` refuses whose they are"
        )

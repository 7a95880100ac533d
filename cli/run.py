"""`meterline run`: one worker."""

from typing import Annotated

import typer

from cli.context import CatalogOption, console, settings_with
from dataflows.health import Health, HealthServer
from dataflows.runner import Runner
from metering.errors import SettingsInvalid
from metering.metrics import WorkerMetrics
from sinks.metrics_target import MetricsTarget


def run_command(
    catalog: CatalogOption = None,
    accept_topic: Annotated[
        str | None, typer.Option(help="Id of a topic that was created again on purpose.")
    ] = None,
    accept_gap: Annotated[
        list[str] | None,
        typer.Option(help="TOPIC[PARTITION]=OFFSET: go on where the log begins, accepting a loss."),
    ] = None,
) -> None:
    """Read usage events, count each once, keep exact totals. Start as many as you like.

    Stops gracefully on SIGTERM and Ctrl-C: what was read is written and committed first.
    Example: METERLINE_HTTP_PORT=0 meterline run --catalog ./catalog
    """
    settings = settings_with(catalog)
    found = (accepted_gap(text) for text in accept_gap or [])
    gaps = {partition: offset for (_, partition), offset in found}
    health = Health(WorkerMetrics())
    runner = Runner(settings, health, accept_topic=accept_topic, accepted_gaps=gaps)
    server = HealthServer(health, settings.http_host, settings.http_port)
    console.print(
        f"worker of group {settings.group_id}: {settings.events_topic} -> "
        f"{settings.database}; http://{settings.http_host}:{server.port}/readyz"
    )
    runner.stop_on_signals()
    target = MetricsTarget(settings, job="meterline-worker", port=server.port)
    try:
        is_drained = runner.run()
    finally:
        target.withdraw()
        server.close()
    if is_drained:
        console.print("stopped; everything read is written and committed")
    else:
        console.print(
            f"stopped while waiting for {health.waiting_for}; what was in flight is not committed "
            "and will be read again"
        )
        raise typer.Exit(75)


def accepted_gap(text: str) -> tuple[tuple[str, int], int]:
    """Topic and partition, and the offset at which the log begins. Raises `SettingsInvalid`."""
    place, _, offset = text.partition("=")
    topic, _, partition = place.removesuffix("]").rpartition("[")
    if not (partition.isdigit() and offset.isdigit()):
        msg = f"--accept-gap: expected TOPIC[PARTITION]=OFFSET, got {text!r}"
        raise SettingsInvalid([msg])
    return (topic, int(partition)), int(offset)

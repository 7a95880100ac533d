"""`python -m loadtest`: the demo, and its parts for a bench or a soak."""

import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtest.clickhouse import ClickHouse, database_of
from loadtest.demo import DEFAULT_SEED, demo
from loadtest.faults.command import faults
from loadtest.load.command import profiles, run
from loadtest.oracle import await_accounted, differences_table, settle
from loadtest.outage.command import outage
from loadtest.outcome import load_outcome
from loadtest.preload import Preload, PreloadPlan
from loadtest.produce import produce_chunks
from loadtest.scaling.command import scale
from loadtest.summary import bars, summary_line, summary_table
from loadtest.topics import create_events_topic, events_topic

_DEFAULT_TRUTH = Path(".meterline/preload-truth.json")
_SETTLED_S = 20.0

Namespace = Annotated[str, typer.Option(envvar="METERLINE_NAMESPACE", help="Of the deployment.")]
Truth = Annotated[Path, typer.Option(help="File of the generator's own numbers.")]

_out = Console()
_progress = Console(stderr=True)

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _begin() -> None:
    """Loads with known totals, and the oracle that compares them."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is stopped


app.command()(demo)
app.command()(run)
app.command()(profiles)
app.command()(faults)
app.command()(scale)
app.command()(outage)


@app.command()
def preload(
    *,
    events: Annotated[int, typer.Option(help="How many events.", min=4)] = 1_000_000,
    partitions: Annotated[int, typer.Option(help="Partitions of the topic.", min=1)] = 8,
    duplicates: Annotated[float, typer.Option(help="Share of copies, 0..1.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same load.")] = DEFAULT_SEED,
    namespace: Namespace = "",
    truth: Truth = _DEFAULT_TRUTH,
) -> None:
    """Fill the topic with plain events as fast as Kafka takes them, and write down their totals.

    Exit codes: 0 all were delivered; 1 not.

    Example: python -m loadtest preload --events 5000000 --namespace bench
    """
    plan = PreloadPlan(events=events, partitions=partitions, duplicates=duplicates)
    topic = events_topic(namespace)
    bootstrap_servers = _address("KAFKA_BOOTSTRAP_SERVERS")
    create_events_topic(bootstrap_servers, topic, partitions)
    load = Preload(seed, plan, datetime.now(UTC))
    with bars(_progress) as progress:
        task = progress.add_task("produced", total=events)
        delivery = produce_chunks(
            load,
            bootstrap_servers=bootstrap_servers,
            topic=topic,
            on_events=lambda produced: progress.update(task, completed=produced),
        )
    truth.parent.mkdir(parents=True, exist_ok=True)
    load.outcome().save(truth)
    _out.print(
        f"PRELOAD OK events={delivery.events} bytes={delivery.bytes}"
        f" seconds={delivery.seconds:.1f} per_second={delivery.events / delivery.seconds:.0f}",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def check(
    *,
    namespace: Namespace = "",
    truth: Truth = _DEFAULT_TRUTH,
    deadline: Annotated[float, typer.Option(help="Seconds to wait for all events.")] = 300.0,
) -> None:
    """Wait until ClickHouse accounts for every event of a truth file, and compare all numbers.

    Exit codes: 0 every number is right; 1 one is not.

    Example: python -m loadtest check --namespace bench
    """
    expected = load_outcome(truth)
    clickhouse = ClickHouse(_address("CLICKHOUSE_URL"), database_of(namespace))
    started = datetime.now(UTC)
    with bars(_progress) as progress:
        task = progress.add_task("accounted", total=expected.accounted)
        await_accounted(
            clickhouse,
            expected.accounted,
            deadline_s=deadline,
            on_accounted=lambda accounted: progress.update(task, completed=accounted),
        )
    seconds = (datetime.now(UTC) - started).total_seconds()
    got, differences = settle(clickhouse, expected, deadline_s=_SETTLED_S)
    _out.print(summary_table(expected, got, f"{expected.accounted:,} events"))
    if differences:
        _out.print(differences_table(differences))
        _out.print(f"CHECK FAILED differences={len(differences)}")
        raise typer.Exit(1)
    _out.print(summary_line("CHECK OK", expected, seconds), highlight=False, soft_wrap=True)


def _address(variable: str) -> str:
    address = os.environ.get(variable)
    if not address:
        msg = f"set {variable}, for example with `meterline stack env`"
        raise typer.BadParameter(msg)
    return address


if __name__ == "__main__":
    app()

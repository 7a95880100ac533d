"""`meterline migrate`: tables, views and topics."""

from typing import Annotated

import typer

from cli.context import console, settings_with
from dataflows.kafka_reader import kafka_config
from sinks.migrate import migrate
from sinks.topics import create_topics


def migrate_command(
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of new topics.")] = 8,
    replication: Annotated[int, typer.Option(min=1, help="Replicas of new topics.")] = 1,
) -> None:
    """Create what is missing: database, tables, views, topics. Safe to repeat.

    Example: meterline migrate --partitions 32 --replication 3
    """
    settings = settings_with()
    for name in migrate(settings):
        console.print(f"applied {name}")
    for topic in create_topics(
        settings, kafka_config(settings), partitions=partitions, replication=replication
    ):
        console.print(f"created topic {topic}")
    console.print(f"database {settings.database} and topic {settings.events_topic} are in place")

"""What every peer's process shares: where its servers are, and a clock from first to last event.

It imports nothing of Meterline, and runs in whichever environment the peer needs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import clickhouse_connect

#: A retry may come for so long after its first copy.
WINDOW_S = 32 * 86_400
EVENT_COLUMNS = (
    "customer_id", "meter", "id", "quantity", "occurred_at", "dimensions", "source", "batch_id",
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One run; `messages` are what is left to read, `folder` is for what a peer keeps on disk."""

    kafka: str
    redis: str
    clickhouse: str
    database: str
    topic: str
    group: str
    messages: int
    folder: Path

    @classmethod
    def of_environment(cls) -> Task:
        """As the bench gives it."""
        given = os.environ
        return cls(
            kafka=given["KAFKA_BOOTSTRAP_SERVERS"],
            redis=given["REDIS_URL"],
            clickhouse=given["CLICKHOUSE_URL"],
            database=given["PEER_DATABASE"],
            topic=given["PEER_TOPIC"],
            group=given["PEER_GROUP"],
            messages=int(given["PEER_MESSAGES"]),
            folder=Path(given["PEER_FOLDER"]),
        )

    def connect(self) -> Any:
        """A ClickHouse client."""
        return clickhouse_connect.get_client(
            dsn=self.clickhouse, database=self.database, autogenerate_session_id=False
        )


class Clock:
    """When the first event was read and the last write done; how many messages were read.

    A peer that was killed and started again does not know how many are left: it ends when
    nothing came for `idle_s` since the last.
    """

    idle_s = 20.0

    def __init__(self, messages: int) -> None:
        self.left = messages
        self._messages = 0
        self._began_s = self._ended_s = 0.0
        self._heard_s = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Nothing came for long."""
        return time.monotonic() - self._heard_s > self.idle_s

    def read(self, messages: int) -> None:
        """So many more messages were read."""
        self._heard_s = time.monotonic()
        self._began_s = self._began_s or self._heard_s
        self._messages += messages
        self.left -= messages

    def written(self) -> None:
        """What was read is written."""
        self._ended_s = time.monotonic()

    def tell(self) -> None:
        """The answer for the bench: one line of JSON."""
        answer = {
            "messages": self._messages, "began_s": self._began_s, "ended_s": self._ended_s,
        }  # fmt: skip
        sys.stdout.write(json.dumps(answer) + "\n")


def with_types(event: dict[str, Any]) -> dict[str, Any]:
    """An event of decoded JSON with the types that the tables need, in place."""
    event["quantity"] = Decimal(str(event["quantity"]))
    event["occurred_at"] = datetime.fromisoformat(event["occurred_at"])
    return event


def insert_events(client: Any, events: list[dict[str, Any]]) -> None:
    """One insert, by column; dimensions are texts already."""
    columns = [[event[name] for event in events] for name in EVENT_COLUMNS]
    client.insert("peer_events", columns, column_names=EVENT_COLUMNS, column_oriented=True)

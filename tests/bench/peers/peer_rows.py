"""The ways to count that are compared: how each is run, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass

import peer_tables

from loadtest.peers.report import Promises

_NO = "no"


@dataclass(frozen=True)
class Peer:
    """One row. Without a `script` it is Meterline itself.

    `share` is how many of the events it reads, as a divisor: a slow one gets the first of them.
    """

    name: str
    title: str
    promises: Promises
    share: int = 1
    script: str = ""
    arguments: tuple[str, ...] = ()
    tables: peer_tables.Tables = peer_tables.OWN
    has_own_python: bool = False
    is_rated: bool = False
    is_killed: bool = True


_OURS = Promises(
    "32 to 64 days in Redis, then raw history", "counted once", "exact",
    "no: a catalog without prices", "yes, one per identity",
)  # fmt: skip
_REDIS = Promises(
    "32 days", "counted once", "what was claimed and not inserted is lost", _NO, "yes"
)

PEERS = (
    Peer("worker", "Meterline, one worker", _OURS),
    Peer(
        "worker_rated", "Meterline, one worker, every event charged",
        Promises(
            _OURS.window, _OURS.other_partition, "not killed here",
            "yes: tiers, packages, minimum, cap, commits", _OURS.raw_rows,
        ),
        is_rated=True, is_killed=False,
    ),
    Peer(
        "bytewax", "Bytewax by event, `SET NX`",
        Promises(
            "32 days", "counted once", "what was claimed and not inserted is lost", _NO, "yes"
        ),
        share=20, script="../plain_bytewax.py", arguments=("0",), tables=peer_tables.OWN,
    ),
    Peer(
        "quix", "Quix Streams, state store with changelog",
        Promises(
            "32 days, of one partition", "counted again", "raw rows of a batch may stand twice",
            _NO, "yes",
        ),
        share=20, script="quix_flow.py", tables=peer_tables.NEWEST, has_own_python=True,
    ),
    Peer(
        "consumer", "consumer by hand, `SET NX` by event", _REDIS,
        share=20, script="redis_consumer.py", arguments=("single",), tables=peer_tables.SUMMED,
    ),
    Peer(
        "pipelined", "consumer by hand, `SET NX` pipelined", _REDIS,
        share=4, script="redis_consumer.py", arguments=("pipelined",), tables=peer_tables.SUMMED,
    ),
    Peer(
        "clickhouse", "ClickHouse alone: parse, raw rows, sums",
        Promises("none", "counted again", "read again from the start: counted again", _NO, "yes"),
        script="clickhouse_lines.py", tables=peer_tables.PARSED, is_killed=False,
    ),
    Peer(
        "clickhouse_keyed", "ClickHouse alone: parse, one row per id, totals by query",
        Promises(
            "one month of `occurred_at`", "counted once", "read again from the start: exact", _NO,
            "yes, the last copy wins",
        ),
        script="clickhouse_lines.py", tables=peer_tables.KEYED, is_killed=False,
    ),
)  # fmt: skip

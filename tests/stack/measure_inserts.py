"""What the local ClickHouse costs per inserted row: `python -m tests.stack.measure_inserts`.

Sends batches of 200,000 rows of 15 columns, as the worker does, into a table of engine Null
(the price of HTTP, decoding and parsing) and into a ReplacingMergeTree (sorting, compressing,
fsync and merging as well), and prints microseconds per row: the caller's wait and the CPU
time of the whole server process, all its threads included.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import clickhouse_connect
import psutil
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from deploy.localstack.stack import LocalStack

ROWS = 200_000
COLUMNS = """
    id String, identity UInt128, customer LowCardinality(String), meter LowCardinality(String),
    subject String, quantity Decimal(38, 12), occurred_at DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'), partition UInt32, offset UInt64, version FixedString(16),
    dimensions String, source LowCardinality(String), batch String,
    schema_version LowCardinality(String)
"""


def main() -> None:
    """Measure on a stack of its own, in a temporary folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=10, help="batches per case")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Path(folder), environment={})
        stack.up(["clickhouse"])
        try:
            measure(stack, repeat=repeat)
        finally:
            stack.down()


def measure(stack: LocalStack, *, repeat: int) -> None:
    """Print one line per table, format and compression."""
    service = stack.service("clickhouse")
    server = psutil.Process(service.pid)
    client = clickhouse_connect.get_client(dsn=service.address, autogenerate_session_id=False)
    engines = {"null": "Null", "stored": "ReplacingMergeTree ORDER BY (customer, meter, identity)"}
    for table, engine in engines.items():
        client.command(f"CREATE TABLE {table} ({COLUMNS}) ENGINE = {engine}")
    batch = make_batch(random.Random(7))
    bodies = {
        ("Arrow", ""): encode(batch, file=True, compression=None),
        ("ArrowStream", ""): encode(batch, file=False, compression=None),
        ("ArrowStream", "lz4 buffers"): encode(batch, file=False, compression="lz4"),
    }
    say(f"{ROWS} rows, {batch.num_columns} columns, {repeat} batches a case")
    for table in engines:
        for (name, note), body in bodies.items():
            wait_us, cpu_us = time_inserts(
                client, server, table=table, format_name=name, body=body, repeat=repeat
            )
            say(
                f"{table:<7} {name:<12} {note:<12} {len(body) / 1e6:5.1f} MB: "
                f"wait {wait_us:.2f}, server CPU {cpu_us:.2f} us/row"
            )


def say(line: str) -> None:
    """Print a line at once, as each takes a while to come."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def time_inserts(
    client: Client,
    server: psutil.Process,
    *,
    table: str,
    format_name: str,
    body: bytes,
    repeat: int,
) -> tuple[float, float]:
    """Microseconds per row: the caller's wait, and the server's CPU time."""
    client.raw_insert(table, insert_block=body, fmt=format_name)
    cpu_before, begun = cpu_seconds(server), time.perf_counter()
    for _ in range(repeat):
        client.raw_insert(table, insert_block=body, fmt=format_name)
    waited = time.perf_counter() - begun
    rows = ROWS * repeat
    return waited / rows * 1e6, (cpu_seconds(server) - cpu_before) / rows * 1e6


def cpu_seconds(server: psutil.Process) -> float:
    """User and system time of all threads so far."""
    times = server.cpu_times()
    return float(times.user + times.system)


def encode(batch: pa.Table, *, file: bool, compression: str | None) -> bytes:
    """The batch as an Arrow file or stream."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    new_writer = pa.ipc.new_file if file else pa.ipc.new_stream
    with new_writer(sink, batch.schema, options=options) as writer:
        writer.write_table(batch)
    return bytes(sink.getvalue())


def make_batch(source: random.Random) -> pa.Table:
    """Rows with the shapes and cardinalities of metered usage."""
    microseconds = pa.timestamp("us", tz="UTC")
    begin = 1_770_000_000_000_000
    texts = {
        "id": [f"req:{source.getrandbits(64):016x}" for _ in range(ROWS)],
        "subject": [f"sub_{source.randrange(200_000):06d}" for _ in range(ROWS)],
        "dimensions": [
            f'{{"region":"eu","endpoint":"/v1/items/{source.randrange(999)}"}}' for _ in range(ROWS)
        ],
        "batch": [f"batch_{source.randrange(10_000)}" for _ in range(ROWS)],
        "source": ["edge-counter"] * ROWS,
        "schema_version": ["meter.v3"] * ROWS,
    }
    names = {
        "customer": [f"cus_{source.randrange(20_000):05d}" for _ in range(ROWS)],
        "meter": [f"meter_{source.randrange(5)}" for _ in range(ROWS)],
    }
    quantities = [Decimal(source.randrange(10**6)) / 1000 for _ in range(ROWS)]
    moments = [begin + source.randrange(10**12) for _ in range(ROWS)]
    return pa.table(
        {name: pa.array(values) for name, values in texts.items()}
        | {name: pa.array(values).dictionary_encode() for name, values in names.items()}
        | {
            "identity": pa.array([source.randbytes(16) for _ in range(ROWS)], pa.binary(16)),
            "version": pa.array([source.randbytes(16) for _ in range(ROWS)], pa.binary(16)),
            "quantity": pa.array(quantities, pa.decimal128(38, 12)),
            "occurred_at": pa.array(moments, microseconds),
            "received_at": pa.array(moments, microseconds),
            "partition": pa.array([source.randrange(16) for _ in range(ROWS)], pa.uint32()),
            "offset": pa.array(range(ROWS), pa.uint64()),
        }
    )


if __name__ == "__main__":
    main()

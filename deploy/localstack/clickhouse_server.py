"""ClickHouse's engine on loopback: `python -m deploy.localstack.clickhouse_server`.

The engine comes from the `chdb` wheel; this process gives it ClickHouse's HTTP interface, so
that programs use `clickhouse-connect` over HTTP exactly as with a real server. It is for one
developer's machine: it listens on loopback only and its users have no passwords.

SIGTERM and SIGINT end it in order; SIGKILL loses no acknowledged insert.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path

import psutil

from deploy.localstack.clickhouse.engine import Engine
from deploy.localstack.clickhouse.server import ClickHouseHttpServer
from deploy.localstack.ports import LOOPBACK

_MEMORY_BYTES_MAX = 8 << 30
_END_PATIENCE = timedelta(seconds=10)


def main() -> None:
    """Serve until a signal."""
    options = _parse_arguments()
    asked_to_end = threading.Event()
    engine = Engine(options.data.absolute(), memory_bytes=options.memory_bytes)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_end.set())
    server = ClickHouseHttpServer(engine, host=LOOPBACK, port=options.port)
    threading.Thread(target=server.serve_forever, name="accept", daemon=True).start()
    where = f"{LOOPBACK}:{options.port}"
    sys.stdout.write(f"serving {options.data} (engine {engine.version}) on {where}\n")
    sys.stdout.flush()

    asked_to_end.wait()
    server.shutdown()
    server.server_close()
    if server.wait_idle(_END_PATIENCE):
        engine.close()
    # A request that will not end must not keep us: to the data this is the same as SIGKILL.
    os._exit(0)


def _parse_arguments() -> argparse.Namespace:
    half_of_memory = psutil.virtual_memory().total // 2
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--port", type=int, required=True, help=f"port on {LOOPBACK}")
    parser.add_argument(
        "--memory-bytes",
        type=int,
        default=min(_MEMORY_BYTES_MAX, half_of_memory),
        help="most memory the engine may use (default: half of the machine's, at most 8 GiB)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()

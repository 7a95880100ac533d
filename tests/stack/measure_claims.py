"""What a claim costs Redis as the dedup memory fills: `python -m tests.stack.measure_claims`.

Three local Redis get the same new identities in turns, as a worker claims them: one with
Meterline's module, one without, and one without and on small pages of memory. Prints microseconds
of the server's CPU time for a claim, by how many identities it holds, and the bytes of each.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from deploy.localstack.redis_module import VARIABLE
from deploy.localstack.stack import LocalStack
from loadtest.dedup_room import make_room
from metering.batch import Source
from metering.claims import Claims
from metering.settings import load_settings
from sinks.dedup_connection import connect_redis, run_id
from sinks.dedup_form import ClaimForm
from sinks.dedup_memory import MemoryLayout, RedisDedupMemory

_CALL = 16_384
_TURN = 64 * _CALL
_STREAM, _MARKER = "usage.events:measured", "measured"


class Kind(NamedTuple):
    """One way to keep claims."""

    form: ClaimForm
    pages: str

    def __str__(self) -> str:
        """A word or two."""
        return f"{self.form.name.lower()} on {self.pages} pages"


_KINDS = (
    Kind(ClaimForm.TABLES, "huge"), Kind(ClaimForm.HASHES, "huge"), Kind(ClaimForm.HASHES, "small"),
)  # fmt: skip


def main() -> None:
    """Measure on stacks of its own, in a temporary folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=24_000_000, help="identities to claim")
    parser.add_argument("--planned", type=int, help="METERLINE_DEDUP_EVENTS_MAX; else --events")
    parser.add_argument("--rows", type=int, default=6, help="lines to print")
    parser.add_argument("--seed", type=int, default=20_261)
    asked = parser.parse_args()
    planned = asked.planned or asked.events
    say(f"{asked.events:,} identities, laid out for {planned:,}, seed {asked.seed}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {kind: stack.enter_context(filled(folder, kind, planned)) for kind in _KINDS}
        measure(servers, asked)


class Filled:
    """One Redis, and what it has spent on claims."""

    def __init__(self, url: str, pid: int, *, form: ClaimForm, planned: int) -> None:
        """Attach to an empty memory that is laid out for `planned` identities."""
        settings = load_settings()
        layout = MemoryLayout.planned(
            settings.redis_prefix, shards=settings.dedup_shards, events_max=planned,
            window=timedelta(days=1),
        )  # fmt: skip
        make_room(url, planned)
        self._server = psutil.Process(pid)
        self._store = connect_redis(url)
        for shard in range(layout.shards):
            self._store.hset(layout.state_key(shard), "marker", _MARKER)
        self._memory = RedisDedupMemory(
            url, layout, form=form, marker=_MARKER, run=run_id(self._store), complete=True
        )
        self._source: Source = self._memory.begin(_STREAM, 0)

    def claim(self, identities: np.ndarray, first: int) -> float:
        """Claim them all, which nobody holds; seconds of the server's CPU time."""
        before = self._spent_s()
        for at in range(0, len(identities), _CALL):
            some = identities[at : at + _CALL]
            offsets = np.arange(first + at, first + at + len(some), dtype=np.int64)
            answers = self._memory.claim(
                Claims(
                    self._source, some, offsets, np.zeros(len(some), np.int64),
                    np.zeros(len(some), np.uint32), record_ms=1_770_000_000_000,
                )
            )  # fmt: skip
            assert not answers.statuses.any(), "an identity was held that is new"
        return self._spent_s() - before

    def bytes_held(self) -> int:
        """What the server says it uses."""
        info: dict[str, int] = self._store.info("memory")
        return info["used_memory"]

    def close(self) -> None:
        """Give the connections back."""
        self._memory.close()
        self._store.close()

    def _spent_s(self) -> float:
        times = self._server.cpu_times()
        return float(times.user + times.system)


@contextmanager
def filled(folder: Path, kind: Kind, planned: int) -> Iterator[Filled]:
    """A Redis of its own."""
    wanted = {} if kind.form is ClaimForm.TABLES else {VARIABLE: "no"}
    stack = LocalStack(folder / str(kind).replace(" ", "-"), environment=wanted)
    os.environ["MALLOC_CONF"] = "thp:always" if kind.pages == "huge" else "thp:never"
    try:
        stack.up(["redis"])
        service = stack.service("redis")
        pid = service.pid
        assert pid is not None
        found = Filled(service.address, pid, form=kind.form, planned=planned)
        yield found
        found.close()
    finally:
        stack.down()


def measure(servers: dict[Kind, Filled], asked: argparse.Namespace) -> None:
    """Print a line for each part of the identities."""
    random = np.random.default_rng(asked.seed)
    every = max(asked.events // asked.rows // _TURN, 1) * _TURN
    claimed = 0
    while claimed < asked.events:
        spent = dict.fromkeys(servers, 0.0)
        for _ in range(every // _TURN):
            identities = random.integers(0, 2**64, (_TURN, 2), dtype=np.uint64)
            for kind, server in servers.items():
                spent[kind] += server.claim(identities, claimed)
            claimed += _TURN
        told = (
            f"{kind} {spent[kind] / every * 1e6:.2f} us, {server.bytes_held() / claimed:.1f} bytes"
            for kind, server in servers.items()
        )
        say(f"{claimed:>12,} held: {'; '.join(told)}")


def say(line: str) -> None:
    """Print a line at once, as each takes a while to come."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

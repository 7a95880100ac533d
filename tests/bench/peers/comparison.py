"""The order in which things are measured: round by round, then the kills."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from bench import Bench
from our_worker import measure_ours, measure_ours_killed
from peer_load import PeerLoad, fill
from peer_rows import Peer
from peer_run import PeerRun
from rated import priced_catalog

from loadtest.peers.report import Row

#: A worker needs events for more than one flush to be killed between two.
_KILLED_SHARE = 2
_EVENTS_MIN = 4_000


@dataclass(frozen=True)
class Step:
    """One measurement that goes into one row."""

    name: str
    row: Row
    run: Callable[[], None]


class Comparison:
    """Rows in their order. Peers read topics that are filled once, Meterline a new one each."""

    def __init__(self, bench: Bench, peers: Sequence[Peer]) -> None:
        self.bench = bench
        self.rows = [Row(peer.name, peer.title, peer.promises) for peer in peers]
        self._peers = peers
        self._loads: dict[int, PeerLoad] = {}

    def steps(self, rounds: int, *, is_killed: bool) -> Iterator[Step]:
        """All of it: each round has every row once, so that no disturbance is of one row only."""
        pairs = list(zip(self._peers, self.rows, strict=True))
        for number in range(1, rounds + 1):
            for peer, row in pairs:
                measure = partial(self._measure, peer, row, number=number)
                yield Step(f"round {number}", row, measure)
        for peer, row in pairs:
            if is_killed and peer.is_killed:
                yield Step("killed", row, partial(self._kill, peer, row))

    def _measure(self, peer: Peer, row: Row, *, number: int) -> None:
        self.bench.out.print(f"\nround {number}: {peer.title}", markup=False)
        name = f"{peer.name}_{number}"
        if peer.script:
            run = PeerRun(self.bench, peer, self._load(peer.share), name=name).measure(number)
        else:
            priced = priced_catalog(self.bench) if peer.is_rated else None
            load = fill(self.bench, name, self._events(peer.share),
                        catalog=str(priced.catalog) if priced else "")  # fmt: skip
            run = measure_ours(self.bench, load, number=number, name=name, priced=priced)
            self.bench.drop(load.load.deployment)
        row.runs.append(run)
        self.bench.say(f"{run.speed:,.0f} events/s; {run.deviation.text}; raw {run.raw}")

    def _kill(self, peer: Peer, row: Row) -> None:
        self.bench.out.print(f"\nkilled on the way: {peer.title}", markup=False)
        if peer.script:
            load = self._load(peer.share)
            row.killed = PeerRun(
                self.bench, peer, load, name=f"{peer.name}_killed"
            ).measure_killed()
        else:
            load = fill(self.bench, "killed", self._events(_KILLED_SHARE))
            row.killed = measure_ours_killed(self.bench, load)
            self.bench.drop(load.load.deployment)
        self.bench.say(row.killed)

    def _load(self, share: int) -> PeerLoad:
        if share not in self._loads:
            self._loads[share] = fill(self.bench, f"peers_{share}", self._events(share))
        return self._loads[share]

    def _events(self, share: int) -> int:
        return max(self.bench.sizes.events // share // 4 * 4, _EVENTS_MIN)

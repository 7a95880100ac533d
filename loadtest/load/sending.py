"""The sender: a process of its own that keeps the schedule, whatever the pipeline does.

A thread makes the messages ahead of time; the main one sends each tick's when it is due, at once
when it is late already. What it tells the parent goes over a pipe, as the values below.
"""

import queue
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

import numpy as np
from confluent_kafka import KafkaException
from numpy.typing import NDArray

from loadtest.load.making import Chunk, Load, LoadMaker
from loadtest.load.schedule import TICKS_PER_S
from loadtest.outcome import Outcome
from loadtest.produce import Delivering, Delivery, NotDelivered

_LEAD_CHUNKS = 40
_LEAD_S = 1.0
#: The first chunks are made before the first tick is due.
_SETTLE_S = 0.3
#: How long either thread keeps the interpreter from the other one; a tick is 10 ms.
_SWITCH_S = 0.0005
_LINGER_MS = 5
#: On-time events that are sent later than this would count as late: the truth would not hold.
_BEHIND_S_MAX = 120.0


@dataclass(frozen=True)
class Job:
    """What to send, and where."""

    load: Load
    bootstrap_servers: str
    topic: str


@dataclass(frozen=True)
class Started:
    """The first tick is due at `began_s` (monotonic); the logs ended at `ends` until then."""

    began_s: float
    ends: dict[int, int]
    load: Load


@dataclass(frozen=True)
class Placed:
    """About to be sent: partition and tick of each message, in order."""

    partitions: NDArray[np.int32]
    ticks: NDArray[np.int32]


@dataclass(frozen=True)
class Sent:
    """Handed to the client so far; `behind_s` is the largest delay since the last word."""

    events: int
    bytes: int
    behind_s: float


@dataclass(frozen=True)
class Done:
    """Everything is acknowledged; the truth about it, and the delays in seconds of all ticks.

    Those of ticks up to the last one with a message.
    """

    delivery: Delivery
    outcome: Outcome
    behind_s: NDArray[np.float64]


@dataclass(frozen=True)
class Failed:
    """It could not go on; the text is for people."""

    reason: str


Word = Started | Placed | Sent | Done | Failed


def stop_signal() -> Event:
    """What ends a sender before its schedule does, when set; keep it until the sender ends."""
    return get_context("spawn").Event()


def start_sender(job: Job, stop: Event | None = None) -> tuple[BaseProcess, Connection]:
    """Start the process; it sends `Word`s until `Done` or `Failed`.

    Once `stop` is set nothing more is made; what was made ahead is still sent when it is due, so
    that the truth is of all that was sent.
    """
    context = get_context("spawn")
    ours, its = context.Pipe(duplex=False)
    process = context.Process(
        target=_run, args=(job, its), kwargs={"stop": stop}, name="sender",
        daemon=True,
    )  # fmt: skip
    process.start()
    its.close()
    return process, ours


def _run(job: Job, pipe: Connection, *, stop: Event | None) -> None:
    sys.setswitchinterval(_SWITCH_S)
    try:
        _send(job, pipe, stop=stop)
    except NotDelivered as error:
        pipe.send(Failed(str(error)))
    except KafkaException as error:
        pipe.send(Failed(f"Kafka at {job.bootstrap_servers}: {error.args[0].str()}"))
    finally:
        pipe.close()


def _send(job: Job, pipe: Connection, *, stop: Event | None) -> None:
    delivering = Delivering(job.bootstrap_servers, job.topic, linger_ms=_LINGER_MS)
    load = replace(job.load, began_s=int(time.time() + _LEAD_S))
    maker = LoadMaker(load)
    chunks = _made_ahead(maker, stop)
    first = next(chunks, None)
    began_s = time.monotonic() + max(load.began_s - time.time(), 0.0) + _SETTLE_S
    pipe.send(Started(began_s, delivering.ends_before, load))
    behind, ticks = np.zeros(len(load.schedule.ends)), 0
    while first is not None:
        partitions = np.array(first.partitions, dtype=np.int32)
        pipe.send(Placed(partitions, first.ticks))
        worst = 0.0
        for tick, start, end in _by_tick(first.ticks):
            due_s = began_s + tick / TICKS_PER_S
            _sleep_until(due_s)
            rows = slice(start, end)
            delivering.send_rows(
                zip(first.keys[rows], first.values[rows], first.partitions[rows], strict=True)
            )
            behind[tick] = late_s = max(time.monotonic() - due_s, 0.0)
            worst, ticks = max(worst, late_s), tick + 1
            _check_pace(late_s)
        pipe.send(Sent(delivering.delivery.events, delivering.delivery.bytes, worst))
        first = next(chunks, None)
    delivery = delivering.finish()
    delivery.seconds = time.monotonic() - began_s
    pipe.send(Done(delivery, maker.outcome(), behind[:ticks]))


def _made_ahead(maker: LoadMaker, stop: Event | None) -> Iterator[Chunk]:
    """Chunks, in order, until the last or `stop`; a thread makes the next ones meanwhile."""
    ready: queue.Queue[Chunk | BaseException | None] = queue.Queue(_LEAD_CHUNKS)

    def make() -> None:
        try:
            for chunk in maker:
                ready.put(chunk)
                if stop is not None and stop.is_set():
                    break
            ready.put(None)
        except BaseException as error:  # noqa: BLE001 - raised by whoever takes
            ready.put(error)

    threading.Thread(target=make, name="making", daemon=True).start()
    while (chunk := ready.get()) is not None:
        if isinstance(chunk, BaseException):
            raise chunk
        yield chunk


def _by_tick(ticks: NDArray[np.int32]) -> Iterator[tuple[int, int, int]]:
    """Each tick with the half-open range of its messages."""
    found, starts = np.unique(ticks, return_index=True)
    ends = [*starts[1:].tolist(), len(ticks)]
    yield from zip(found.tolist(), starts.tolist(), ends, strict=True)


def _sleep_until(moment_s: float) -> None:
    ahead = moment_s - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)


def _check_pace(behind_s: float) -> None:
    if behind_s > _BEHIND_S_MAX:
        msg = (
            f"the producer is {behind_s:.0f} s behind its schedule, at most {_BEHIND_S_MAX:.0f} s"
            " are allowed: lower --rate, or see why Kafka takes so little"
        )
        raise NotDelivered(msg)

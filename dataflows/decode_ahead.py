"""The decode step as the dataflow runs it: a thread of its own decodes while others are counted.

While the log is far ahead, what one poll gave is held back until the next: it is decoded meanwhile.
Otherwise items go on at once, and are waited for. They leave in the order in which they came.
"""

from concurrent.futures import Executor, Future, ThreadPoolExecutor

from metering.batch import EventBatch, RawBatch, Tick
from metering.decode import Decoder

#: What the engine carries from the source to the step `decode`.
Decoding = Future[EventBatch]


class DecodeAhead:
    """Used by the dataflow's thread; `decoder` is called by the executor only."""

    def __init__(self, decoder: Decoder, executor: Executor | None = None) -> None:
        """`executor` decodes, one batch at a time; a thread by default."""
        self._decoder = decoder
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._held: list[Decoding | Tick] = []

    def step(self, items: list[RawBatch | Tick], *, is_behind: bool) -> list[Decoding | Tick]:
        """Have `items` decoded; what goes on now: all, or while `is_behind` those of before."""
        begun = [
            item if isinstance(item, Tick) else self._executor.submit(self._decode, item)
            for item in items
        ]
        if is_behind and not any(isinstance(item, Tick) and item.last for item in items):
            ready, self._held = self._held, begun
        else:
            ready, self._held = self._held + begun, []
        return ready

    def close(self) -> None:
        """Forget what is not begun, and wait for the batch under way."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _decode(self, raw: RawBatch) -> EventBatch:
        batch = self._decoder.decode(raw)
        batch.raw = raw
        return batch

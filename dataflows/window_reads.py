"""Stored windows that late events need, read beside the flow.

A batch asks when it is loaded and needs the answer when it is applied; meanwhile identities are
claimed and other batches are decoded. Queries run one at a time, and each answers all that was
asked until it began: the busier ClickHouse is, the fewer they are.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from metering.totals import PlacedKey, StoredWindow, TotalsStore, WindowKey

#: Of one query, unless a single batch has more; their text stays far below what a query may have.
_KEYS_MAX = 20_000


@dataclass(slots=True, eq=False)
class _Request:
    stream: str
    keys: frozenset[PlacedKey]
    known: Mapping[PlacedKey, StoredWindow | None]
    #: Those that one query answers, from when it began.
    together: "list[_Request] | None" = None
    found: dict[PlacedKey, StoredWindow] | None = None


class Asked:
    """What one batch asked for."""

    def __init__(self, request: _Request, future: Future[None]) -> None:
        """`future` is done when the request is answered."""
        self._request = request
        self._future = future

    def window(self, partition: int, key: WindowKey) -> StoredWindow | None:
        """A window as it is stored, None if it is not; waits. Raises what the store raises."""
        self._future.result()
        place = PlacedKey(partition, key)
        if place in self._request.known:
            return self._request.known[place]
        assert self._request.found is not None
        return self._request.found.get(place)


class WindowReads:
    """Asks `store`; `ask` is for one thread."""

    def __init__(self, store: TotalsStore, executor: Executor | None = None) -> None:
        """`executor` runs queries, one at a time; a thread by default."""
        self._store = store
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="windows")
        self._waiting: list[_Request] = []
        self._lock = Lock()

    def ask(
        self, stream: str, keys: Iterable[PlacedKey], *,
        known: Mapping[PlacedKey, StoredWindow | None] | None = None,
    ) -> Asked:  # fmt: skip
        """Have windows of a stream read; those that are `known` are not read."""
        known = known or {}
        request = _Request(stream, frozenset(keys) - known.keys(), known)
        if not request.keys:
            nothing: Future[None] = Future()
            nothing.set_result(None)
            return Asked(request, nothing)
        with self._lock:
            self._waiting.append(request)
        return Asked(request, self._executor.submit(self._answer, request))

    def close(self) -> None:
        """Wait for the query under way, and begin no other."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _answer(self, request: _Request) -> None:
        """Answer it, and others that wait; nothing if an earlier query did, and did not fail."""
        if request.found is not None:
            return
        if request.together is None:
            request.together = self._gather(request)
        keys = frozenset[PlacedKey]().union(*(each.keys for each in request.together))
        found = self._store.windows(request.stream, sorted(keys))
        for each in request.together:
            each.found = found

    def _gather(self, request: _Request) -> list[_Request]:
        """The request, and those that wait for the same stream, as many as one query may hold."""
        together, others, keys = [request], [], len(request.keys)
        with self._lock:
            for each in self._waiting:
                if each is request:
                    continue
                if each.stream == request.stream and keys + len(each.keys) <= _KEYS_MAX:
                    together.append(each)
                    keys += len(each.keys)
                else:
                    others.append(each)
            self._waiting = others
        return together

"""Threads without threads: work that can stop before any call to a server and go on later.

A worker's two background threads (claims, flushes) run the real code. Here such a piece of work is
a `Task`: it runs until it has made as many calls as it may, stops by `Paused`, and is later run
again from its start with the answers it already got played back from its journal. So any other
worker can act between any two calls, in one thread, and a seed decides all of it. What runs in a
task must keep no state of its own between calls; the sink and the deduplicator do not.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Paused(BaseException):
    """A task has used up its calls."""


class Killed(BaseException):
    """The process that was acting is dead: nothing of it may go on."""


class Turn(Protocol):
    """Who decides what happens while a worker's main thread waits."""

    running: "Task | None"

    def wait_for(self, task: "Task") -> None:
        """Other workers act, then `task` gets some calls. Raises `Killed`."""
        ...


@dataclass(frozen=True, slots=True)
class _Answer:
    value: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class Task:
    """One call of `do`, made in pieces."""

    turn: Turn
    do: Callable[[], Any]
    finished: bool = False
    next_call: str = ""  # label of the call that it is stopped at
    value: Any = None
    error: Exception | None = None
    _journal: list[_Answer] = field(default_factory=list)
    _at: int = 0
    _left: int = 0

    def advance(self, calls: int) -> None:
        """Go on for at most `calls` further calls to servers."""
        self._at, self._left = 0, calls
        before, self.turn.running = self.turn.running, self
        try:
            self.value = self.do()
            self.finished = True
        except Paused:
            pass
        except Exception as error:  # noqa: BLE001 - what the thread would keep in its future
            self.error = error
            self.finished = True
        finally:
            self.turn.running = before

    def call(self, do: Callable[[], T], *, is_server: bool = True, label: str = "") -> T:
        """An answer from the journal, or a new one; may stop the task before a server is called."""
        if self._at == len(self._journal):
            if is_server:
                if self._left == 0:
                    self.next_call = label
                    raise Paused
                self._left -= 1
            try:
                self._journal.append(_Answer(do()))
            except Exception as error:  # noqa: BLE001 - played back like an answer
                self._journal.append(_Answer(error=error))
        answer = self._journal[self._at]
        self._at += 1
        if answer.error is not None:
            raise answer.error
        value: T = answer.value
        return value

    @property
    def is_begun(self) -> bool:
        """Whether it has called a server."""
        return bool(self._journal)


class SimFuture(Future[T]):
    """What `SimExecutor` hands out; waiting for it lets the others act."""

    def __init__(self, executor: "SimExecutor", task: Task) -> None:
        self._sim_executor = executor
        self._task = task

    def done(self) -> bool:
        return self._task.finished

    def result(self, timeout: float | None = None) -> T:
        assert timeout is None
        self._sim_executor.run_to(self._task)
        if self._task.error is not None:
            raise self._task.error
        value: T = self._task.value
        return value


class SimExecutor(Executor):
    """Stands in for one background thread: tasks in order, one at a time."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self.queue: deque[Task] = deque()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        task = Task(self._turn, lambda: fn(*args, **kwargs))
        self.queue.append(task)
        return SimFuture(self, task)

    def head(self) -> Task | None:
        """The task under way."""
        while self.queue and self.queue[0].finished:
            self.queue.popleft()
        return self.queue[0] if self.queue else None

    def run_to(self, task: Task) -> None:
        """Until `task` is finished, the main thread waits."""
        while not task.finished:
            head = self.head()
            assert head is not None
            self._turn.wait_for(head)

    def shutdown(  # parameters as the executor's
        self,
        wait: bool = True,
        *,
        cancel_futures: bool = False,
    ) -> None:
        """Wait for the task under way; those behind it never begin."""
        assert wait
        assert cancel_futures
        head = self.head()
        self.queue = deque([head]) if head is not None and head.is_begun else deque()
        while self.queue and not self.queue[0].finished:
            self._turn.wait_for(self.queue[0])

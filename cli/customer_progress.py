"""A progress bar over customers, on the terminal's error stream."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.context import stderr


@contextmanager
def customer_progress(doing: str, *, is_shown: bool) -> Iterator[Callable[[int, int], None]]:
    """What is told how many customers of how many are done; silent where nobody looks."""
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    is_silent = not is_shown or not stderr.is_terminal
    with Progress(*columns, console=stderr, transient=True, disable=is_silent) as bar:
        task = bar.add_task(doing, total=None)

        def say(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        yield say

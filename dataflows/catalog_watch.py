"""Picks a changed catalog up: checked and stored beside the flow, taken over between two flows.

A flow rates under one catalog from its first event to its last. When there is another, the flow
writes and commits what it has read, and the next one goes on from there: that is the point.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_ISREG

from dataflows.catalog_load import load_versions
from dataflows.rating import Rating
from metering.errors import MeterlineError, TransientError
from metering.settings import Settings
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from sinks.catalog_store import CatalogStore
from sinks.clickhouse import connect_clickhouse

log = logging.getLogger("meterline")

Fingerprint = tuple[tuple[str, int, int], ...]


class CatalogWatch:
    """Looks at the catalog folder every so often, in a thread of its own."""

    def __init__(
        self, settings: Settings, book: PriceBook, *, seen: Fingerprint,
        say_refused: Callable[[int], object] = lambda _refused: None,
    ) -> None:  # fmt: skip
        """`seen` is the folder as it was before `book` was loaded.

        `say_refused` hears (1 or 0) whether the folder holds what cannot be taken over.
        """
        self._settings = settings
        self._say_refused = say_refused
        self._hash = book.content_hash
        self._seen = seen
        self._refused = ""  # hash of what was not to be stored, until somebody loads it by hand
        self._next: PriceBook | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="catalog")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._done.set()

    @property
    def has_news(self) -> bool:
        """Whether another catalog waits to be taken."""
        return self._next is not None

    def take(self) -> PriceBook:
        """The other catalog; from now on it is the one in force."""
        book, self._next = self._next, None
        assert book is not None, "asked without news"
        log.warning("catalog %s is in force from here on", book.content_hash[:12])
        return book

    def look(self) -> None:
        """Look once. A folder that changes while it is read is looked at again.

        So is one whose versions could not be stored because ClickHouse was away, and one that was
        refused once somebody has loaded it with a reason.
        """
        found = fingerprint(self._settings.catalog)
        if found == self._seen and not self._is_loaded_by_hand():
            return
        self._refused = ""
        try:
            book = load_price_book(self._settings.catalog)
            if fingerprint(self._settings.catalog) != found:
                return
            if book.content_hash != self._hash:
                self._refused = book.content_hash
                store_versions(self._settings, book)
        except TransientError as error:
            log.warning("the changed catalog waits: %s", error)
            return
        except (MeterlineError, OSError) as error:
            self._seen = found
            self._say_refused(1)
            log.warning("the changed catalog is not taken over: %s", error)
            return
        self._seen, self._refused = found, ""
        self._say_refused(0)
        if book.content_hash != self._hash:
            self._hash, self._next = book.content_hash, book

    def _is_loaded_by_hand(self) -> bool:
        if not self._refused:
            return False
        try:
            client = connect_clickhouse(self._settings)
        except TransientError:
            return False
        try:
            return CatalogStore(client).newest_hash() == self._refused
        except TransientError:
            return False
        finally:
            client.close()

    def _watch(self) -> None:
        while not self._done.wait(self._settings.catalog_poll / timedelta(seconds=1)):
            self.look()


def fingerprint(folder: Path) -> Fingerprint:
    """Names, sizes and times of the files of a folder: another one when a file was changed."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # an editor's, gone by now
            stat = path.stat()
            if not S_ISREG(stat.st_mode):
                continue
            found.append((path.name, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def store_versions(settings: Settings, book: PriceBook) -> None:
    """Store the price versions that a worker rates by, as `meterline catalog load` does.

    Raises `LoadRefused` where one that took effect would change, `SubscriptionsLost` where a great
    part of the subscriptions is gone, `DependencyDown`.
    """
    client = connect_clickhouse(settings)
    try:
        store = CatalogStore(client)
        if book.plans or store.versions():
            load_versions(
                store, book, actor="worker", edit_reason="", now=datetime.now(UTC),
                lost_percent_max=settings.catalog_lost_percent_max,
            )  # fmt: skip
    finally:
        client.close()


def rating_of(book: PriceBook) -> Rating | None:
    """What rates by a book; None where it has no prices."""
    return Rating(book) if book.plans else None

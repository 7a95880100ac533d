"""Derives what is stored of usage that was rated already again, while workers may be running.

1  fence    a new generation for every partition with usage of these customers: its worker is
            refused at its next check, drops what it holds and starts anew from what is stored
2  wait     for a write that had passed its check before
3  rows     raw events below the partition's cut, whose rating comes out differently, in place
            of themselves; the cards and billing periods that they name are written before
4  totals   one absolute row for each window that is not what raw adds up to now
5  values   the dedup memory is told which event counts for each distinct value
6  fence    what a worker read between 1 and 5 is void as well
7  compare  both; begin again if a write slipped in between after all
A crash anywhere leaves rows and totals that are right, or are written by the next run: what was
metered is not touched, and every row is absolute. Repeat it.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from clickhouse_connect.driver.client import Client

from dataflows.distinct_claims import DistinctClaims
from dataflows.rated_anew import Rerater
from metering.claims import DedupStore
from metering.errors import DependencyDown
from rating_engine.price_book.book import PriceBook
from sinks.conservation.cuts import absorbed_cuts
from sinks.conservation.findings import Cut
from sinks.rated_rows import RatedRows, Scope
from sinks.totals_anew import TotalsAnew

_ROUNDS_MAX = 5
_SETTLE_S = 1.0
#: Customers that are rated anew at once; their rows of the period are held in memory.
_CUSTOMERS_AT_ONCE = 200


class Rerating:
    """Makes raw rows and totals of customers what the price book of now makes of them."""

    def __init__(
        self, client: Client, book: PriceBook, *, store: DedupStore, claims: DistinctClaims,
        settle_s: float = _SETTLE_S, say: Callable[[str], None] = lambda _text: None,
    ) -> None:  # fmt: skip
        """`store` is the adopted dedup memory, `claims` tells it; `say` hears what is done."""
        self._claims = claims
        meters = book.catalog.meters.values()
        self._distinct = [each.key for each in meters if each.counted_dimension is not None]
        self._book = book
        self._client = client
        self._rows = RatedRows(client)
        self._totals = TotalsAnew(client, list(book.catalog.meters.values()))
        self._store = store
        self._settle_s = settle_s
        self._say = say

    def derive(self, scopes: Iterable[Scope]) -> int:
        """Derive again; how many raw rows were written. None of them is not an error.

        Raises `DependencyDown` where writes of workers keep slipping in between: repeat it.
        """
        done = 0
        for scope in scopes:
            for customers in _chunks(scope.customers):
                done += self._derive(scope._replace(customers=customers))
        return done

    def _derive(self, scope: Scope) -> int:
        partitions = self._rows.partitions(scope.customers)
        if not partitions:
            return 0
        done = 0
        for number in range(1, _ROUNDS_MAX + 1):
            self._fence(partitions)
            time.sleep(self._settle_s)
            cuts = self._cuts(partitions)
            rater = Rerater(self._book)
            rated = rater.rate(self._rows.billable(scope, cuts))
            self._say(
                f"round {number}: {len(scope.customers)} customers, "
                f"{rated.changed.num_rows} events rated differently"
            )
            if rated.changed.num_rows:
                self._rows.write(rated.changed, cards=rated.cards, periods=rated.periods)
                done += rated.changed.num_rows
            self._totals.write(scope, cuts)
            self._claims.hold(rated.values)
            if self._distinct:
                gone = rater.values_of(self._rows.taken_back(scope, self._distinct))
                self._claims.let_go(gone - rated.values.keys())
            self._fence(partitions)
            if self._is_settled(scope, self._cuts(partitions)):
                return done
        msg = (
            "ClickHouse was written to by workers in every round; if they still read another "
            "catalog wait until they have taken this one over, then repeat the command"
        )
        raise DependencyDown(msg)

    def _is_settled(self, scope: Scope, cuts: list[Cut]) -> bool:
        again = Rerater(self._book).rate(self._rows.billable(scope, cuts))
        return not again.changed.num_rows and not self._totals.differing(scope, cuts)

    def _fence(self, partitions: set[tuple[str, int]]) -> None:
        for stream, partition in sorted(partitions):
            self._store.begin(stream, partition)

    def _cuts(self, partitions: set[tuple[str, int]]) -> list[Cut]:
        return [
            cut for cut in absorbed_cuts(self._client) if (cut.stream, cut.partition) in partitions
        ]


def _chunks(customers: Iterable[str]) -> Iterator[tuple[str, ...]]:
    remaining = iter(customers)
    while chunk := tuple(islice(remaining, _CUSTOMERS_AT_ONCE)):
        yield chunk

"""Do all who state a charge state the same one? What finance reads, raw history, and a preview.

    view     `period_charges`: rate cards over live totals, in SQL
    raw      the bill derived from raw history by the engine
    preview  the same engine over live totals

All read as of now: run it while nothing is in flight, or look at what differs again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from billing.bills import Biller, CustomerBill, chunks
from billing.group_text import group_key
from billing.period_name import PeriodName
from billing.usage import SpanUsage, UsageReader, borders_of
from metering.decimals import units_of
from rating_engine.bill import Bill, LineKind
from rating_engine.period_rater import GroupKey
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.preview import Previewer
from sinks.clickhouse import clickhouse_errors

_SECOND_US = 1_000_000
_VIEW = """
SELECT customer_id, toString(meter) AS meter, `group`, toUnixTimestamp(period_start) AS period,
       sum(charge) AS exact, sum(amount) AS paid
FROM period_charges
WHERE customer_id IN %(customers)s AND card != 0
GROUP BY customer_id, meter, `group`, period_start
"""

#: Exact (10^-24 of the currency's unit) and as paid, by meter and group.
_Charges = dict[tuple[str, GroupKey], tuple[int, Decimal]]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """What two state of one thing; `what` says of which, the rest is text."""

    customer_id: str
    what: str
    raw: str
    other: str


class Agreement:
    """Compares the three for customers of one price book, a chunk at a time."""

    def __init__(self, client: Client, book: PriceBook) -> None:
        """Reads through `client`, whose database is the deployment's."""
        self._client = client
        self._book = book
        self._biller = Biller(client, book)
        self._reader = UsageReader(client, book.catalog.meters)
        self.customers = 0
        self.charges = 0

    def disagreements(self, customers: Iterable[str], name: PeriodName) -> Iterator[Disagreement]:
        """All there are, in the order of `customers`. Raises `DependencyDown`."""
        for chunk in chunks(customers):
            bills = self._biller.chunk(chunk, name)
            viewed = self._viewed(chunk)
            live = self._reader.totals(
                [borders_of(each.customer_id, each.period, spans=each.spans) for each in bills]
            )
            for each in bills:
                self.customers += 1
                yield from self._compare(
                    each,
                    viewed=viewed.get((each.customer_id, each.period.start), {}),
                    live=live.get(each.customer_id, {}),
                )

    def _compare(
        self, found: CustomerBill, *, viewed: _Charges, live: SpanUsage
    ) -> Iterator[Disagreement]:
        derived = _by_key(found.bill)
        # what is due for a meter that was not used has no usage to stand beside in the view
        derived = {key: derived[key] for key in derived if key in found.usage}
        self.charges += len(derived)
        for key in sorted(derived.keys() | viewed.keys()):
            if derived.get(key, _NOTHING) != viewed.get(key, _NOTHING):
                what = f"{key[0]} {dict(key[1])}: period_charges"
                sides = (_text(each.get(key)) for each in (derived, viewed))
                yield Disagreement(found.customer_id, what, *sides)
        priced = next(each for each in found.spans if each.version is not None)
        at_us = found.period.start * _SECOND_US + priced.span.start
        known = {key: usage for key, usage in live.items() if key[0] in self._book.catalog.meters}
        preview = Previewer(self._book, found.customer_id, at_us=at_us).preview(known, {})
        if preview.period_bill != found.bill:
            totals = (str(each.total) for each in (found.bill, preview.period_bill))
            yield Disagreement(found.customer_id, "the whole period: preview", *totals)

    def _viewed(self, customers: list[str]) -> dict[tuple[str, int], _Charges]:
        with clickhouse_errors("reading charges"):
            table = self._client.query_arrow(
                _VIEW, parameters={"customers": customers}, use_strings=True
            ).combine_chunks()
        found: dict[tuple[str, int], _Charges] = {}
        exact = units_of(_whole(table, "exact"))
        names = ("customer_id", "period", "meter", "group", "paid")
        columns = [table.column(name).to_pylist() for name in names]
        for at, (customer, period, meter, group, paid) in enumerate(zip(*columns, strict=True)):
            key = meter, group_key(group)
            found.setdefault((customer, period), {})[key] = exact[at], Decimal(paid or 0)
        return found


_NOTHING = (0, Decimal(0))


def _text(charge: tuple[int, Decimal] | None) -> str:
    return "-" if charge is None else f"{charge[1]} ({charge[0]} x 10^-24)"


def _by_key(found: Bill) -> _Charges:
    sums: _Charges = {}
    for line in found.lines:
        if line.kind is LineKind.CHARGE:
            exact, paid = sums.get((line.meter, line.group), _NOTHING)
            sums[line.meter, line.group] = exact + line.exact, paid + Decimal(str(line.amount))
    return sums


def _whole(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)

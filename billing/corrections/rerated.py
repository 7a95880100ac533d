"""What rating a billing period again, under the price book of now, changes in money.

Where an invoice was issued: the bill of now, less all that was billed so far, line by line. Where
none was: what usage is charged now as stored, and what it will be; base fees and true-ups are not
stored before the close, which takes those of the price book then.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from billing.bills import Biller, CustomerBill, chunks
from billing.corrections.billed import (
    Billed,
    BilledSoFar,
    Figures,
    LineKey,
    amount_of,
    money_of,
)
from billing.corrections.policy import NotAllowed
from billing.group_text import group_key
from billing.period_name import PeriodName
from billing.rerate import Difference
from metering.dimensions import canonical
from rating_engine.bill import LineKind
from rating_engine.billing_period import BillingCalendar, BillingPeriod
from rating_engine.money import Money
from rating_engine.price_book.book import PriceBook

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class ReratedCustomer:
    """One customer's period: differences by meter and group; `billed` where it was invoiced."""

    customer_id: str
    period: BillingPeriod
    differences: tuple[Difference, ...]
    billed: Billed | None


class ReratedPeriods:
    """Works it out for customers of one price book, a chunk at a time; nothing is written."""

    def __init__(self, client: Client, book: PriceBook) -> None:
        """Reads through `client`, whose database is the deployment's."""
        self._book = book
        self._biller = Biller(client, book)
        self._billed = BilledSoFar(client)

    def customers(
        self, customers: Iterable[str], name: PeriodName, *, without_run: str = ""
    ) -> Iterator[ReratedCustomer]:
        """In the order of `customers`; adjustments of `without_run` count as not there.

        Raises `NotAllowed` where a period changed its currency, `DependencyDown`.
        """
        for chunk in chunks(customers):
            bills = {each.customer_id: each for each in self._biller.chunk(chunk, name)}
            periods = {each: self.period(each, name) for each in chunk}
            for period in sorted(set(periods.values())):
                some = [each for each in chunk if periods[each] == period]
                issued = self._billed.issued(some, period.start, without_run=without_run)
                live = self._billed.live(some, period.start, end=period.end)
                for each in some:
                    found = bills.get(each)
                    billed = issued.get(each)
                    if billed is not None:
                        yield self._issued(each, period, billed=billed, found=found)
                    else:
                        yield self._open(each, period, live=live.get(each, {}), found=found)

    def period(self, customer_id: str, name: PeriodName) -> BillingPeriod:
        """What a name means for a customer; calendar months in UTC without a subscription."""
        return name.of(self._book.calendar_of(customer_id) or BillingCalendar())

    def _open(
        self, customer_id: str, period: BillingPeriod, *,
        live: dict[tuple[str, str], Money], found: CustomerBill | None,
    ) -> ReratedCustomer:  # fmt: skip
        new: dict[tuple[str, tuple[tuple[str, str], ...]], Money] = {}
        if found is not None:
            for line in found.bill.lines:
                key = (line.meter, line.group)
                if line.kind is LineKind.CHARGE and key in found.usage:
                    new[key] = new.get(key, Money(line.amount.currency, 0)) + line.amount
        old = {(meter, group_key(group)): each for (meter, group), each in live.items()}
        differences = [
            _difference(customer_id, LineKind.CHARGE, key=key, old=old.get(key), new=new.get(key))
            for key in sorted(old.keys() | new.keys())
        ]
        return ReratedCustomer(customer_id, period, tuple(differences), None)

    def _issued(
        self, customer_id: str, period: BillingPeriod, *,
        billed: Billed, found: CustomerBill | None,
    ) -> ReratedCustomer:  # fmt: skip
        now = {} if found is None else self._lines(found)
        if found is not None and found.bill.total.currency.code != billed.currency:
            _refuse(customer_id, old=billed.currency, new=found.bill.total.currency.code)
        code = billed.currency
        sums: dict[tuple[str, str, str], list[int]] = {}
        for key in billed.lines.keys() | now.keys():
            pair = sums.setdefault((key.kind, key.meter, key.group), [0, 0])
            pair[0] += billed.lines.get(key, Figures()).amount
            pair[1] += now.get(key, 0)
        differences = [
            _difference(
                customer_id, LineKind(kind), key=(meter, group_key(group) if group else ()),
                old=money_of(pair[0], code), new=money_of(pair[1], code),
            )
            for (kind, meter, group), pair in sorted(sums.items())
        ]  # fmt: skip
        return ReratedCustomer(customer_id, period, tuple(differences), billed)

    def _lines(self, found: CustomerBill) -> dict[LineKey, int]:
        """Amounts of the lines of a bill, as an invoice names them."""
        lines: dict[LineKey, int] = {}
        start = found.period.start
        for line in found.bill.lines:
            first = found.spans[line.spans[0]]
            group = ""
            if line.meter:
                values, meter = dict(line.group), self._book.catalog.meters[line.meter]
                group = canonical({name: values.get(name, "") for name in meter.group_by})
            key = LineKey(str(line.kind), line.meter, group, start + first.span.start // _SECOND_US)
            lines[key] = lines.get(key, 0) + amount_of(line.amount)
        return lines


def changed(differences: Sequence[Difference]) -> list[Difference]:
    """Those that move money."""
    return [each for each in differences if each.change.minor]


def _difference(
    customer_id: str, kind: LineKind, *, key: tuple[str, tuple[tuple[str, str], ...]],
    old: Money | None, new: Money | None,
) -> Difference:  # fmt: skip
    known = old or new
    assert known is not None, "one side has it"
    nothing = Money(known.currency, 0)
    if old is not None and new is not None and old.currency != new.currency:
        _refuse(customer_id, old=old.currency.code, new=new.currency.code)
    return Difference(customer_id, kind, *key, old or nothing, new or nothing)


def _refuse(customer_id: str, *, old: str, new: str) -> None:
    msg = (
        f"{customer_id}: expected charges in {old}, as they were, got {new}; credit the one and "
        "charge the other by hand"
    )
    raise NotAllowed(msg)

"""What other prices would change: bills of one period under two price books, line by line."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import groupby

from billing.bills import Biller, CustomerBill, chunks, customers_of
from billing.period_name import PeriodName
from rating_engine.bill import LineKind
from rating_engine.currency import Currency
from rating_engine.money import Money
from rating_engine.period_rater import GroupKey
from rating_engine.price_book.book import PriceBook

_Key = tuple[str, int, str, GroupKey]
_KINDS = list(LineKind)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a customer is charged under the old prices and under the new ones.

    For one meter and group, or for a true-up or base fee (`meter` is ""). A charge of several parts
    of a period is the sum of their rounded lines. `old` and `new` have one currency: where that
    changed there are two differences, each with nothing on the other side.
    """

    customer_id: str
    kind: LineKind
    meter: str
    group: GroupKey
    old: Money
    new: Money

    @property
    def change(self) -> Money:
        """What is due in addition; negative where the new prices are lower."""
        return self.new - self.old


class Rerating:
    """Compares two price books over raw history; nothing is written."""

    def __init__(self, old: Biller, new: Biller) -> None:
        """Bills under what is in force, and under what is asked about."""
        self._old = old
        self._new = new

    def differences(self, customers: Iterable[str], name: PeriodName) -> Iterator[Difference]:
        """All lines of both sides, equal ones too, in the order of `customers`.

        Memory is that of one chunk of customers. Raises `DependencyDown`.
        """
        for chunk in chunks(customers):
            old = {each.customer_id: each for each in self._old.chunk(chunk, name)}
            new = {each.customer_id: each for each in self._new.chunk(chunk, name)}
            for customer_id in chunk:
                yield from compared(customer_id, old.get(customer_id), new=new.get(customer_id))


def compared(
    customer_id: str, old: CustomerBill | None, *, new: CustomerBill | None
) -> Iterator[Difference]:
    """The differences of one customer: by currency, kind (as bills have them), meter and group."""
    before, currencies = _amounts(old)
    after, others = _amounts(new)
    currencies |= others
    for key in sorted(before.keys() | after.keys()):
        code, kind, meter, group = key
        nothing = Money(currencies[code], 0)
        yield Difference(
            customer_id,
            _KINDS[kind],
            meter,
            group,
            before.get(key, nothing),
            after.get(key, nothing),
        )


def customers_of_both(old: PriceBook, new: PriceBook) -> Iterator[str]:
    """Every customer of one book or the other, in order, each once."""
    for customer_id, _ in groupby(merge(customers_of(old), customers_of(new))):
        yield customer_id


def _amounts(found: CustomerBill | None) -> tuple[dict[_Key, Money], dict[str, Currency]]:
    amounts: dict[_Key, Money] = {}
    if found is None:
        return amounts, {}
    currency = found.bill.total.currency
    for line in found.bill.lines:
        key = (currency.code, _KINDS.index(line.kind), line.meter, line.group)
        amounts[key] = amounts.get(key, Money(currency, 0)) + line.amount
    return amounts, {currency.code: currency}

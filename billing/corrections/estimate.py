"""How much money a correction moves, by what is known now; nothing is written."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from clickhouse_connect.driver.client import Client

from billing.bills import customers_of
from billing.corrections.billed import BilledSoFar, money
from billing.corrections.policy import NotAllowed
from billing.corrections.rerated import ReratedPeriods, changed
from billing.corrections.targets import Target
from billing.corrections.what_if import Change, Happening, WhatIf
from billing.period_name import PeriodName
from billing.rerate import Difference, compared
from metering.dimensions import canonical
from metering.quantity import units
from metering.rejection import RejectionCode
from metering.rfc3339 import microseconds
from rating_engine.price_book.book import PriceBook
from sinks.rated_rows import RatedRows

_DECIMAL = re.compile(r"-?\d{1,18}(?:\.\d{1,4})?", re.ASCII)
#: Stands for the identity of an event that is not there yet; the greatest there is.
_NEW = b"\xff" * 16


@dataclass(frozen=True, slots=True)
class Estimate:
    """Money that moves, line by line; `issued` are periods (customer, start) with an invoice.

    `exposure` is what moves without its sign: of each customer and period the net amount, added
    up. `currency` is "" where nothing is charged.
    """

    differences: tuple[Difference, ...]
    exposure: Decimal
    currency: str
    issued: tuple[tuple[str, int], ...]


class Estimator:
    """Works estimates out under one price book."""

    def __init__(self, client: Client, book: PriceBook) -> None:
        """Reads through `client`, whose database is the deployment's."""
        self._client = client
        self._book = book
        self.what_if = WhatIf(client, book)
        self.billed = BilledSoFar(client)
        self.rerated = ReratedPeriods(client, book)

    def events(self, targets: Sequence[Target], event: Mapping[str, Any] | None = None) -> Estimate:
        """Of events of one customer that go, and one that comes in their place."""
        customer_id = targets[0].customer_id
        by_period: dict[str, dict[tuple[str, str], Change]] = {}
        for each in targets:
            name = self.what_if.period_name(customer_id, each.at_us).text
            changes = by_period.setdefault(name, {})
            key = (each.meter, each.group)
            old = changes.get(key, Change(customer_id, *key, frozenset()))
            changes[key] = old._replace(without=old.without | {each.identity})
        if event is not None:
            at_us, comes = _happening(event)
            meter = self._book.catalog.meters[event["meter"]]
            group = canonical({name: event["dimensions"].get(name, "") for name in meter.group_by})
            name = self.what_if.period_name(customer_id, at_us).text
            changes = by_period.setdefault(name, {})
            old = changes.get(
                (meter.key, group), Change(customer_id, meter.key, group, frozenset())
            )
            changes[meter.key, group] = old._replace(added=(*old.added, comes))
        found: list[list[Difference]] = []
        issued = []
        for name, changes in by_period.items():
            period = self.what_if.period(customer_id, PeriodName.read(name))
            if period.start in self.billed.issued_starts(customer_id, period.start):
                issued.append((customer_id, period.start))
            before, after = self.what_if.bills(PeriodName.read(name), list(changes.values()))
            found.append(list(compared(customer_id, before, new=after)))
        return _estimate(found, issued)

    def rerate(self, customers: Iterable[str], name: PeriodName, *, without_run: str) -> Estimate:
        """Of rating a period again under the price book of now."""
        found, issued = [], []
        for each in self.rerated.customers(customers, name, without_run=without_run):
            found.append(list(each.differences))
            if each.billed is not None:
                issued.append((each.customer_id, each.period.start))
        return _estimate(found, issued)

    def customers(self, name: PeriodName) -> list[str]:
        """Everybody with a subscription, and who used something in a period."""
        known = set(customers_of(self._book))
        period = self.rerated.period("", name)
        margin = (period.end - period.start) + 86_400
        rows = RatedRows(self._client)
        users = rows.customers_between(max(period.start - margin, 0), period.end + margin)
        return sorted(known.union(users))


def credited(amount: str, code: str) -> Estimate:
    """Of a credit, or charge, of `amount` (signed decimal text). Raises `NotAllowed`."""
    if not _DECIMAL.fullmatch(amount):
        msg = f"--amount: expected a decimal like -12.50, got {amount!r}"
        raise NotAllowed(msg)
    try:
        found = money(amount, code)
    except ValueError as error:
        msg = f"--amount, --currency: {error}"
        raise NotAllowed(msg) from None
    if not found.minor:
        msg = "--amount: expected an amount other than 0"
        raise NotAllowed(msg)
    return Estimate((), abs(Decimal(str(found))), code, ())


NOTHING = Estimate((), Decimal(0), "", ())


def _happening(event: Mapping[str, Any]) -> tuple[int, Happening]:
    quantity = units(str(event.get("quantity", "0")))
    at_us = microseconds(event["occurred_at"])
    assert not isinstance(quantity, RejectionCode), "it was decoded before"
    assert at_us is not None, "it was decoded before"
    return at_us, Happening(_NEW, quantity, at_us, canonical(event["dimensions"]))


def _estimate(found: Sequence[Sequence[Difference]], issued: Sequence[tuple[str, int]]) -> Estimate:
    moved = [each for some in found for each in changed(some)]
    currencies = sorted({each.old.currency.code for each in moved})
    if len(currencies) > 1:
        msg = (
            f"expected one currency in a correction, got {', '.join(currencies)}; make one for each"
        )
        raise NotAllowed(msg)
    exposure = Decimal(0)
    for some in found:
        exposure += abs(sum((Decimal(str(each.change)) for each in some), Decimal(0)))
    known = sorted({each.old.currency.code for some in found for each in some})
    code = (currencies or known or [""])[0]
    return Estimate(tuple(moved), exposure, code, tuple(issued))

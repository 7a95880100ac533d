"""What was stored so far of billing periods: issued invoices with adjustments, and live charges."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from metering.decimals import units_of
from rating_engine.currency import currency
from rating_engine.money import Money
from sinks.clickhouse import clickhouse_errors

_AMOUNT_DIGITS = 4
#: Posted by one correction; each attempt at it has a number behind its id.
_OWN = "(run_id = %(without)s OR startsWith(run_id, concat(%(without)s, '.')))"
_ISSUED = """
SELECT customer_id, invoice_id, toString(currency) AS currency, calculation_version
FROM invoices FINAL
WHERE customer_id IN %(customers)s AND toUnixTimestamp(period_start) = %(start)s
"""
_LAST_VERSION = f"""
SELECT customer_id, max(calculation_version) FROM adjustments FINAL
WHERE customer_id IN %(customers)s AND toUnixTimestamp(period_start) = %(start)s
  AND NOT {_OWN}
GROUP BY customer_id
"""
_LINES = f"""
SELECT customer_id, toString(kind) AS kind, toString(meter) AS meter, `group`,
       toUnixTimestamp(part_start) AS part, toUnixTimestamp(max(ends)) AS part_end,
       sum(q) AS quantity, sum(i) AS included, sum(o) AS overage, sum(x) AS exact, sum(a) AS amount
FROM
(
    SELECT customer_id, kind, meter, `group`, part_start, part_end AS ends,
           quantity AS q, included AS i, overage AS o, exact AS x, amount AS a
    FROM invoice_lines FINAL
    WHERE customer_id IN %(customers)s AND toUnixTimestamp(period_start) = %(start)s
      AND (customer_id, period_start, run_id) IN
          (SELECT customer_id, period_start, run_id FROM invoices FINAL)
    UNION ALL
    SELECT customer_id, kind, meter, `group`, part_start, part_end,
           quantity_after - quantity_before, included_after - included_before,
           overage_after - overage_before, exact_after - exact_before, amount
    FROM adjustment_lines FINAL
    WHERE customer_id IN %(customers)s AND toUnixTimestamp(period_start) = %(start)s
      AND kind != 'credit' AND NOT {_OWN}
      AND (customer_id, period_start, run_id) IN
          (SELECT customer_id, period_start, run_id FROM adjustments FINAL)
)
GROUP BY customer_id, kind, meter, `group`, part_start
"""
_LIVE = """
SELECT customer_id, toString(meter), `group`, toString(any(currency)),
       toString(sum(ifNull(amount, 0)))
FROM period_charges
WHERE customer_id IN %(customers)s AND card != 0
  AND toUnixTimestamp(period_start) >= %(start)s AND toUnixTimestamp(period_start) < %(end)s
GROUP BY customer_id, meter, `group`
"""
_IS_ISSUED = """
SELECT toUnixTimestamp(period_start) FROM invoices FINAL
WHERE customer_id = %(customer)s AND toUnixTimestamp(period_start) >= %(start)s
"""
_EXACT = ("quantity", "included", "overage", "exact", "amount")


class LineKey(NamedTuple):
    """What a line is for; `part_start` is Unix seconds."""

    kind: str
    meter: str
    group: str
    part_start: int


class Figures(NamedTuple):
    """What a line comes to: 10^-12 units, 10^-24 of the currency's unit, 10^-4 of it rounded."""

    part_end: int = 0
    quantity: int = 0
    included: int = 0
    overage: int = 0
    exact: int = 0
    amount: int = 0


@dataclass(slots=True)
class Billed:
    """An issued invoice with its adjustments. `calculation_version` is the newest of them."""

    invoice_id: str
    currency: str
    calculation_version: int
    lines: dict[LineKey, Figures] = field(default_factory=dict)


class BilledSoFar:
    """Reads what was billed. Every call may raise `DependencyDown`."""

    def __init__(self, client: Client) -> None:
        """Through `client`, whose database is the deployment's."""
        self._client = client

    def issued(
        self, customers: Sequence[str], start: int, *, without_run: str = ""
    ) -> dict[str, Billed]:
        """Invoices of the period that starts at `start` (Unix seconds), by customer.

        Adjustments of the run `without_run` are left out: what it found before it began.
        """
        parameters = {"customers": list(customers), "start": start, "without": without_run}
        with clickhouse_errors("reading invoices"):
            rows = self._client.query(_ISSUED, parameters=parameters).result_rows
        found = {row[0]: Billed(row[1], row[2], int(row[3])) for row in rows}
        if not found:
            return found
        with clickhouse_errors("reading what was billed"):
            versions = self._client.query(_LAST_VERSION, parameters=parameters).result_rows
            table = self._client.query_arrow(_LINES, parameters=parameters, use_strings=True)
        for customer_id, version in versions:
            if customer_id in found:
                billed = found[customer_id]
                billed.calculation_version = max(billed.calculation_version, int(version))
        for batch in table.to_batches():
            exact = {name: units_of(batch.column(name)) for name in _EXACT}
            for at, row in enumerate(batch.to_pylist()):
                if row["customer_id"] in found:
                    key = LineKey(row["kind"], row["meter"], row["group"], row["part"])
                    figures = Figures(row["part_end"], *(exact[name][at] for name in _EXACT))
                    found[row["customer_id"]].lines[key] = figures
        return found

    def live(
        self, customers: Sequence[str], start: int, *, end: int
    ) -> dict[str, dict[tuple[str, str], Money]]:
        """What usage of periods that start between the moments is charged now, as stored.

        By customer, then meter and group (as stored).
        """
        parameters = {"customers": list(customers), "start": start, "end": end}
        with clickhouse_errors("reading charges"):
            rows = self._client.query(_LIVE, parameters=parameters).result_rows
        found: dict[str, dict[tuple[str, str], Money]] = {}
        for customer_id, meter, group, code, amount in rows:
            found.setdefault(customer_id, {})[meter, group] = money(amount, code)
        return found

    def issued_starts(self, customer_id: str, start: int) -> set[int]:
        """Starts (Unix seconds) of a customer's issued periods, from `start` on."""
        parameters = {"customer": customer_id, "start": start}
        with clickhouse_errors("asking which periods are open"):
            rows = self._client.query(_IS_ISSUED, parameters=parameters).result_rows
        return {int(row[0]) for row in rows}


def money(amount: str, code: str) -> Money:
    """Decimal text with no more digits than the currency is paid in. Raises `ValueError`."""
    known = currency(code)
    whole, _, fraction = amount.lstrip("-").partition(".")
    digits = known.minor_digits
    if fraction[digits:].strip("0"):
        message = f"expected at most {digits} digits behind the point of {code}, got {amount}"
        raise ValueError(message)
    minor = int(whole + fraction[:digits].ljust(digits, "0"))
    return Money(known, -minor if amount.startswith("-") else minor)


def amount_of(found: Money) -> int:
    """An amount as it is stored: 10^-4 of the currency's unit."""
    scale: int = 10 ** (_AMOUNT_DIGITS - found.currency.minor_digits)
    return found.minor * scale


def money_of(amount: int, code: str) -> Money:
    """The amount that `amount_of` stores."""
    known = currency(code)
    scale: int = 10 ** (_AMOUNT_DIGITS - known.minor_digits)
    return Money(known, amount // scale)

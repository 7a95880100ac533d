"""What was billed: lines of invoices and of adjustments, and the rate cards that they name."""

from dataclasses import dataclass

import polars as pl
from clickhouse_connect.driver.client import Client

from reconcile.cards import Card, Tier
from reconcile.period import Period
from reconcile.query import frame

_LINE = """toString(l.meter) AS meter, l.`group` AS `group`, toString(l.kind) AS kind,
       toInt64(toUnixTimestamp(l.part_start)) AS part_start, l.line_id AS line_id,
       toDecimal128(l.amount, 12) AS amount, toString(l.plan) AS plan,
       toInt64(l.price_version) AS price_version, l.card AS card"""
_LINES = f"""
SELECT i.customer_id AS customer_id, i.invoice_id AS invoice_id, i.run_id AS run_id,
       toInt64(toUnixTimestamp(i.period_start)) AS period_start, toString(i.currency) AS currency,
       toString(if(l.currency = '', i.currency, l.currency)) AS line_currency,
       toUInt8(i.minor_digits) AS minor_digits, toString(i.rounding) AS rounding, {_LINE},
       toDecimal128(l.quantity, 12) AS quantity, false AS is_adjustment, '' AS adjustment_kind
FROM (SELECT * FROM invoices FINAL WHERE {{period}}) AS i
INNER JOIN (SELECT * FROM invoice_lines FINAL WHERE {{period}}) AS l
    ON l.customer_id = i.customer_id AND l.period_start = i.period_start AND l.run_id = i.run_id
"""
_ADJUSTMENTS = f"""
SELECT a.customer_id AS customer_id, a.adjustment_id AS invoice_id, a.run_id AS run_id,
       toInt64(toUnixTimestamp(a.period_start)) AS period_start, toString(a.currency) AS currency,
       toString(if(l.currency = '', a.currency, l.currency)) AS line_currency,
       toUInt8(a.minor_digits) AS minor_digits, 'half_even' AS rounding, {_LINE},
       toDecimal128(l.quantity_after - l.quantity_before, 12) AS quantity, true AS is_adjustment,
       toString(a.kind) AS adjustment_kind
FROM (SELECT * FROM adjustments FINAL WHERE {{period}}) AS a
INNER JOIN (SELECT * FROM adjustment_lines FINAL WHERE {{own}}) AS l
    ON l.customer_id = a.customer_id AND l.period_start = a.period_start AND l.run_id = a.run_id
"""
_INVOICES = """
SELECT customer_id, invoice_id, run_id, toInt64(toUnixTimestamp(period_start)) AS period_start,
       toString(currency) AS currency, toDecimal128(total, 12) AS total
FROM invoices FINAL WHERE {period}
"""
_CARDS = """
SELECT card, toString(plan), price_version, toString(meter), `group`, toString(currency),
       carries_s, toString(reinterpretAsInt256(covered)), toString(reinterpretAsInt256(base_fee)),
       toString(reinterpretAsInt256(minimum)),
       if(cap IS NULL, '', toString(reinterpretAsInt256(assumeNotNull(cap)))),
       toString(reinterpretAsInt256(at_zero)), [due_from, due_until, due_of],
       arrayMap(x -> toString(reinterpretAsInt256(x)), rows_above),
       arrayMap(x -> toString(reinterpretAsInt256(x)), rows_charge),
       arrayMap(x -> toString(reinterpretAsInt256(x)), rows_unit_price),
       arrayMap(x -> toString(reinterpretAsInt256(x)), rows_package_units),
       arrayMap(x -> toString(reinterpretAsInt256(x)), rows_package_price)
FROM rate_cards FINAL
"""


@dataclass(frozen=True, slots=True)
class Billed:
    """Frames with one row for each line; amounts and quantities are `Int128` of 10^-12.

    `currency` is that of the invoice or adjustment, which is what is paid, `line_currency` the
    line's own. `lines` are those of the period's invoices, `adjustments` those about the period
    wherever they are posted, `posted` those that are posted to the period. `invoices` has their
    totals.
    """

    lines: pl.DataFrame
    adjustments: pl.DataFrame
    posted: pl.DataFrame
    invoices: pl.DataFrame

    @property
    def due_outside(self) -> pl.DataFrame:
        """What an export or the general ledger of the period should hold."""
        return pl.concat([self.lines, self.posted.select(self.lines.columns)])


def read_billed(client: Client, period: Period) -> Billed:
    """All that was billed for the period, or in it, of its range of customers."""
    bound = period.parameters
    own, posted = period.condition(), period.condition("posted_to")
    return Billed(
        frame(client, _LINES.format(period=own), bound),
        frame(client, _ADJUSTMENTS.format(period=own, own=own), bound),
        frame(client, _ADJUSTMENTS.format(period=posted, own=period.customers.condition), bound),
        frame(client, _INVOICES.format(period=own), bound),
    )


def read_cards(client: Client) -> dict[int, Card]:
    """Every rate card by its number."""
    found = {}
    for row in client.query(_CARDS).result_rows:
        number, plan, version, meter, group, currency, carries, *sizes = row
        covered, base_fee, minimum, cap, at_zero, held, *columns = sizes
        tiers = (Tier(*map(int, each)) for each in zip(*columns, strict=True))
        found[int(number)] = Card(
            int(number), plan, int(version), meter, group, currency, int(carries),
            int(covered), int(base_fee), int(minimum), int(cap) if cap else None, int(at_zero),
            tuple(tiers), (int(held[0]), int(held[1]), int(held[2])),
        )  # fmt: skip
    return found


def card_versions(cards: dict[int, Card]) -> dict[tuple[str, str, str], list[Card]]:
    """Cards by plan, meter and group: those of a line's other price versions are among them."""
    found: dict[tuple[str, str, str], list[Card]] = {}
    for card in cards.values():
        found.setdefault((card.plan, card.meter, card.group), []).append(card)
    return found

"""How customers' billing periods are charged as a whole: currency, rounding, base fee, commit."""

from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from reconcile.cards import RoundingRule
from reconcile.period import Period
from reconcile.query import frame

_PERIODS = """
SELECT customer_id, toInt64(toUnixTimestamp(t.period_start)) AS period_start,
       toString(plan) AS plan, toString(currency) AS currency,
       toString(minor_digits) AS minor_digits, toString(rounding) AS rounding,
       toString(reinterpretAsInt256(base_fee)) AS base_fee,
       toString(reinterpretAsInt256(commit)) AS commit
FROM (SELECT * FROM billing_periods FINAL WHERE {period}) AS t
"""
_TERMS = ["plan", "currency", "minor_digits", "rounding", "base_fee", "commit"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """One row of `billing_periods`; `base_fee` and `commit` are 10^-24 of the currency's unit."""

    plan: str
    currency: str
    rule: RoundingRule
    base_fee: int
    commit: int


#: By customer and start of the billing period (Unix seconds).
Agreements = dict[tuple[str, int], Agreement]


def read_agreements(client: Client, period: Period) -> Agreements:
    """Those of the period. Equal ones are kept once, so a million take little more than keys."""
    sql = _PERIODS.format(period=period.condition())
    rows = frame(client, sql, period.parameters)
    distinct = rows.select(_TERMS).unique(maintain_order=True).with_row_index("at")
    terms = [_agreement(*values) for values in distinct.select(_TERMS).iter_rows()]
    keys = rows.join(distinct, on=_TERMS, how="left").select("customer_id", "period_start", "at")
    return {(customer, start): terms[at] for customer, start, at in keys.iter_rows()}


def _agreement(*values: str) -> Agreement:
    plan, currency, digits, rounding, base_fee, commit = values
    rule = RoundingRule(int(digits), rounding)
    return Agreement(plan, currency, rule, int(base_fee), int(commit))

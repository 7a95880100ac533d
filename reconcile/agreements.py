"""How customers' billing periods are charged as a whole: currency, rounding, base fee, commit."""

from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from reconcile.cards import RoundingRule
from reconcile.period import Period

_PERIODS = """
SELECT customer_id, toInt64(toUnixTimestamp(period_start)), toString(plan), toString(currency),
       minor_digits, toString(rounding), toString(reinterpretAsInt256(base_fee)),
       toString(reinterpretAsInt256(commit))
FROM billing_periods FINAL WHERE {period}
"""


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
    shared: dict[Agreement, Agreement] = {}
    found: Agreements = {}
    sql = _PERIODS.format(period=period.condition())
    with client.query_rows_stream(sql, parameters=period.parameters) as rows:
        for customer, start, plan, currency, digits, rounding, base_fee, commit in rows:
            rule = RoundingRule(int(digits), rounding)
            each = Agreement(plan, currency, rule, int(base_fee), int(commit))
            found[customer, int(start)] = shared.setdefault(each, each)
    return found

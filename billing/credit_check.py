"""Credits checked: what stands is what was agreed to, as the audit log has it.

No usage stands behind a credit, so nothing derives it again; but the correction says how much it is
of, and its steps are in the audit log, whose chain `meterline audit verify` walks along.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import orjson
from clickhouse_connect.driver.client import Client

from billing.adjustment_check import changed_adjustments
from billing.corrections.billed import amount_of, money, money_of
from billing.invoice_check import Tampered
from billing.invoice_export import amount_text
from billing.period_name import PeriodName
from rating_engine.billing_period import BillingCalendar
from rating_engine.price_book.book import PriceBook
from sinks.adjustment_rows import AdjustmentRow
from sinks.clickhouse import clickhouse_errors
from sinks.posted_adjustments import credits_of

_APPROVED = """
SELECT correction_id, customer_id, toUnixTimestamp(period_start), state = 'applied', payload
FROM correction_states
WHERE kind = 'credit' AND state IN ('approved', 'applied') AND ({which})
ORDER BY customer_id, correction_id
"""
_UTC = BillingCalendar()


class _Agreed(NamedTuple):
    """A credit as it was approved; `amount` is 10^-4 of the currency's unit.

    Until it is applied it may be posted or not: whoever was killed in between applies it again.
    """

    correction_id: str
    customer_id: str
    period_start: int
    is_applied: bool
    currency: str
    amount: int


def tampered_credits(
    client: Client, name: PeriodName | None, *, book: PriceBook, customers: Collection[str] = ()
) -> list[Tampered]:
    """Credits for the periods that `name` means (None: all) that are not as they were applied.

    Changed, removed, or posted by nobody. Raises `DependencyDown`.
    """

    def is_meant(customer_id: str, start: int) -> bool:
        calendar = book.calendar_of(customer_id) or _UTC
        return name is None or name.of(calendar).start == start

    posted = [
        each
        for each in credits_of(client, customers)
        if is_meant(each[0].customer_id, each[0].period_start)
    ]
    agreed = [
        each
        for each in _approved(client, customers)
        if is_meant(each.customer_id, each.period_start)
    ]
    found = [
        Tampered(row.customer_id, row.adjustment_id, 0, what, was, stands)
        for row, what, was, stands in changed_adjustments(
            [row for row, _ in posted], [line for _, lines in posted for line in lines]
        )
    ]
    rows = {row.run_id: row for row, _ in posted}
    known = {each.correction_id for each in agreed}
    for each in agreed:
        row = rows.get(each.correction_id)
        if row is None and not each.is_applied:
            continue
        if row is None or (row.total, row.currency) != (each.amount, each.currency):
            document = "" if row is None else row.adjustment_id
            what = f"credit of correction {each.correction_id}"
            was = f"{money_of(each.amount, each.currency)} {each.currency}"
            found.append(Tampered(each.customer_id, document, 0, what, was, _stands(row)))
    for row in rows.values():
        if row.run_id not in known:
            what = "credit that no correction was approved for"
            found.append(
                Tampered(row.customer_id, row.adjustment_id, 0, what, "none", _stands(row))
            )
    return found


def _stands(row: AdjustmentRow | None) -> str:
    return "none" if row is None else f"{amount_text(row.total, row.minor_digits)} {row.currency}"


def _approved(client: Client, customers: Collection[str]) -> Iterator[_Agreed]:
    which = "customer_id IN %(customers)s" if customers else "1"
    with clickhouse_errors("reading approved credits"):
        rows = client.query(
            _APPROVED.replace("{which}", which), parameters={"customers": list(customers) or [""]}
        ).result_rows
    for correction_id, customer_id, start, is_applied, payload in rows:
        content = orjson.loads(payload)
        amount = amount_of(money(content["amount"], content["currency"]))
        yield _Agreed(
            str(correction_id), str(customer_id), int(start), bool(is_applied),
            content["currency"], amount,
        )  # fmt: skip

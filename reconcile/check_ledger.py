"""Check (d): lines of invoices and adjustments against postings of the general ledger.

Compared are sums by customer, account and currency; a posting has no meter and no quantity, so
causes are told by amounts: a posting that is there twice, a currency, an adjustment that was not
posted, a minor unit for each line, and the rest.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from reconcile.files import LINE
from reconcile.ledger_rows import LedgerMapping
from reconcile.period import Period
from reconcile.variance import Check, Finding, Subject, VarianceClass, money_text

_KEY = ["customer_id", "account"]


class _Sum(NamedTuple):
    """One customer and account in one currency, as lines and as postings have it (10^-12)."""

    customer_id: str
    account: str
    currency: str
    expected: int
    adjustments: list[int]
    lines: int
    minor_digits: int
    got: int
    copies: int
    copied: list[int]
    postings: int


@dataclass(slots=True)
class LedgerResult:
    """What was found, and what both sides come to by currency."""

    findings: list[Finding] = field(default_factory=list)
    expected: dict[str, int] = field(default_factory=dict)
    got: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    skipped: int = 0


def check_ledger(
    lines: pl.DataFrame, postings: pl.DataFrame, *, period: Period, mapping: LedgerMapping
) -> LedgerResult:
    """Compare `lines` (see `Billed.due_outside`) with `postings` (see `read_postings`)."""
    own = postings.filter(period.rows_inside(postings, "period"))
    if mapping.accounts:
        known = {*mapping.accounts.values(), mapping.default_account}
        own = own.filter(pl.col("account").is_in(list(known)))
    found = LedgerResult(
        expected=_sums(lines), got=_sums(own), rows=own.height, skipped=postings.height - own.height
    )
    differing: dict[tuple[str, str], list[_Sum]] = {}
    for each in _compared(lines.with_columns(mapping.account()), own):
        differing.setdefault((each.customer_id, each.account), []).append(each)
    for sums in differing.values():
        if any(each.expected != each.got for each in sums):
            found.findings += _findings(sums)
    return found


def _sums(frame: pl.DataFrame) -> dict[str, int]:
    return dict(frame.group_by("currency").agg(pl.sum("amount")).sort("currency").iter_rows())


def _compared(lines: pl.DataFrame, postings: pl.DataFrame) -> list[_Sum]:
    key = [*_KEY, "currency"]
    late = pl.col("amount").filter(pl.col("is_adjustment"))
    expected = lines.group_by(key).agg(
        pl.sum("amount").alias("expected"), late.alias("adjustments"), pl.len().alias("lines"),
        pl.first("minor_digits"),
    )  # fmt: skip
    same = ["posting_id", *key, "amount"]
    is_copy = (pl.col("posting_id") != "") & (pl.int_range(pl.len()).over(same) > 0)
    own = postings.sort(LINE).with_columns(is_copy.alias("is_copy"))
    got = own.group_by(key).agg(
        pl.sum("amount").alias("got"),
        pl.col("amount").filter("is_copy").sum().alias("copies"),
        pl.col(LINE).filter("is_copy").alias("copied"), pl.len().alias("postings"),
    )  # fmt: skip
    joined = expected.join(got, on=key, how="full", coalesce=True).sort(key)
    numbers = ("expected", "lines", "got", "copies", "postings")
    joined = joined.with_columns(
        *(pl.col(name).fill_null(0) for name in numbers), pl.col("minor_digits").fill_null(2),
        pl.col("adjustments").fill_null([]), pl.col("copied").fill_null([]),
    )  # fmt: skip
    return [_Sum(*row) for row in joined.select(_Sum._fields).iter_rows()]


def _findings(sums: list[_Sum]) -> list[Finding]:
    found = []
    moved = _moved(sums)
    for each in sums:
        rest = each.got - each.expected
        if rest and each.copied:  # of a document, equal lines that add up are no copies
            lines = ", ".join(map(str, each.copied))
            reason = f"row {lines}: a posting that is there already"
            found.append(_finding(each, VarianceClass.DUPLICATE, each.copies, reason))
            rest -= each.copies
        if amount := moved.get(each.currency, 0):
            reason = "posted in another currency than it was billed in"
            found.append(_finding(each, VarianceClass.CURRENCY, amount, reason))
            rest -= amount
        if rest:
            found.append(_rest(each, rest, is_moved=each.currency in moved))
    return found


def _moved(sums: list[_Sum]) -> dict[str, int]:
    """By currency, what was posted in another one: billed in one alone, posted in one alone."""
    unposted = [each for each in sums if each.expected and not each.postings]
    unbilled = [each for each in sums if each.got and not each.lines]
    if len(unposted) != 1 or len(unbilled) != 1:
        return {}
    face = unbilled[0].got - unbilled[0].copies
    return {unposted[0].currency: -face, unbilled[0].currency: face}


def _rest(each: _Sum, rest: int, *, is_moved: bool) -> Finding:
    told = f"expected {money_text(each.expected)}, got {money_text(each.got)}"
    minor_unit = 10 ** (12 - each.minor_digits)
    missing = [amount for amount in each.adjustments if amount]
    if missing and -rest in {*missing, sum(missing)}:
        reason = f"an adjustment of {money_text(-rest)} is not posted"
        return _finding(each, VarianceClass.LATE, rest, reason)
    if not each.postings and not is_moved:
        return _finding(each, VarianceClass.MISSING_IN_INVOICE, rest, f"nothing is posted: {told}")
    if not each.lines and not is_moved:
        return _finding(each, VarianceClass.MISSING_IN_USAGE, rest, f"nothing is billed: {told}")
    if abs(rest) <= minor_unit * max(each.lines, each.postings):
        return _finding(each, VarianceClass.ROUNDING, rest, f"a minor unit a line at most: {told}")
    return _finding(each, VarianceClass.MANUAL_EDIT, rest, told)


def _finding(each: _Sum, variance: VarianceClass, amount: int, reason: str) -> Finding:
    values: dict[str, Any] = {"expected_amount": each.expected, "got_amount": each.got}
    account = f"account {each.account}" if each.account else ""
    return Finding(
        check=Check.LEDGER, variance=variance, currency=each.currency, amount=amount, reason=reason,
        subject=Subject(customer_id=each.customer_id, kind="posting", reference=account), **values,
    )  # fmt: skip

"""Passes over what agrees to the last digit, in columns: so are nearly all lines of a month.

A row is passed over only where there is nothing to tell by any rule of `check_lines.py`: one line,
one part of the period, no adjustment, nothing late, nothing there twice, the same quantity, card
and price version, no commit to true up, and the amount that its card comes to.
"""

from collections.abc import Iterable
from functools import cache

import polars as pl

from reconcile.cards import Cards, RoundingRule

_KEY = ("customer_id", "meter", "group", "period_start")
_CHARGED = ("card", "q_cut", "minor_digits", "rounding")


def agreed(rows: pl.DataFrame, cards: Cards, *, committed: Iterable[tuple[str, int]]) -> pl.Series:
    """Which of the rows of `LineCheck` agree: true or false for each.

    `committed` are (customer, start of the period) with a commit, which all charges count against.
    """
    plain = {number: card for number, card in cards.items() if not card.carries_s}
    versions = {number: card.price_version for number, card in plain.items()}
    currencies = {number: card.currency for number, card in plain.items()}
    candidate = (
        pl.col("amount").is_not_null() & ~pl.col("has") & (pl.col("n_cut") > 0)
        & (pl.col("q_cut") == pl.col("q_now")) & (pl.col("q_now") == pl.col("q_once"))
        & (pl.col("quantity") == pl.col("q_cut"))
        & (pl.len().over(_KEY) == 1)
        & pl.col("cards").list.contains(pl.col("card"))
        & (pl.col("card").replace_strict(versions, default=None, return_dtype=pl.Int64)
           == pl.col("price_version")).fill_null(value=False)
        & (pl.col("card").replace_strict(currencies, default=None, return_dtype=pl.String)
           == pl.col("currency")).fill_null(value=False)
    )  # fmt: skip
    found = rows.with_row_index("at").filter(candidate)
    pairs = list(committed)
    if pairs:
        on = ["customer_id", "period_start"]
        schema = {"customer_id": pl.String, "period_start": pl.Int64}
        found = found.join(pl.DataFrame(pairs, schema=schema, orient="row"), on=on, how="anti")
    due = [
        _rounding(digits, name).rounded(cards[card].charge(quantity))
        for card, quantity, digits, name in found.select(_CHARGED).iter_rows()
    ]
    same = found.filter(pl.Series(due, dtype=pl.Int128) == found["amount"])["at"]
    mask = pl.select(pl.int_range(rows.height, dtype=pl.UInt32).is_in(same.implode()))
    return mask.to_series()


@cache
def _rounding(minor_digits: int, name: str) -> RoundingRule:
    return RoundingRule(minor_digits, name)

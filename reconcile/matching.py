"""Which line of ours a row of an export is about: by line id, else by what it is for.

Rows are many to one line where the billing system splits it. A step joins rows to lines that are
one of a kind under its key; steps go from the closest key to the loosest, first over lines that
no row has taken yet (of invoices, then of adjustments), then over all of them:

    customer, meter, kind (and group, where the row says one)  + quantity and amount
                                                               + part of the period, price version

A row whose line id is unknown may join a line that was found by id only as its exact copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from reconcile.period import Period

#: Numbers a unit: lines that rows are compared with together, mostly one.
UNIT = "unit"
_BASE = ("customer_id", "meter", "kind")
_STEPS: tuple[tuple[str, ...], ...] = (
    ("part_start", "price_version"),
    ("part_start",),
    ("price_version",),
    (),
)
_SAME = ("quantity", "amount")


@dataclass(frozen=True, slots=True)
class Matched:
    """`lines` with their `UNIT`, `rows` with that of theirs (null: no line of ours).

    `skipped` rows are of another period and of no line of ours.
    """

    lines: pl.DataFrame
    rows: pl.DataFrame
    skipped: int


def match(lines: pl.DataFrame, rows: pl.DataFrame, period: Period) -> Matched:
    """Find for every row its line."""
    lines = lines.with_row_index(UNIT).with_columns(pl.col(UNIT).cast(pl.Int64))
    rows = rows.with_row_index("row").with_columns(pl.lit(None, pl.Int64).alias(UNIT))
    rows = _by_id(lines, rows)
    by_id = rows[UNIT].drop_nulls().unique()
    rows = rows.with_columns(pl.col("period_start").alias("part_start"))
    inside = _inside(lines, rows, period=period)
    skipped = rows.filter(pl.col(UNIT).is_null() & ~inside).height
    rows = rows.filter(pl.col(UNIT).is_not_null() | inside)
    rows = _step(lines.filter(_untaken(rows)), rows, _SAME)
    for is_adjustment in (False, True):
        for keys in _STEPS:
            own = lines.filter(pl.col("is_adjustment") == is_adjustment)
            rows = _step(own.filter(_untaken(rows)), rows, keys)
    lines, rows = _pool(lines, rows)
    is_open = ~pl.col(UNIT).is_in(by_id.implode())
    for keys in _STEPS:
        rows = _step(lines.filter(is_open), rows, keys)
        anonymous = rows.filter(pl.col("line_id") == "")
        rest = rows.filter(pl.col("line_id") != "")
        rows = pl.concat([_step(lines, anonymous, keys), rest])
        rows = _step(lines, rows, (*keys, *_SAME))
    return Matched(lines, rows.sort("row"), skipped)


def _untaken(rows: pl.DataFrame) -> pl.Expr:
    """Lines that no row has been found to be about."""
    return ~pl.col(UNIT).is_in(rows[UNIT].drop_nulls().unique().implode())


def _inside(lines: pl.DataFrame, rows: pl.DataFrame, *, period: Period) -> pl.Series:
    """Rows of the period; one that does not say when, and one of a part of ours, is taken to be.

    A part that an adjustment is about is another period's, whose own rows may be in the file too:
    only a row of its amount is taken to be the adjustment.
    """
    is_inside = period.rows_inside(rows, "period_start")
    is_adjustment = pl.col("is_adjustment")
    for own, on in (
        (lines.filter(~is_adjustment), ["customer_id", "part_start"]),
        (lines.filter(is_adjustment), ["customer_id", "part_start", "meter", "amount"]),
    ):
        ours = own.select(on).unique().with_columns(pl.lit(value=True).alias("is_ours"))
        found = rows.join(ours, on=on, how="left", maintain_order="left")
        is_inside |= found["is_ours"].fill_null(value=False)
    return is_inside


def _by_id(lines: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    ids = lines.filter(pl.col("line_id") != "").select("line_id", "customer_id", "meter", UNIT)
    return _taking(ids.unique(["line_id", "customer_id", "meter"]), rows,
                   on=["line_id", "customer_id", "meter"])  # fmt: skip


def _step(lines: pl.DataFrame, rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Give rows without a unit the one line that has the same key, if it is the only one."""
    if lines.is_empty() or not rows[UNIT].has_nulls():
        return rows
    is_grouped = pl.col("group").is_not_null()
    found = []
    for part, on in (
        (rows.filter(is_grouped), [*_BASE, "group", *keys]),
        (rows.filter(~is_grouped), [*_BASE, *keys]),
    ):
        single = lines.filter(pl.len().over(on) == 1).select(*on, UNIT)
        found.append(_taking(single, part, on=on))
    return pl.concat(found)


def _taking(lines: pl.DataFrame, rows: pl.DataFrame, *, on: list[str]) -> pl.DataFrame:
    named = lines.rename({UNIT: "found"})
    joined = rows.join(named, on=on, how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce(UNIT, "found").alias(UNIT)).drop("found")


def _pool(lines: pl.DataFrame, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Where rows name no group or part of several untaken lines, those lines become one unit."""
    waiting = rows.filter(pl.col(UNIT).is_null() & pl.col("group").is_null())
    if waiting.is_empty():
        return lines, rows
    on = list(_BASE)
    pools = (
        lines.filter(_untaken(rows) & ~pl.col("is_adjustment"))
        .join(waiting.select(on).unique(), on=on, how="semi")
        .group_by(on).agg(pl.min(UNIT).alias("pool"), pl.col(UNIT).alias("members"))
    )  # fmt: skip
    members = pools.explode("members").select(pl.col("members").alias(UNIT), "pool")
    lines = lines.join(members, on=UNIT, how="left", maintain_order="left")
    lines = lines.with_columns(pl.coalesce("pool", UNIT).alias(UNIT)).drop("pool")
    pooled = pools.select(*on, pl.col("pool").alias(UNIT))
    is_waiting = pl.col(UNIT).is_null() & pl.col("group").is_null()
    rest = rows.filter(~is_waiting)
    return lines, pl.concat([_taking(pooled, rows.filter(is_waiting), on=on), rest])

"""Rows of an export of the billing system, in one shape whatever system it was."""

from pathlib import Path

import orjson
import polars as pl

from metering.errors import SettingsInvalid
from reconcile.files import LINE, read_text_frame
from reconcile.mapping import FIELDS, REQUIRED, FileMapping
from reconcile.typed import Faults, currencies, decimals, moments, whole_numbers

_CHARGE = "charge"


def read_export(path: Path, mapping: FileMapping) -> pl.DataFrame:
    """One row for each of the file that the mapping keeps, in the file's order.

    Columns are `FIELDS` and `LINE`. `amount` and `quantity` (may be null) are `Int128` of 10^-12,
    periods Unix seconds, `price_version` a whole number or null, other fields text; `group` (null:
    not said) is canonical JSON. Raises `SettingsInvalid` with every fault of the file.
    """
    sources = [name for names in mapping.columns.values() for name in names]
    found = read_text_frame(path, mapping, wanted=[*sources, *mapping.filters])
    _need_columns(path, found, mapping)
    for name, kept in mapping.filters.items():
        found = found.filter(pl.col(name).is_in(list(kept)))
    found = found.select(LINE, *(_field(found, mapping, name) for name in FIELDS))
    faults = Faults(path)
    found = found.with_columns(
        pl.col("kind").fill_null(
            pl.when(pl.col("meter").is_in(["base_fee", "true_up"]))
            .then(pl.col("meter")).otherwise(pl.lit(_CHARGE))
        )
    )  # fmt: skip
    no_meter = pl.col("meter").is_null() & (pl.col("kind") == _CHARGE)
    faults.where(found, no_meter, name="meter", expected="a meter")
    for name in ("customer_id", "amount", "currency"):
        faults.where(found, pl.col(name).is_null(), name=name, expected="a value")
    found = _typed(found, mapping, faults)
    if faults.told:
        raise SettingsInvalid(faults.all)
    return found


def _typed(found: pl.DataFrame, mapping: FileMapping, faults: Faults) -> pl.DataFrame:
    found, digits = currencies(found, "currency", faults)
    if mapping.is_minor:
        wrong = pl.col("amount").is_not_null() & ~pl.col("amount").str.contains(r"^[+-]?\d{1,20}$")
        faults.where(found, wrong, name="amount", expected="whole minor units, like 1250 for 12.50")
        found = found.with_columns(pl.when(~wrong).then(pl.col("amount")).alias("amount"))
    found = decimals(found, "amount", faults)
    found = decimals(found, "quantity", faults)
    found = whole_numbers(found, "price_version", faults)
    for name in ("period_start", "period_end"):
        found = moments(found, name, faults, dates=mapping.dates)
    if mapping.is_minor:
        units = {code: 10**places for code, places in digits.items()}
        one = pl.col("currency").replace_strict(units, default=1, return_dtype=pl.Int128)
        found = found.with_columns((pl.col("amount") // one).alias("amount"))
    groups = {text: canonical_group(text) for text in found["group"].unique().drop_nulls()}
    return found.with_columns(
        pl.col("group").replace_strict(groups, default=None, return_dtype=pl.String),
        pl.when(pl.col("kind") == _CHARGE).then(pl.col("meter")).otherwise(pl.lit(""))
        .alias("meter"),
        *(pl.col(name).fill_null("") for name in ("invoice_id", "line_id")),
    )  # fmt: skip


def canonical_group(text: str) -> str:
    """A group as it is stored: JSON with sorted names. Text that is no JSON stays as it is."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if not isinstance(value, dict):
        return text
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _need_columns(path: Path, found: pl.DataFrame, mapping: FileMapping) -> None:
    lacking = [
        f"{path}:1: {name}: expected a column {' or '.join(mapping.columns.get(name, (name,)))}, "
        f"got {', '.join(each for each in found.columns if each != LINE) or 'no known column'}"
        for name in REQUIRED
        if name not in mapping.constants
        and not any(source in found.columns for source in mapping.columns.get(name, ()))
    ]
    lacking += [
        f"{path}:1: filters: expected a column {name}, got none"
        for name in mapping.filters
        if name not in found.columns
    ]
    if lacking:
        raise SettingsInvalid(lacking)


def _field(found: pl.DataFrame, mapping: FileMapping, name: str) -> pl.Expr:
    """The first column that is there and not empty, else the constant; renamed."""
    there = [pl.col(each) for each in mapping.columns.get(name, ()) if each in found.columns]
    constant = mapping.constants.get(name)
    value = pl.coalesce(*there, pl.lit(constant, dtype=pl.String))
    renames = mapping.renames.get(name)
    return (value.replace(dict(renames)) if renames else value).alias(name)

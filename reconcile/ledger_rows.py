"""Postings of a general ledger, and which account each line of ours belongs to.

    columns: {posting_id: doc, account: acct, customer_id: partner, period: fiscal_period,
              amount: amt, currency: cur}
    accounts: {api_requests: "4000", base_fee: "4010", adjustment: "4090"}
    default_account: "4000"
    credits: negative       # revenue is a credit: posted as a negative amount; or positive

`debit` and `credit` may be two columns in place of `amount`. Without a mapping the columns have
our names, and all postings of a customer are compared as one account.
"""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from metering.errors import SettingsInvalid
from reconcile.files import LINE, read_text_frame
from reconcile.mapping import FileMapping
from reconcile.typed import Faults, currencies, decimals, moments
from reconcile.yaml_file import read_yaml

_FIELDS = (
    "posting_id", "account", "customer_id", "reference", "period", "amount", "debit", "credit",
    "currency",
)  # fmt: skip
_PLAIN = FileMapping("plain", {name: (name,) for name in _FIELDS})


@dataclass(frozen=True, slots=True)
class LedgerMapping:
    """`accounts` is by meter, or by kind for what is no charge; empty: one account for all."""

    file: FileMapping = _PLAIN
    accounts: dict[str, str] = field(default_factory=dict)
    default_account: str = ""
    credits_negative: bool = False

    def account(self) -> pl.Expr:
        """The account of a line, "" where accounts are not told apart."""
        kind = pl.when(pl.col("is_adjustment")).then(pl.lit("adjustment")).otherwise(pl.col("kind"))
        of_kind = kind.replace_strict(self.accounts or {"": ""}, default=None)
        of_meter = pl.col("meter").replace_strict(self.accounts or {"": ""}, default=None)
        return pl.coalesce(of_kind, of_meter, pl.lit(self.default_account)).alias("account")


def read_ledger_mapping(path: Path | None) -> LedgerMapping:
    """Raises `SettingsInvalid` with every fault."""
    if path is None:
        return LedgerMapping()
    root, faults = read_yaml(path)
    root.section("columns").only(*_FIELDS)
    columns = {name: (name,) for name in _FIELDS}
    columns |= {name: (text,) for name, text in root.texts("columns").items()}
    found = LedgerMapping(
        FileMapping(
            str(path), columns, constants=root.texts("constants"),
            format=root.choice("format", "", "csv", "jsonl", "parquet"),
            dates=root.text("dates", "auto"),
        ),
        root.texts("accounts"),
        root.text("default_account"),
        root.choice("credits", "positive", "negative") == "negative",
    )  # fmt: skip
    root.only("format", "columns", "constants", "dates", "accounts", "default_account", "credits")
    if faults:
        raise SettingsInvalid(faults)
    return found


def read_postings(path: Path, mapping: LedgerMapping) -> pl.DataFrame:
    """Postings with `amount` (`Int128` of 10^-12, revenue above zero) and `period` (Unix seconds).

    Raises `SettingsInvalid` with every fault of the file.
    """
    file = mapping.file
    found = read_text_frame(
        path, file, wanted=[name for each in file.columns.values() for name in each]
    )
    found = found.select(LINE, *(_field(found, file, name) for name in _FIELDS))
    faults = Faults(path)
    is_split = found["amount"].null_count() == found.height
    for name in ("customer_id", "currency", *(() if is_split else ("amount",))):
        faults.where(found, pl.col(name).is_null(), name=name, expected="a value")
    if is_split:
        neither = pl.col("debit").is_null() & pl.col("credit").is_null()
        faults.where(found, neither, name="amount", expected="an amount, a debit or a credit")
    if mapping.accounts:
        faults.where(found, pl.col("account").is_null(), name="account", expected="an account")
    found, _ = currencies(found, "currency", faults)
    for name in ("amount", "debit", "credit"):
        found = decimals(found, name, faults)
    found = moments(found, "period", faults, dates=file.dates)
    if faults.told:
        raise SettingsInvalid(faults.all)
    zero = pl.lit(0, pl.Int128)
    sides = pl.col("credit").fill_null(zero) - pl.col("debit").fill_null(zero)
    own = zero - pl.col("amount") if mapping.credits_negative else pl.col("amount")
    account = pl.col("account").fill_null("") if mapping.accounts else pl.lit("")
    return found.with_columns(
        pl.coalesce(own, sides).alias("amount"), account.alias("account"),
        pl.col("posting_id").fill_null(""), pl.col("reference").fill_null(""),
    )  # fmt: skip


def _field(found: pl.DataFrame, mapping: FileMapping, name: str) -> pl.Expr:
    there = [pl.col(each) for each in mapping.columns.get(name, ()) if each in found.columns]
    constant = pl.lit(mapping.constants.get(name), dtype=pl.String)
    return pl.coalesce(*there, constant).alias(name)

"""Columns of text to exact numbers, moments and codes; what cannot be read is told, all at once."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from metering import rfc3339
from rating_engine.currency import CurrencyUnknown, currency
from reconcile.files import LINE

#: Faults that are told one by one; more are counted.
FAULTS_MAX = 200
_DECIMAL = r"^[+-]?\d{1,20}(\.\d{1,12})?$"
#: Eight digits are a day, like 20260601; as seconds they would be of 1970 to 1973.
_UNIX = re.compile(r"-?\d{9,11}", re.ASCII)
_UNIX_MS = 1000


@dataclass(slots=True)
class Faults:
    """Faults of one file, each with line, field, what was expected and what came."""

    path: Path
    told: list[str] = field(default_factory=list)
    more: int = 0

    def tell(self, line: int, name: str, *, expected: str, got: object) -> None:
        """Keep one, or count it."""
        if len(self.told) >= FAULTS_MAX:
            self.more += 1
            return
        shown = "nothing" if got is None else repr(str(got)[:60])
        self.told.append(f"{self.path}:{line}: {name}: expected {expected}, got {shown}")

    def where(self, frame: pl.DataFrame, wrong: pl.Expr, *, name: str, expected: str) -> None:
        """Tell of every row of `frame` for which `wrong` holds."""
        for line, got in frame.filter(wrong).select(LINE, name).iter_rows():
            self.tell(line, name, expected=expected, got=got)

    @property
    def all(self) -> list[str]:
        """Every sentence, with how many more there are."""
        more = [f"{self.path}: and {self.more} more"] if self.more else []
        return [*self.told, *more]


def decimals(frame: pl.DataFrame, name: str, faults: Faults) -> pl.DataFrame:
    """The column as `Int128` of 10^-12; null stays null."""
    wrong = pl.col(name).is_not_null() & ~pl.col(name).str.contains(_DECIMAL)
    expected = "a decimal like 12.50, of at most 12 digits behind the point"
    faults.where(frame, wrong, name=name, expected=expected)
    text = pl.when(~wrong).then(pl.col(name)).str.strip_prefix("+")
    return frame.with_columns(
        text.cast(pl.Decimal(38, 12)).to_physical().cast(pl.Int128).alias(name)
    )


def whole_numbers(frame: pl.DataFrame, name: str, faults: Faults) -> pl.DataFrame:
    """The column as `Int64`; null stays null."""
    wrong = pl.col(name).is_not_null() & ~pl.col(name).str.contains(r"^\d{1,9}$")
    faults.where(
        frame, wrong, name=name, expected="a whole number, or a name that is mapped to one"
    )
    return frame.with_columns(pl.when(~wrong).then(pl.col(name)).cast(pl.Int64).alias(name))


def currencies(
    frame: pl.DataFrame, name: str, faults: Faults
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The column in capitals, and the minor digits of every currency in it."""
    frame = frame.with_columns(pl.col(name).str.to_uppercase())
    digits: dict[str, int] = {}
    for code in frame[name].unique().drop_nulls().to_list():
        try:
            digits[code] = currency(code).minor_digits
        except CurrencyUnknown:
            expected = "a currency of ISO 4217, like USD"
            faults.where(frame, pl.col(name) == code, name=name, expected=expected)
    return frame, digits


def moments(frame: pl.DataFrame, name: str, faults: Faults, *, dates: str) -> pl.DataFrame:
    """The column as Unix seconds (`Int64`); null stays null. `dates` is that of a mapping."""
    known: dict[str, int | None] = {
        text: moment(text, dates) for text in frame[name].unique().drop_nulls().to_list()
    }
    unread = [text for text, unix in known.items() if unix is None]
    if unread:
        expected = {
            "auto": "a moment like 2026-06-01T00:00:00Z, a day or a month",
            "unix_s": "Unix seconds", "unix_ms": "Unix milliseconds",
        }.get(dates, f"a day as {dates}")  # fmt: skip
        faults.where(frame, pl.col(name).is_in(unread), name=name, expected=expected)
    return frame.with_columns(
        pl.col(name).replace_strict(known, default=None, return_dtype=pl.Int64)
    )


def moment(text: str, dates: str) -> int | None:
    """Unix seconds of a moment as a mapping says it is written; None where it is not."""
    if dates in ("unix_s", "unix_ms"):
        if not text.isascii() or not text.isdigit():
            return None
        return int(text) // (_UNIX_MS if dates == "unix_ms" else 1)
    if dates != "auto":
        return _caught(lambda: datetime.strptime(text, dates).replace(tzinfo=UTC))
    if _UNIX.fullmatch(text):
        return int(text)
    unix_us = rfc3339.microseconds(text)
    if unix_us is not None:
        return unix_us // 1_000_000
    day = f"{text}-01" if re.fullmatch(r"\d{4}-\d\d", text, re.ASCII) else text
    return _caught(lambda: datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC))


def _caught(read: Callable[[], datetime]) -> int | None:
    try:
        return int(read().timestamp())
    except ValueError:
        return None

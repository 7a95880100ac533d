"""What a reconciliation finds: one variance, one class, one signed amount.

Amounts and quantities are `int` of 10^-12 (`SCALE`), so that sums are exact at any size. An amount
is always *the later book less the earlier one* (see `Check`): above zero means that the later book
has too much.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

#: Units of an amount or quantity: 10^-12 of a currency's unit, or of a meter's.
SCALE = 10**12


class Check(StrEnum):
    """Which two books are compared: the earlier against the later one."""

    TOTALS = "totals"  # raw history -> live totals
    LINES = "lines"  # raw history -> invoices and adjustments
    EXPORT = "export"  # invoices and adjustments -> an export of the billing system
    LEDGER = "ledger"  # invoices and adjustments -> postings of the general ledger


class VarianceClass(StrEnum):
    """Why two books differ; in order of precedence (`docs/reconciliation.md`)."""

    DUPLICATE = "duplicate"
    MISSING_IN_INVOICE = "missing_in_invoice"
    MISSING_IN_USAGE = "missing_in_usage"
    CURRENCY = "currency"
    LATE = "late"
    WRONG_QUANTITY = "wrong_quantity"
    WRONG_PRICE_VERSION = "wrong_price_version"
    ROUNDING = "rounding"
    MANUAL_EDIT = "manual_edit"
    UNBOUND_SUBJECT = "unbound_subject"


class Severity(StrEnum):
    """How much a person should mind, least first."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    DANGER = "danger"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a variance is about; empty where a book does not say. Times are RFC 3339 in UTC."""

    customer_id: str
    meter: str = ""
    group: str = ""
    kind: str = "charge"
    period_start: str = ""
    part_start: str = ""
    invoice_id: str = ""
    line_id: str = ""
    #: What the later book calls it: rows of an export, postings, coordinates of events.
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One variance. Amounts and quantities are 10^-12; None where a book does not say.

    `expected_*` are of the earlier book, `got_*` of the later one, both of the whole subject; the
    amounts of all findings of a subject add up to their difference.
    """

    check: Check
    variance: VarianceClass
    subject: Subject
    currency: str
    amount: int
    reason: str
    expected_amount: int = 0
    got_amount: int = 0
    expected_quantity: int | None = None
    got_quantity: int | None = None
    severity: Severity = Severity.WARNING
    tolerated: bool = False


def decimal_of(number: int) -> Decimal:
    """10^-12 as an exact `Decimal` without zeros at the end: 1500000000000 is 1.5."""
    return Decimal(text_of(number))


def text_of(number: int | None) -> str:
    """10^-12 as plain decimal text without zeros at the end; "" for None."""
    if number is None:
        return ""
    whole, fraction = divmod(abs(number), SCALE)
    digits = f"{fraction:012d}".rstrip("0")
    return f"{'-' if number < 0 else ''}{whole}{'.' if digits else ''}{digits}"


def money_text(number: int) -> str:
    """An amount as people read it: at least two digits behind the point."""
    whole, _, fraction = text_of(number).partition(".")
    return f"{whole}.{fraction:0<2}"


#: Of a check and currency, the difference of both books, or what a class explains of it.
Sums = dict[tuple[Check, str], int]


def explained(findings: Iterable[Finding]) -> Sums:
    """What the findings of a check add up to, by currency."""
    found: Sums = {}
    for each in findings:
        key = (each.check, each.currency)
        found[key] = found.get(key, 0) + each.amount
    return found


@dataclass(frozen=True, slots=True)
class ClassSum:
    """All findings of one check, class and currency."""

    check: Check
    variance: VarianceClass
    currency: str
    findings: int
    tolerated: int
    amount: int


def class_sums(findings: Iterable[Finding]) -> list[ClassSum]:
    """Sums by check, class and currency, in that order."""
    found: dict[tuple[Check, VarianceClass, str], list[int]] = {}
    for each in findings:
        entry = found.setdefault((each.check, each.variance, each.currency), [0, 0, 0])
        entry[0] += 1
        entry[1] += each.tolerated
        entry[2] += each.amount
    checks, classes = list(Check), list(VarianceClass)
    order = sorted(found, key=lambda key: (checks.index(key[0]), classes.index(key[1]), key[2]))
    return [ClassSum(*key, *found[key]) for key in order]

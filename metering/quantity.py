"""Reading quantities exactly: text to whole 10^-12 units, bounded before any arithmetic."""

import re

from metering.batch import QUANTITY_SCALE
from metering.rejection import RejectionCode

#: Quantities are below 10 to this power.
INTEGER_DIGITS_MAX = 20

_NUMBER = re.compile(r"([+-]?)(?:(\d+)(?:\.(\d*))?|\.(\d+))(?:[eE]([+-]?)(\d+))?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:s?nan\d*|inf|infinity)", re.IGNORECASE | re.ASCII)
#: No event holds as many digits; what is beyond decides the same way.
_EXPONENT_DIGITS_MAX = 7
_ONE = 10**QUANTITY_SCALE


def units(text: str) -> int | RejectionCode:
    """Quantity `text` in 10^-12 units, or the first predicate that it fails.

    Grammar: `[+-]? (digits [. digits*] | . digits) ([eE] [+-]? digits)?`, ASCII, no blanks. Zeros
    at either end count for nothing: `1.0000000000000` has no fraction. Costs are linear in the
    length of the text whatever the exponent says.
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        if _NOT_FINITE.fullmatch(text):
            return RejectionCode.QUANTITY_MUST_BE_FINITE
        return RejectionCode.QUANTITY_MUST_BE_NUMBER
    sign, whole, fraction, bare_fraction, exponent_sign, exponent_digits = found.groups()
    whole = whole or ""
    digits = whole + (fraction or bare_fraction or "")
    exponent = int((exponent_digits or "0").lstrip("0")[: _EXPONENT_DIGITS_MAX + 1] or "0")
    point = len(whole) + (-exponent if exponent_sign == "-" else exponent)
    significant = digits.lstrip("0")
    point -= len(digits) - len(significant)
    significant = significant.rstrip("0")
    if not significant:
        return 0
    if point > INTEGER_DIGITS_MAX:
        return RejectionCode.QUANTITY_MUST_BE_BELOW_10_POW_20
    fraction_digits = len(significant) - point
    if fraction_digits > QUANTITY_SCALE:
        return RejectionCode.QUANTITY_MUST_HAVE_AT_MOST_12_FRACTION_DIGITS
    value: int = int(significant) * 10 ** (QUANTITY_SCALE - fraction_digits)
    return -value if sign == "-" else value


def written(value: int) -> str:
    """`value` (10^-12 units) as plain decimal text."""
    whole, fraction = divmod(abs(value), _ONE)
    return f"{'-' if value < 0 else ''}{whole}.{fraction:0{QUANTITY_SCALE}d}"

"""The scales of the arithmetic: quantities, prices and money are whole numbers of small units.

    quantity   10^-12 units
    price      10^-12 of a currency's unit
    charge     10^-24 of a currency's unit: a quantity times a price, nothing lost

All are plain `int`, so that sums and products are exact at any size. `whole` keeps out whatever
is not: a float, a fixed-width integer that may wrap around, a flag.
"""

from metering.quantity import written

QUANTITY_SCALE = 12
PRICE_SCALE = 12
CHARGE_SCALE = QUANTITY_SCALE + PRICE_SCALE

#: One unit as a quantity, and one unit of currency as a price and as a charge.
ONE_UNIT: int = 10**QUANTITY_SCALE
ONE_PRICE: int = 10**PRICE_SCALE
ONE_CHARGE: int = 10**CHARGE_SCALE


def whole(value: object, what: str) -> int:
    """`value` if it is a Python `int`, the only type that is exact here at any size.

    `what` names it in the message. Raises `TypeError` for anything else; numpy's integers wrap
    around, a flag is no number.
    """
    if type(value) is not int:
        message = f"{what}: expected int, got {type(value).__name__}"
        raise TypeError(message)
    return value


def quantity_text(units: int) -> str:
    """`units` (10^-12) as plain decimal text without zeros at the end: `1000`, `0.5`."""
    return _trimmed(written(whole(units, "quantity")))


def price_text(price: int) -> str:
    """`price` (10^-12 of a currency's unit) as plain decimal text: `0.001`."""
    return _trimmed(written(whole(price, "price")))


def charge_text(charge: int) -> str:
    """`charge` (10^-24 of a currency's unit), exact and unrounded, as plain decimal text."""
    units, fraction = divmod(abs(whole(charge, "charge")), ONE_CHARGE)
    sign = "-" if charge < 0 else ""
    return _trimmed(f"{sign}{units}.{fraction:0{CHARGE_SCALE}d}")


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".")

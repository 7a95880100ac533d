"""Arithmetic on numbers of several 64-bit words, least significant first, for compiled code.

All words are unsigned; nothing here looks for what does not fit: the caller knows that it does.
"""

import numpy as np

from metering.compiled import inlined

_HALF, _LOWER = np.uint64(32), np.uint64(0xFFFFFFFF)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(63)

Two = tuple[np.uint64, np.uint64]
Three = tuple[np.uint64, np.uint64, np.uint64]


@inlined
def high_product(one: np.uint64, other: np.uint64) -> np.uint64:
    """The upper word of `one` times `other`."""
    low, high = one & _LOWER, one >> _HALF
    other_low, other_high = other & _LOWER, other >> _HALF
    first, second = high * other_low, low * other_high
    carried = ((low * other_low) >> _HALF) + (first & _LOWER) + (second & _LOWER)
    return high * other_high + (first >> _HALF) + (second >> _HALF) + (carried >> _HALF)


@inlined
def product(low: np.uint64, high: np.uint64, other: np.uint64) -> Three:
    """Two words times one."""
    middle, part = high_product(low, other), high * other
    middle += part
    top = np.uint64(middle < part)
    if high != _ZERO:
        top += high_product(high, other)
    return low * other, middle, top


@inlined
def product_of_two(low: np.uint64, high: np.uint64, other: np.uint64, above: np.uint64) -> Three:
    """Two words times two (`other`, `above`), of which three are kept."""
    first, middle, top = product(low, high, other)
    part = low * above
    middle += part
    top += np.uint64(middle < part) + high_product(low, above) + high * above
    return first, middle, top


@inlined
def plus(
    low: np.uint64, middle: np.uint64, high: np.uint64,
    other: np.uint64, between: np.uint64, above: np.uint64,
) -> Three:  # fmt: skip
    """Three words and three (`other`, `between`, `above`); two's complement as well."""
    low += other
    carry = np.uint64(low < other)
    middle += between
    further = np.uint64(middle < between)
    middle += carry
    further += np.uint64(middle < carry)
    return low, middle, high + above + further


@inlined
def minus(
    low: np.uint64, middle: np.uint64, high: np.uint64,
    other: np.uint64, between: np.uint64, above: np.uint64,
) -> Three:  # fmt: skip
    """Three words less three (`other`, `between`, `above`); two's complement."""
    borrow = np.uint64(low < other)
    further = np.uint64(middle < between)
    rest = middle - between
    further += np.uint64(rest < borrow)
    return low - other, rest - borrow, high - above - further


@inlined
def is_less(
    low: np.uint64, middle: np.uint64, high: np.uint64,
    other: np.uint64, between: np.uint64, above: np.uint64,
) -> bool:  # fmt: skip
    """Whether three words, without a sign, are less than three others."""
    if high != above:
        return high < above
    if middle != between:
        return middle < between
    return low < other


@inlined
def quotient(low: np.uint64, high: np.uint64, other: np.uint64, above: np.uint64) -> Two:
    """Two words divided by two (`other`, `above`; not 0), rounded down; both below 2^127.

    One bit after the other, which is quick for quotients as small as packages are.
    """
    if high == _ZERO and above == _ZERO:
        return low // other, _ZERO
    steps = 1
    while True:
        doubled, doubled_above = other << _ONE, (above << _ONE) | (other >> _TOP)
        if doubled_above > high or (doubled_above == high and doubled > low):
            break
        other, above = doubled, doubled_above
        steps += 1
    found = found_above = _ZERO
    for _ in range(steps):
        found, found_above = found << _ONE, (found_above << _ONE) | (found >> _TOP)
        if above < high or (above == high and other <= low):
            high -= above + np.uint64(low < other)
            low -= other
            found |= _ONE
        other, above = (other >> _ONE) | (above << _TOP), above >> _ONE
    return found, found_above

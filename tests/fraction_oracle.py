"""What a billing period comes to, reckoned anew in fractions; imports nothing of what it judges.

A judge of bills, invoices and adjustments: plain loops over events, tiers and parts, by the rules
of `docs/price-book.md`. Shares of allowances and fees are what is due up to their end less what is
due up to their start, each rounded down to 10^-12 units or 10^-24 of the currency's unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from math import floor
from typing import NamedTuple


class Charge(NamedTuple):
    """Graduated tiers (up to and including, price of one, flat fee; None: open) after allowance."""

    allowance: Fraction
    tiers: tuple[tuple[Fraction | None, Fraction, Fraction], ...]


@dataclass(frozen=True)
class Version:
    """From a moment (Unix seconds) on; amounts are of a whole period."""

    since: int
    base_fee: Fraction
    commit: Fraction
    charges: Mapping[str, Charge]


class Event(NamedTuple):
    """One event: Unix seconds, meter, group, quantity."""

    second: int
    meter: str
    group: str
    quantity: Fraction


#: Kind, meter, group, start of the part (Unix seconds).
Key = tuple[str, str, str, int]


def cents(amount: Fraction) -> int:
    """Half to even."""
    return round(amount * 100)


def share(amount: Fraction, digits: int, *, part: tuple[int, int], length: int) -> Fraction:
    """What of `amount` is due for a part of a period of `length` seconds."""
    scale = 10**digits
    high = Fraction(floor(amount * part[1] / length * scale), scale)
    return high - Fraction(floor(amount * part[0] / length * scale), scale)


def graduated(units: Fraction, charge: Charge) -> Fraction:
    """Each tier's units at its price, and the fee of each that was entered."""
    due, low = Fraction(0), Fraction(0)
    for up_to, price, fee in charge.tiers:
        if units <= low:
            break
        high = units if up_to is None else min(units, up_to)
        due += (high - low) * price + fee
        low = high
    return due


def expected_lines(
    versions: Sequence[Version], events: Sequence[Event], *, start: int, end: int
) -> dict[Key, int]:
    """Cents by line; shares are by time (`prorate_allowance: true`), usage adds up."""
    spans = _spans(versions, start=start, end=end)
    lines: dict[Key, int] = {}
    exact = Fraction(0)
    names = {(each.meter, each.group) for each in events}
    used_meters = {meter for meter, _ in names}
    names |= {(meter, "{}") for _, _, each in spans for meter in each.charges} - {
        (meter, "{}") for meter in used_meters if (meter, "{}") not in names
    }
    for meter, group in sorted(names):
        for terms, run in groupby(spans, key=lambda span: span[2].charges.get(meter)):
            part = list(run)
            if terms is None:
                continue
            low, high = part[0][0], part[-1][1]
            units = sum(
                (
                    each.quantity
                    for each in events
                    if (each.meter, each.group) == (meter, group) and low <= each.second < high
                ),
                Fraction(0),
            )
            within = (low - start, high - start)
            allowance = share(terms.allowance, 12, part=within, length=end - start)
            due = graduated(max(units - allowance, Fraction(0)), terms)
            exact += due
            if units or due:
                lines["charge", meter, group, low] = cents(due)
    commit = sum(
        (
            share(each.commit, 24, part=(low - start, high - start), length=end - start)
            for low, high, each in spans
        ),
        Fraction(0),
    )
    if commit > exact and cents(commit) > sum(lines.values()):
        lines["true_up", "", "", start] = cents(commit) - sum(lines.values())
    for fee, run in groupby(spans, key=lambda span: span[2].base_fee):
        part = list(run)
        if fee:
            within = (part[0][0] - start, part[-1][1] - start)
            due = share(fee, 24, part=within, length=end - start)
            lines["base_fee", "", "", part[0][0]] = cents(due)
    return lines


def _spans(versions: Sequence[Version], *, start: int, end: int) -> list[tuple[int, int, Version]]:
    found = []
    for at, each in enumerate(versions):
        until = versions[at + 1].since if at + 1 < len(versions) else end
        low, high = max(each.since, start), min(until, end)
        if low < high:
            found.append((low, high, each))
    return found

"""What a month in local time comes to, line by line: an own reading of the rules, in fractions.

The plan has a price version until a moment inside the month, and another one from then on. A part
of the month has the share of an allowance or a fee that its elapsed time is of the month's, as
clocks change; a share is what is due up to its end less what is due up to its start.
"""

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

METER, DOCUMENTS = "api_requests", "documents_processed"
_PACKAGE_SIZE, _PACKAGE_PRICE = 10, Fraction("0.25")
PLAN = """\
- key: local
  currency: USD
  prorate_allowance: true
  period: {{anchor_day: 1, time_zone: {zone}}}
  versions:
  - version: 1
    effective_from: 2020-01-01T00:00:00Z
    base_fee: "30"
    charges:
    - {{meter: api_requests, allowance: "100", price: {{model: graduated, tiers: [
        {{up_to: "500", unit_price: "0.013"}}, {{unit_price: "0.004", flat_fee: "2"}}]}}}}
    - {{meter: documents_processed, price: {{model: package, package_size: "10",
        package_price: "0.25"}}}}
  - version: 2
    effective_from: {changed}
    base_fee: "18"
    charges:
    - {{meter: api_requests, allowance: "60", price: {{model: graduated, tiers: [
        {{up_to: "200", unit_price: "0.021"}}, {{unit_price: "0.005"}}]}}}}
    - {{meter: documents_processed, price: {{model: package, package_size: "10",
        package_price: "0.25"}}}}
"""


class Terms(NamedTuple):
    """One version: fee and allowance of a whole month; tiers end at `border`, the second costs."""

    base_fee: int
    allowance: int
    border: int
    prices: tuple[Fraction, Fraction]
    second_fee: int


VERSIONS = (
    Terms(30, 100, 500, (Fraction("0.013"), Fraction("0.004")), 2),
    Terms(18, 60, 200, (Fraction("0.021"), Fraction("0.005")), 0),
)


class Used(NamedTuple):
    """One event that counts: Unix seconds, meter, group as canonical JSON, quantity."""

    second: int
    meter: str
    group: str
    quantity: int


class Line(NamedTuple):
    """What a line is for: kind, meter, group, and where its part begins (Unix seconds)."""

    kind: str
    meter: str
    group: str
    part_start: int


def expected_lines(used: Iterable[Used], *, start: int, changed: int, end: int) -> dict[Line, int]:
    """Cents of every line of one customer's month that comes to something."""
    parts = ((start, changed), (changed, end))
    units: dict[tuple[str, int], int] = defaultdict(int)
    documents = 0
    for each in used:
        if not start <= each.second < end:
            continue
        if each.meter == DOCUMENTS:
            documents += 1
        else:
            units[each.group, int(each.second >= changed)] += each.quantity
    lines = {
        Line("charge", DOCUMENTS, "{}", start): _cents(
            ceil(Fraction(documents, _PACKAGE_SIZE)) * _PACKAGE_PRICE
        )
    }
    for (group, at), quantity in units.items():
        lines[Line("charge", METER, group, parts[at][0])] = _cents(
            _graduated(overage(quantity, at, month=(start, changed, end)), VERSIONS[at])
        )
    for at, part in enumerate(parts):
        fee = _share(VERSIONS[at].base_fee, 24, part=part, month=(start, end))
        lines[Line("base_fee", "", "", part[0])] = _cents(fee)
    return {line: cents for line, cents in lines.items() if cents}


def overage(quantity: int, version: int, *, month: tuple[int, int, int]) -> Fraction:
    """What is charged of a quantity; `month` is start, change and end."""
    start, changed, end = month
    part = (changed, end) if version else (start, changed)
    allowance = _share(VERSIONS[version].allowance, 12, part=part, month=(start, end))
    return max(quantity - allowance, Fraction(0))


def _graduated(units: Fraction, terms: Terms) -> Fraction:
    first = min(units, Fraction(terms.border))
    due = first * terms.prices[0]
    if units > terms.border:
        due += (units - terms.border) * terms.prices[1] + terms.second_fee
    return due


def _share(amount: int, digits: int, *, part: tuple[int, int], month: tuple[int, int]) -> Fraction:
    scale = 10**digits
    up_to = [floor(Fraction(amount * (at - month[0]), month[1] - month[0]) * scale) for at in part]
    return Fraction(up_to[1] - up_to[0], scale)


def _cents(amount: Fraction) -> int:
    return round(amount * 100)

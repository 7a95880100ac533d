"""How long the rating engine takes for one (customer, meter) total; needs no server.

    python tests/bench/rating.py

Prints the best of several rounds in microseconds for each price: a total with its names, a total on
the fast path that the stream uses, and an event (the difference of two totals).
"""

from __future__ import annotations

import timeit
from collections.abc import Callable, Mapping
from functools import partial

from rich.console import Console
from rich.table import Table

from rating_engine.exact import ONE_CHARGE, ONE_UNIT
from rating_engine.models.table import price_of
from rating_engine.rater import Rater
from rating_engine.terms import ChargeTerms, CommitBucket

CALLS = 20_000
ROUNDS = 7
#: What has to be kept, in microseconds for a total.
LIMITS = {"per_unit": 10, "graduated, 5 tiers": 20}
QUANTITY = 123_456_789_012_345_678 * ONE_UNIT // 10**6

TIERS = [
    {"up_to": "1000", "unit_price": "0", "flat_fee": "5"},
    {"up_to": "100000", "unit_price": "0.001"},
    {"up_to": "10000000", "unit_price": "0.0008", "flat_fee": "10"},
    {"up_to": "1000000000", "unit_price": "0.0005"},
    {"unit_price": "0.000123456789"},
]
PRICES: Mapping[str, Mapping[str, object]] = {
    "per_unit": {"model": "per_unit", "unit_price": "0.001"},
    "graduated, 5 tiers": {"model": "graduated", "tiers": TIERS},
    "volume, 5 tiers": {"model": "volume", "tiers": TIERS},
    "package": {"model": "package", "package_size": "100", "package_price": "5"},
    "percentage": {"model": "percentage", "percent": "1.2"},
}


def microseconds(call: Callable[[], object]) -> float:
    """Time of one call, the best of several rounds."""
    return min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def raters() -> dict[str, Rater]:
    """One for each price, and one with everything around it."""
    found = {name: Rater(ChargeTerms(price_of(price))) for name, price in PRICES.items()}
    found["graduated, 5 tiers, all around it"] = Rater(
        ChargeTerms(
            price_of(PRICES["graduated, 5 tiers"]),
            allowance=1000 * ONE_UNIT,
            bucket=CommitBucket(5000 * ONE_UNIT, 100 * ONE_CHARGE),
            minimum=ONE_CHARGE,
            cap=10**9 * ONE_CHARGE,
        )
    )
    return found


def main() -> None:
    """Measure and print."""
    table = Table("price", "total, us", "fast path, us", "event, us", "limit, us")
    for name, rater in raters().items():
        times = (
            microseconds(partial(rater.rate, QUANTITY)),
            microseconds(partial(rater.figures, QUANTITY)),
            microseconds(partial(rater.rate_event, QUANTITY, QUANTITY + ONE_UNIT)),
        )
        table.add_row(name, *(f"{each:.2f}" for each in times), str(LIMITS.get(name, "")))
    Console().print(table)


if __name__ == "__main__":
    main()

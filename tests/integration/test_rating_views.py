"""What finance reads: charges worked out in SQL are those of the engine, for every value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from metering.catalog import Aggregation
from metering.settings import Settings
from rating_engine.currency import currency
from rating_engine.models.table import price_of
from rating_engine.money import Rounding, rounded
from rating_engine.rate_card import CardLabel, RateCard, rate_card
from rating_engine.split import Segment, SplitRater
from rating_engine.terms import ChargeTerms, CommitBucket
from sinks.clickhouse import INSERT_SETTINGS, connect_clickhouse

SEED = 20260612
Q = 10**12
C = 10**24
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)
PERIOD = (JULY - JUNE) // timedelta(microseconds=1)
LABEL = CardLabel("growth", 2, "api_requests", "{}", "USD")
HALF_CENTS = rate_card(ChargeTerms(price_of({"model": "per_unit", "unit_price": "0.005"})))
NOBODY = bytes(16)


def decimal(number: int, scale: int) -> Decimal:
    return Decimal(f"{number}e-{scale}")


def raw(value: Decimal, scale: int) -> int:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    number = int("".join(map(str, digits))) * int(10 ** (scale + exponent))
    return -number if sign else number


@dataclass
class Books:
    """Rows to be, of all tables."""

    cards: dict[int, list[Any]] = field(default_factory=dict)
    totals: list[list[Any]] = field(default_factory=list)
    periods: list[list[Any]] = field(default_factory=list)

    def card(self, card: RateCard, label: CardLabel = LABEL) -> int:
        number, rows, share = card.number(label), card.rows, card.share
        self.cards[number] = [
            number, label.plan, label.price_version, label.meter, label.group, label.currency,
            label.carries_s, decimal(card.covered, 12), decimal(card.bucket_units, 12),
            decimal(card.base_fee, 24), decimal(card.minimum, 24),
            None if card.cap is None else decimal(card.cap, 24), decimal(card.at_zero, 24),
            *((0, 1, 1) if share is None else (share.start, share.end, share.period)),
            [decimal(row.above, 12) for row in rows], [decimal(row.charge, 24) for row in rows],
            [decimal(row.unit_price, 12) for row in rows],
            [decimal(row.package_units, 12) for row in rows],
            [decimal(row.package_price, 24) for row in rows],
        ]  # fmt: skip
        return number

    def usage(
        self, customer: str, quantities: Sequence[int], *, card: int, part: datetime = JUNE,
        how: str = "sum", meter: str = "api_requests",
    ) -> None:  # fmt: skip
        """One row for each of `quantities`, on as many partitions; the second is the latest."""
        for at, quantity in enumerate(quantities):
            window = part + timedelta(hours=at % 2)
            moment = window + timedelta(minutes=at)
            # an older version of the row, which must not count
            for offset, amount in ((at, quantity + Q), (at + 10, quantity)):
                self.totals.append([
                    customer, meter, "{}", window, "live", at, how, decimal(amount, 12), card, JUNE,
                    part, 1, moment, moment, NOBODY, offset,
                ])  # fmt: skip

    def period(self, customer: str, *, rounding: str = "half_even", commit: int = 0) -> None:
        for fee, updated in ((0, JUNE), (7, JULY)):
            self.periods.append([
                customer, JUNE, JULY, "s", "growth", 2, "USD", 2, rounding, Decimal(fee),
                decimal(commit * fee // 7, 24), updated,
            ])  # fmt: skip

    def insert(self, client: Client) -> None:
        names = "customer_id meter group window_start stream partition aggregation quantity card"
        names += " period_start part_start events first_occurred_at last_occurred_at last_identity"
        names += " absorbed_offset"
        for table, rows, columns in (
            ("rate_cards", list(self.cards.values()) * 2, "*"),
            ("usage_totals", self.totals, names.split()),
            ("billing_periods", self.periods, "*"),
        ):
            client.insert(table, rows, column_names=columns, settings=INSERT_SETTINGS)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    found = connect_clickhouse(settings)
    yield found
    found.close()


def rows(client: Client, query: str) -> list[dict[str, Any]]:
    return list(client.query(query, tz_mode="aware").named_results())


def random_terms(chance: Random) -> ChargeTerms:
    """Terms of any kind, with borders that whole quantities meet."""

    def text(most: int, digits: int) -> str:
        whole = str(chance.randrange(most))
        return whole if chance.random() < 0.5 else f"{whole}.{chance.randrange(10**digits)}"

    kind = chance.choice(["per_unit", "percentage", "package", "graduated", "volume", "stairstep"])
    values: dict[str, Any] = {"model": kind}
    if kind == "per_unit":
        values["unit_price"] = text(5, 12)
    elif kind == "percentage":
        values["percent"] = text(20, 10)
    elif kind == "package":
        values |= {"package_size": f"{1 + chance.randrange(50)}.5", "package_price": text(9, 12)}
    else:
        ends = sorted(chance.sample(range(1, 100), chance.randrange(5)))
        values["tiers"] = [{"up_to": str(end)} for end in ends] + [{}]
        for tier in values["tiers"]:
            tier["flat_fee"] = text(30, 6)
            if kind != "stairstep":
                tier["unit_price"] = text(4, 12)
        values["tiers"][0]["flat_fee_at_zero"] = chance.random() < 0.5
    price = price_of(values)
    minimum = chance.choice((0, 0, chance.randrange(50 * C)))
    return ChargeTerms(
        price,
        allowance=chance.choice((0, 10 * Q, chance.randrange(100 * Q))),
        bucket=CommitBucket(chance.randrange(50) * Q, chance.randrange(90 * C))
        if chance.random() < 0.4
        else None,
        minimum=minimum,
        cap=minimum + chance.randrange(200 * C) if chance.random() < 0.3 else None,
    )


def random_value(chance: Random, card: RateCard) -> int:
    near = [card.covered + row.above for row in card.rows]
    near += [card.covered + row.package_units * 7 for row in card.rows]
    return chance.choice(
        (
            *(0, -chance.randrange(5 * Q), chance.randrange(300 * Q), chance.randrange(10**30)),
            *(10**30, chance.choice(near), chance.choice(near) + chance.choice((-1, 1))),
        )
    )


def split(chance: Random, value: int) -> list[int]:
    """`value` in up to four addends, of which some may be negative."""
    cuts = [chance.randrange(-Q, abs(value) + Q) for _ in range(chance.randrange(4))]
    return [high - low for low, high in pairwise([0, *cuts, value])]


def reported(chance: Random, value: int, how: str) -> list[int]:
    """What several partitions hold, so that all of it together is `value`."""
    levels = {"max": [value - 3 * Q, value, value - 1], "latest": [value + 3 * Q, value, 1]}
    return levels.get(how) or split(chance, value)


def test_charges_in_sql_are_those_of_the_engine(client: Client) -> None:
    chance, books = Random(SEED), Books()
    usd = currency("USD")
    expected: dict[tuple[str, datetime], tuple[int, ...]] = {}
    for number in range(600):
        card = rate_card(random_terms(chance))
        value = random_value(chance, card)
        if number % 20 == 0:  # exactly half a cent is what the rules differ in
            card, value = HALF_CENTS, chance.randrange(50) * Q
        how = chance.choice(("sum", "sum", "sum", "count", "max", "latest"))
        parts = reported(chance, value, how)
        rule = chance.choice(tuple(Rounding))
        books.usage(f"c{number}", parts, card=books.card(card), how=how)
        books.period(f"c{number}", rounding=rule.value)
        figures = card.figures(value)
        cents = rounded(figures[2], usd, rounding=rule).minor
        expected[f"c{number}", JUNE] = (value, *figures, cents)
    # periods that were split: what an earlier part used of an allowance, a later one has not
    for number in range(120):
        customer, prorate = f"split{number}", [chance.random() < 0.3 for _ in range(3)]
        days = (0, *sorted(chance.sample(range(1, 30), 2)), 30)
        starts = [JUNE + timedelta(days=day) for day in days]
        offsets = [(start - JUNE) // timedelta(microseconds=1) for start in starts]
        segments = [
            Segment(low, high, random_terms(chance), each)
            for (low, high), each in zip(pairwise(offsets), prorate, strict=True)
        ]
        how = chance.choice(("sum", "max", "latest"))
        rater = SplitRater(segments, PERIOD, aggregation=Aggregation(how))
        used = [random_value(chance, rate_card(rater.rater_of(part).terms)) for part in range(3)]
        books.period(customer)
        for part, rated in enumerate(rater.rate(used)):
            carries_s = (starts[part] - starts[0]) // timedelta(seconds=1)
            if prorate[part] or how != "sum":
                carries_s = 0
            label = CardLabel(*("growth", 2, "api_requests", "{}", "USD"), carries_s)
            card = rate_card(rater.rater_of(part).terms)
            value = used[part]
            values = reported(chance, value, how)
            books.usage(customer, values, card=books.card(card, label), part=starts[part], how=how)
            cents = rounded(rated.charge, usd, rounding=Rounding.HALF_EVEN).minor
            expected[customer, starts[part]] = (*rated, cents)
    books.insert(client)

    found = rows(client, "SELECT * FROM period_charges")
    got = {
        (row["customer_id"], row["part_start"]): (
            *(raw(row[name], 12) for name in ("quantity", "included", "overage")),
            raw(row["charge"], 24),
            raw(row["amount"], 4) // 100,
        )
        for row in found
    }
    assert len(found) == len(got) == 600 + 3 * 120
    wrong = {key: (got[key], expected[key]) for key in expected if got[key] != expected[key]}
    assert wrong == {}, f"seed {SEED}"

    books.totals.clear()
    books.usage("another", [Q], card=12345)
    books.insert(client)
    with pytest.raises(DatabaseError, match="expected a row in rate_cards"):
        rows(client, "SELECT * FROM period_charges")


def test_commits_and_unpriced_usage_as_worked_by_hand(client: Client) -> None:
    """Ten days of thirty are complete."""
    books = Books()
    client.insert("streams", [["live", "live", "t", "t", JUNE]], column_names="*")
    mark = JUNE + timedelta(days=10)
    client.insert("watermarks", [["live", 0, 0, 9, mark, mark]], column_names="*")
    half = price_of({"model": "per_unit", "unit_price": "0.5"})
    dear = price_of({"model": "per_unit", "unit_price": "0.6"})
    metered = books.card(rate_card(ChargeTerms(half, allowance=100 * Q)))
    bucket = books.card(
        rate_card(ChargeTerms(dear, bucket=CommitBucket(1000 * Q, 500 * C))),
    )
    # acme: (1300 - 100) * 0.5 = 600 of 1000
    books.usage("acme", [700 * Q, 600 * Q], card=metered)
    books.period("acme", commit=1000 * C)
    # idle: nothing of 50; level: a peak of 180 stays, (180 - 100) * 0.5 = 40 of 100
    books.period("idle", commit=50 * C)
    books.usage("level", [180 * Q, 90 * Q], card=metered, how="max")
    books.period("level", commit=100 * C)
    # beta uses 400 of 1000 units, gamma 1500: 500 at 0.6 beyond
    books.usage("beta", [300 * Q, 100 * Q], card=bucket)
    books.period("beta")
    books.usage("gamma", [1500 * Q], card=bucket)
    books.period("gamma")
    books.usage("stray", [2 * Q, 3 * Q], card=0, meter="seats")
    books.insert(client)

    names = "commit used overage buffer commit_units used_units overage_units buffer_units"
    names += " percent_of_commit projected projected_units projected_percent_of_commit"
    got = {
        (row["customer_id"], row["kind"], row["meter"]): (
            *(
                None if row[name] is None else f"{row[name].normalize():f}"
                for name in names.split()
            ),
            row["status"],
        )
        for row in rows(client, "SELECT * FROM commit_position")
    }
    assert got == {
        ("acme", "plan", ""): (
            "1000", "600", "0", "400", "0", "0", "0", "0", "60", "1800", None, "180",
            "projected_over_commit",
        ),
        ("idle", "plan", ""): (
            "50", "0", "0", "50", "0", "0", "0", "0", "0", "0", None, "0", "on_track",
        ),
        ("level", "plan", ""): (
            "100", "40", "0", "60", "0", "0", "0", "0", "40", "40", None, "40", "on_track",
        ),
        ("beta", "bucket", "api_requests"): (
            "500", "500", "0", "300", "1000", "400", "0", "600", "40", None, "1200", "120",
            "projected_over_commit",
        ),
        ("gamma", "bucket", "api_requests"): (
            "500", "800", "300", "0", "1000", "1500", "500", "0", "150", None, "4500", "450",
            "over_commit",
        ),
    }  # fmt: skip

    (stray,) = rows(client, "SELECT * FROM unpriced_usage")
    assert (stray["customer_id"], stray["meter"], stray["quantity"], stray["events"]) == (
        "stray", "seats", 5, 2,
    )  # fmt: skip
    query = "SELECT * FROM period_charges WHERE customer_id = 'stray'"
    (listed,) = rows(client, query)
    assert (listed["plan"], listed["quantity"], listed["charge"], listed["amount"]) == ("", 5, 0, 0)
    assert listed["complete_to"] == mark

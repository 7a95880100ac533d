"""Rate cards as they are stored: what a line was charged by, whatever the catalog says today."""

from collections.abc import Collection
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from rating_engine.models.model import CardRow
from rating_engine.rate_card import CardLabel, RateCard
from sinks.clickhouse import clickhouse_errors
from sinks.stored_columns import (
    CHARGE,
    CHARGE_LIST,
    COUNT,
    NUMBER,
    SMALL,
    TEXT,
    UNITS,
    UNITS_LIST,
    Kinds,
    rows_of,
    selected,
)

_KINDS: Kinds = {
    "card": COUNT, "plan": TEXT, "price_version": NUMBER, "meter": TEXT, "group": TEXT,
    "currency": TEXT, "carries_s": NUMBER, "covered": UNITS, "bucket_units": UNITS,
    "base_fee": CHARGE, "minimum": CHARGE, "at_zero": CHARGE, "rows_above": UNITS_LIST,
    "rows_charge": CHARGE_LIST, "rows_unit_price": UNITS_LIST, "rows_package_units": UNITS_LIST,
    "rows_package_price": CHARGE_LIST,
}  # fmt: skip
_CAP: Kinds = {"has_cap": SMALL, "cap_or_0": CHARGE}
_CARDS = f"""
SELECT {selected(_KINDS, "c.")}, c.cap IS NOT NULL AS has_cap,
       ifNull(c.cap, toDecimal256(0, 24)) AS cap_or_0
FROM rate_cards AS c FINAL WHERE c.card IN %(cards)s
"""


class StoredCard(NamedTuple):
    """A card as it is stored; `is_sound` when its content still gives its number."""

    label: CardLabel
    card: RateCard
    is_sound: bool


class _Row(NamedTuple):
    card: int
    plan: str
    price_version: int
    meter: str
    group: str
    currency: str
    carries_s: int
    covered: int
    bucket_units: int
    base_fee: int
    minimum: int
    at_zero: int
    above: tuple[int, ...]
    charge: tuple[int, ...]
    unit_price: tuple[int, ...]
    package_units: tuple[int, ...]
    package_price: tuple[int, ...]
    has_cap: int
    cap: int


def stored_cards(client: Client, numbers: Collection[int]) -> dict[int, StoredCard]:
    """Cards by their number; those that are not stored are not in it. Raises `DependencyDown`."""
    if not numbers:
        return {}
    with clickhouse_errors("reading rate cards"):
        table = client.query_arrow(_CARDS, parameters={"cards": sorted(numbers)}, use_strings=True)
    return {row.card: _card(row) for row in rows_of(table, _Row, {**_KINDS, **_CAP})}


def _card(row: _Row) -> StoredCard:
    label = CardLabel(
        row.plan, row.price_version, row.meter, row.group, row.currency, row.carries_s
    )  # fmt: skip
    rows = zip(
        row.above, row.charge, row.unit_price, row.package_units, row.package_price, strict=True
    )
    card = RateCard(
        covered=row.covered,
        bucket_units=row.bucket_units,
        base_fee=row.base_fee,
        minimum=row.minimum,
        cap=row.cap if row.has_cap else None,
        at_zero=row.at_zero,
        rows=tuple(CardRow(*each) for each in rows),
    )
    return StoredCard(label, card, card.number(label) == row.card)

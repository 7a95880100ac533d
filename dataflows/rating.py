"""What the events of a worker are charged: cards of units, and differences between their values.

A unit gets its card when it begins. An event is charged what the card says of the unit's value
after it less what it says of the value before; compiled, for a batch at once. Two kinds of events
take a way of their own, one by one: those of a chain that are not of its last part (see `chains`),
and values that do not fit into the words of compiled code.
"""

import json
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataflows.chains import Chains, Figures
from dataflows.ledger_table import Folded, Series, UnitTable
from dataflows.pricing import CHAINED, KEPT_MAX, Chain, Price, Pricing
from dataflows.rate_cards import CardTable
from dataflows.rating_columns import add_rows, numbers_of, rate_rows
from metering.decimals import words_of
from metering.totals import UnitKey
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.stored_rows import NewCard, card_columns, period_columns
from rating_engine.rate_card import CardLabel, RateCard, rate_card
from rating_engine.terms import ChargeTerms
from sinks.rating_tables import card_table, period_table

_CARDS_FIRST = 64


class Rated(NamedTuple):
    """What chosen events are charged: n x 4 words each, and the stored numbers of their cards.

    `version_of` are places in `versions`, the texts of price versions, "" for what has no card;
    `catalog` names the content that prices come from.
    """

    included: NDArray[np.uint64]
    overage: NDArray[np.uint64]
    charge: NDArray[np.uint64]
    cards: NDArray[np.uint64]
    version_of: NDArray[np.int32]
    versions: list[str]
    catalog: str


class Rating:
    """Cards of one price book; shared by the partitions of a worker, for its one thread."""

    def __init__(self, book: PriceBook) -> None:
        """No unit has a card yet."""
        self.pricing = Pricing(book)
        self._table = CardTable()
        self._found: dict[tuple[object, ...], int] = {}
        #: By card: its place in the table, whether it is of a chain, its stored number and the
        #: place of its version; there is room for more, and the last ones are for no card.
        self._card_of = np.zeros(_CARDS_FIRST, np.int32)
        self._chained = np.zeros(_CARDS_FIRST, np.bool_)
        self.numbers = np.zeros(_CARDS_FIRST, np.uint64)
        self._version_of = np.zeros(_CARDS_FIRST, np.int32)
        self._versions = {"": 0}
        self._new: list[NewCard] = []
        self._chain_cards: dict[tuple[int, int, Series], tuple[Chain, int]] = {}

    def price(self, table: UnitTable, created: int, *, every: list[Series]) -> None:
        """Give the units from number `created` on, which name prices, their cards."""
        cards = table.units["price"][created : len(table)]
        prices, series = cards.copy(), table.units["series"][created : len(table)]
        for price, at in np.unique(np.stack([prices, series]), axis=1).T.tolist():
            if price >= 0:
                found = self.pricing.prices[price]
                terms = found.charges.get(every[at].meter)
                card = -1
                if terms is not None:
                    card = self._number((price, 0), found, series=every[at], charged=terms)
                cards[(prices == price) & (series == at)] = card
        chained = np.flatnonzero(prices == CHAINED)
        for row, key in zip(chained.tolist(), table.keys(created + chained), strict=True):
            cards[row] = self._chained_card(key, every[int(series[row])])

    def is_chained(self, table: UnitTable, units: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of `units` belong to a chain."""
        if not self._chained.any():
            return np.zeros(len(units), np.bool_)
        found: NDArray[np.bool_] = self._chained[table.units["price"][units]]
        return found

    def rate(
        self, table: UnitTable, units: NDArray[np.int32], *, folded: Folded, chains: Chains
    ) -> Rated:
        """Rate events, each the next one of its unit; adds up what their windows are charged."""
        count = len(units)
        included, overage, charge = (np.zeros((count, 4), np.uint64) for _ in range(3))
        cards = np.full(count, -1, np.int32)
        left, used = np.zeros(count, np.bool_), np.zeros((count, 2), np.uint64)
        chained = np.flatnonzero(self.is_chained(table, units) & (folded.cells >= 0))
        if len(chained):
            left[chained], used[chained] = chains.carried(units[chained])
        rate_rows(
            self._table.cards, self._table.rows, self._card_of, table.units, units,
            folded.before, folded.after, used, folded.cells, table.charges,
            included, overage, charge, cards, left,
        )  # fmt: skip
        rows = np.flatnonzero(left)
        if len(rows):
            values = zip(
                units[rows].tolist(), cards[rows].tolist(), numbers_of(folded.before[rows]),
                numbers_of(folded.after[rows]), strict=True,
            )  # fmt: skip
            figures = [
                chains.rate(unit, before, after=after)
                if self._chained[card] else self._slowly(card, before, after=after)
                for unit, card, before, after in values
            ]  # fmt: skip
            for column, numbers in zip(
                (included, overage, charge), zip(*figures, strict=True), strict=True
            ):
                column[rows] = words_of(numbers)
            add_rows(table.charges, folded.cells, rows, included, overage, charge)
        if len(chained):
            chains.reach(units[chained], folded.after[chained])
        return Rated(
            included, overage, charge, self.numbers[cards], self._version_of[cards],
            list(self._versions), self.pricing.book.content_hash,
        )  # fmt: skip

    def take_new(self) -> tuple[pa.Table | None, pa.Table | None]:
        """Rows of `rate_cards` and `billing_periods` that came up since this was last asked."""
        new, self._new = self._new, []
        billed = period_columns(self.pricing.take_billed())
        return card_table(card_columns(new)), period_table(billed, updated_at=datetime.now(UTC))

    def _chained_card(self, key: UnitKey, series: Series) -> int:
        chain = self.pricing.chain(key.customer_id, key.meter, start=key.start)
        name = (id(chain), key.start, series)
        found = self._chain_cards.get(name)
        if found is None:
            price, terms, carries_s = chain.price_from(key.start)
            card = rate_card(terms, json.loads(key.group))
            number = self._number((card, carries_s), price, series=series, charged=card)
            if len(self._chain_cards) >= KEPT_MAX:
                self._chain_cards = {}
            # the chain is kept as well, so that no other one gets its address
            found = self._chain_cards[name] = chain, number
        return found[1]

    def _slowly(self, card: int, before: int, *, after: int) -> Figures:
        held = self._table.every[self._card_of[card]]
        low, high = held.figures(before), held.figures(after)
        return high[0] - low[0], high[1] - low[1], high[2] - low[2]

    def _number(
        self,
        name: tuple[object, int],
        price: Price,
        *,
        series: Series,
        charged: ChargeTerms | RateCard,
    ) -> int:
        """Number of the card of a series; `charged` are its terms, or its card in a chain."""
        key = (*name, price.plan, price.version, *series)
        found = self._found.get(key)
        if found is not None:
            return found
        is_chain = isinstance(charged, RateCard)
        card = (
            charged
            if isinstance(charged, RateCard)
            else rate_card(charged, json.loads(series.group))
        )
        label = CardLabel(
            price.plan, price.version, series.meter, series.group, price.currency,
            carries_s=name[1] if is_chain else 0,
        )  # fmt: skip
        number = self._found[key] = len(self._found)
        self._new.append(NewCard(card.number(label), label, card))
        if number + 1 >= len(self.numbers):
            self._card_of, self._chained, self.numbers, self._version_of = (
                np.append(held, np.zeros(len(held), held.dtype))
                for held in (self._card_of, self._chained, self.numbers, self._version_of)
            )
        self._card_of[number] = self._table.add(card)
        self._chained[number] = is_chain
        self.numbers[number] = card.number(label)
        version = f"{price.plan}/{price.version}"
        self._version_of[number] = self._versions.setdefault(version, len(self._versions))
        return number

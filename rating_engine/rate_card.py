"""Any charge terms as one small table of whole numbers: a rate card.

`Rater` asks objects; compiled code and SQL cannot. A rate card says the same in one form for all
models, so that the stream, the queries of finance and `Rater` charge the same to the last digit.
"""

from bisect import bisect_left
from dataclasses import dataclass

import xxhash

from rating_engine.exact import whole
from rating_engine.models.model import CardRow, Group
from rating_engine.models.table import model_for
from rating_engine.proration import Share
from rating_engine.terms import ChargeTerms


@dataclass(frozen=True, slots=True)
class CardLabel:
    """Whom a card is for: what tells apart cards that charge the same.

    `group` is canonical JSON, "{}" where a meter has none. `carries_s` is for a part of a period
    whose allowance is less what earlier parts have used: how long before the part the first
    of them begins, in seconds; 0 where nothing is carried.
    """

    plan: str
    price_version: int
    meter: str
    group: str
    currency: str
    carries_s: int = 0


@dataclass(frozen=True, slots=True)
class RateCard:
    """Charge terms for one group, compiled; all that `Rater` knows of them.

    `covered` are the units (10^-12) of allowance and commit bucket together, `bucket_units` those
    of the bucket. `base_fee` (of the bucket), `minimum`, `cap` (None: there is none) and `at_zero`
    (what the model charges for no overage) are in 10^-24 of the currency's unit. `rows` ascend, the
    first is from 0 on, the last is open. Of what they come to, `share` is due (None: the whole).
    Equal cards charge the same.
    """

    covered: int
    bucket_units: int
    base_fee: int
    minimum: int
    cap: int | None
    at_zero: int
    rows: tuple[CardRow, ...]
    share: Share | None = None

    def figures(self, units: int, used_before: int = 0) -> tuple[int, int, int]:
        """Included and overage (10^-12 units) and charge (10^-24); equal to `Rater.figures`.

        `used_before` are included units that earlier parts of the period have used.
        Raises `TypeError` unless `units` is an `int`.
        """
        covered = self.covered
        if used_before:
            covered = max(covered - used_before, 0)
        if whole(units, "quantity") <= covered:
            return max(units, 0), 0, self.due(self.at_zero + self.base_fee)
        overage = units - covered
        row = self.rows[bisect_left(self.rows, overage, key=_above) - 1]
        beyond = overage - row.above
        charge = row.charge + row.unit_price * beyond
        if row.package_units:
            charge -= row.package_price * (-beyond // row.package_units)
        return covered, overage, self.due(charge + self.base_fee)

    def due(self, charge: int) -> int:
        """What of `charge` (10^-24) is due: after minimum and cap, the share by time."""
        bounded = self.bounded(charge)
        return bounded if self.share is None else self.share.of(bounded)

    def bounded(self, charge: int) -> int:
        """`charge` (10^-24) after minimum and cap, which are applied in this order."""
        if self.cap is None:
            return max(charge, self.minimum) if self.minimum > 0 else charge
        return min(max(charge, self.minimum), self.cap)

    def number(self, label: CardLabel) -> int:
        """What names the card in rows of usage: a hash of content and label, the same everywhere.

        At most 63 bits and never 0, which stands for usage that has no price. Texts are
        length-prefixed.
        """
        texts = (label.plan, label.meter, label.group, label.currency)
        numbers = (
            *(label.price_version, label.carries_s, self.covered, self.bucket_units),
            *(self.base_fee, self.minimum, "" if self.cap is None else self.cap, self.at_zero),
            *(number for row in self.rows for number in row),
        )
        if self.share is not None:
            numbers += ("share", self.share.start, self.share.end, self.share.period)
        text = "".join(f"{len(each)}:{each}" for each in texts) + ",".join(map(str, numbers))
        return xxhash.xxh3_64_intdigest(text.encode()) >> 1 or 1


def rate_card(terms: ChargeTerms, group: Group | None = None) -> RateCard:
    """Compile `terms`, as `Rater` takes them: for a part of a period already prorated.

    `group` is dimension to value; it matters to dimensional prices only.
    """
    model = model_for(terms.price, group or {})
    bucket = terms.bucket
    return RateCard(
        covered=terms.covered,
        bucket_units=0 if bucket is None else bucket.units,
        base_fee=0 if bucket is None else bucket.base_fee,
        minimum=terms.minimum,
        cap=terms.cap,
        at_zero=model.charge(0),
        rows=model.card_rows(),
        share=terms.share,
    )


def _above(row: CardRow) -> int:
    return row.above

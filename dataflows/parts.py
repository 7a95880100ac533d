"""The parts of billing periods that the events of a batch fall into; mostly without a loop."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflows.pricing import KEPT_MAX, SPLIT, UNPRICED, Part, Pricing
from metering.batch import EventBatch
from metering.period import period_ends, period_starts

_SECOND_US = 1_000_000


class Parts(NamedTuple):
    """One part for each event: its borders and its billing period, Unix seconds; its price."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    periods: NDArray[np.int64]
    prices: NDArray[np.int32]


class CustomerParts:
    """Remembers for each customer of a partition the part that was asked for last."""

    def __init__(self, pricing: Pricing | None) -> None:
        """Without `pricing` every part is a calendar month in UTC."""
        self._pricing = pricing
        self.forget()

    def forget(self) -> None:
        """Customers have other numbers from now on."""
        self._starts = np.zeros(0, np.int64)
        self._ends = np.zeros(0, np.int64)
        self._periods = np.zeros(0, np.int64)
        self._prices = np.zeros(0, np.int32)
        #: By customer and meter, where a change splits the period.
        self._meters: dict[tuple[int, str], Part] = {}

    def find(self, batch: EventBatch, customers: NDArray[np.int32]) -> Parts:
        """The part of each event; `customers` are the numbers of theirs."""
        if self._pricing is None or not len(batch):
            starts = period_starts(batch.occurred_us)
            prices = np.full(len(starts), UNPRICED, np.int32)
            return Parts(starts, period_ends(starts), starts, prices)
        seconds = batch.occurred_us // _SECOND_US
        self._grow(int(customers.max()) + 1)
        at = np.flatnonzero(self._elsewhere(customers, seconds))
        if len(at):
            # the last event of each customer decides which part is remembered
            _, last = np.unique(customers[at][::-1], return_index=True)
            rows = at[::-1][last]
            for row, text in zip(rows.tolist(), batch.texts("customer_id", rows), strict=True):
                self._hold(int(customers[row]), self._pricing.part_at(text, int(seconds[row])))
        found = Parts(
            self._starts[customers], self._ends[customers], self._periods[customers],
            self._prices[customers],
        )  # fmt: skip
        if len(at):
            # those of a customer that has events in several parts
            at = np.flatnonzero(self._elsewhere(customers, seconds))
            for row, text in zip(at.tolist(), batch.texts("customer_id", at), strict=True):
                _put(found, row, part=self._pricing.part_at(text, int(seconds[row])))
        split = np.flatnonzero(found.prices == SPLIT)
        if len(split):
            own = self._of_meters(batch, split, customers=customers)
            found.starts[split], found.ends[split] = own[:, 0], own[:, 1]
            found.periods[split], found.prices[split] = own[:, 2], own[:, 3]
        return found

    def _of_meters(
        self, batch: EventBatch, rows: NDArray[np.int64], *, customers: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Parts, as rows of numbers, of events whose customers' periods are split."""
        assert self._pricing is not None
        seconds = (batch.occurred_us[rows] // _SECOND_US).tolist()
        found: list[Part] = []
        for row, customer, code, second in zip(
            rows.tolist(), customers[rows].tolist(), batch.codes[rows].tolist(), seconds,
            strict=True,
        ):  # fmt: skip
            name = customer, batch.series[code][0]
            part = self._meters.get(name)
            if part is None or not part.start <= second < part.end:
                text = batch.texts("customer_id", np.array([row]))[0]
                part = self._pricing.meter_part(text, name[1], second=second)
                if len(self._meters) >= KEPT_MAX:
                    self._meters = {}
                self._meters[name] = part
            found.append(part)
        return np.array(found, np.int64)

    def _elsewhere(
        self, customers: NDArray[np.int32], seconds: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = seconds < self._starts[customers]
        found |= seconds >= self._ends[customers]
        return found

    def _grow(self, count: int) -> None:
        if count > len(self._starts):
            more = max(count, 2 * len(self._starts)) - len(self._starts)
            self._starts, self._ends, self._periods, self._prices = (
                np.append(held, np.zeros(more, held.dtype))
                for held in (self._starts, self._ends, self._periods, self._prices)
            )

    def _hold(self, customer: int, part: Part) -> None:
        self._starts[customer], self._ends[customer] = part.start, part.end
        self._periods[customer], self._prices[customer] = part.period_start, part.price


def _put(parts: Parts, row: int, *, part: Part) -> None:
    parts.starts[row], parts.ends[row] = part.start, part.end
    parts.periods[row], parts.prices[row] = part.period_start, part.price

"""The parts of billing periods that the events of a batch fall into; mostly without a loop."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflows.pricing import SPLIT, UNPRICED, Part, Pricing
from metering.batch import EventBatch
from metering.period import period_ends, period_starts

_SECOND_US = 1_000_000
#: Parts of split periods that are remembered; full, it starts again.
_SPLIT_MAX = 200_000
_NONE = -1


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
        self._split = _SplitParts()

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
        series = [meter for meter, _ in batch.series]
        slots, meters = self._split.places(customers[rows], series, batch.codes[rows])
        seconds = batch.occurred_us[rows] // _SECOND_US
        found, missing = self._split.find(slots, meters, seconds)
        if not len(missing):
            return found
        texts = batch.texts("customer_id", rows[missing])
        of_place: dict[tuple[int, int], Part] = {}
        own = []
        for text, slot, column, code, second in zip(
            texts, slots[missing].tolist(), meters[missing].tolist(),
            batch.codes[rows[missing]].tolist(), seconds[missing].tolist(), strict=True,
        ):  # fmt: skip
            part = of_place.get((slot, column))
            if part is None or not part.start <= second < part.end:
                part = self._pricing.meter_part(text, series[code], second=second)
                of_place[slot, column] = part
            own.append(part)
        found[missing] = own
        self._split.hold(of_place)
        return found

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


class _SplitParts:
    """The part that was asked for last by customer and meter, where a change splits the period.

    `parts` (customers x meters x 4) are rows of numbers; all 0 is no part.
    """

    def __init__(self) -> None:
        self._slots = np.zeros(0, np.int32)  # by customer, its row in `parts`
        self._count = 0
        self._meters: dict[str, int] = {}
        self.parts = np.zeros((0, 1, len(Part._fields)), np.int64)

    def places(
        self, customers: NDArray[np.int32], series: list[str], codes: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Row and column of events whose meters are `series[codes[i]]`, made where there are none.

        They mean nothing after the next call.
        """
        if self._count * len(self._meters) > _SPLIT_MAX:
            self._slots, self._count = np.zeros(0, np.int32), 0
            self.parts = np.zeros((0, 1, len(Part._fields)), np.int64)
        numbers = self._meters
        meters = np.array([numbers.setdefault(meter, len(numbers)) for meter in series], np.int64)
        missing = int(customers.max()) + 1 - len(self._slots)
        if missing > 0:
            more = max(missing, len(self._slots))
            self._slots = np.append(self._slots, np.full(more, _NONE, np.int32))
        new = np.unique(customers[self._slots[customers] == _NONE])
        self._slots[new] = np.arange(self._count, self._count + len(new))
        self._count += len(new)
        rows, columns, width = self.parts.shape
        if self._count > rows or len(numbers) > columns:
            rows = max(self._count, 2 * rows) if self._count > rows else rows
            grown = np.zeros((rows, max(len(numbers), columns), width), np.int64)
            grown[: len(self.parts), :columns] = self.parts
            self.parts = grown
        return self._slots[customers], meters[codes]

    def find(
        self, slots: NDArray[np.int32], meters: NDArray[np.int64], seconds: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The parts there, and which of them do not hold their moments."""
        found = self.parts[slots, meters]
        return found, np.flatnonzero((seconds < found[:, 0]) | (seconds >= found[:, 1]))

    def hold(self, parts: Mapping[tuple[int, int], Part]) -> None:
        """Remember parts by row and column."""
        rows, columns = np.array(list(parts), np.int64).T
        self.parts[rows, columns] = list(parts.values())


def _put(parts: Parts, row: int, *, part: Part) -> None:
    parts.starts[row], parts.ends[row] = part.start, part.end
    parts.periods[row], parts.prices[row] = part.period_start, part.price

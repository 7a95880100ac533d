"""Shares of a billing period by time, whole numbers that always add up to the whole."""

from dataclasses import dataclass

from rating_engine.exact import whole


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a period from `start` (inclusive) to `end` (exclusive), in its own time.

    All are counted from the period's start in one unit of elapsed time (microseconds), so an hour
    that a clock change takes away or repeats counts as it passed. `period` is the whole.
    Raises `ValueError` unless 0 <= start <= end <= period and period > 0.
    """

    start: int
    end: int
    period: int

    def __post_init__(self) -> None:
        """Check the bounds."""
        if not 0 <= self.start <= self.end <= self.period or not self.period:
            message = f"share: expected 0 <= start <= end <= period > 0, got {self}"
            raise ValueError(message)

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the period is left out."""
        return self.end - self.start == self.period

    def of(self, amount: int) -> int:
        """The share of `amount`, which is in whole numbers of any small unit.

        The difference of what is due up to the end and up to the start, each rounded down. However
        a period is cut, the shares of its parts add up to `amount`, and the shares of the parts of
        a part to the share of that part.
        """
        whole(amount, "amount")
        return amount * self.end // self.period - amount * self.start // self.period

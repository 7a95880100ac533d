"""How large the load is, and how much of it is what."""

from dataclasses import dataclass, field
from typing import NamedTuple

ARRAY_EVENTS_MIN, ARRAY_EVENTS_MAX = 2, 14
_ARRAY_EVENTS_MEAN = (ARRAY_EVENTS_MIN + ARRAY_EVENTS_MAX) / 2


@dataclass(frozen=True)
class Shares:
    """Shares of all events (0..1); what is left over is fresh and sound.

    `late` and the two shapes are shares of the fresh events among them.
    """

    same_partition_duplicates: float = 0.03
    other_partition_duplicates: float = 0.015
    restamped_duplicates: float = 0.015
    conflicts: float = 0.004
    future: float = 0.003
    malformed: float = 0.015
    suppressed: float = 0.005
    disregarded: float = 0.005
    in_arrays: float = 0.1
    late: float = 0.08
    cloud_events: float = 0.15
    camel_case: float = 0.15

    @property
    def events_per_message(self) -> float:
        """Mean over all messages, arrays included."""
        return 1 / (1 - self.in_arrays * (1 - 1 / _ARRAY_EVENTS_MEAN))

    @property
    def array_messages(self) -> float:
        """Share of messages that are arrays, so that `in_arrays` of the events travel in them."""
        return self.in_arrays * self.events_per_message / _ARRAY_EVENTS_MEAN


@dataclass(frozen=True)
class Plan:
    """The size of a load; `events_per_second` is its nominal pace, which sets the timestamps."""

    events: int = 200_000
    customers: int = 2_000
    partitions: int = 6
    events_per_second: int = 10_000
    shares: Shares = field(default_factory=Shares)


class Message(NamedTuple):
    """One Kafka message of `events` events, nominally due `due_s` seconds after the start."""

    partition: int
    key: bytes
    value: bytes | None
    events: int
    due_s: float

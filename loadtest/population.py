"""Who uses: customers, the subjects that stand for them, and the ones that operators set aside."""

from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

#: Every second customer has a workspace that a binding resolves to it.
_BOUND_EVERY = 2
_RETIRED_SUBJECTS = 20
#: Remainder by 97 of the customers whose names hold what breaks careless escaping.
_ODDLY_NAMED = 96


@dataclass(frozen=True)
class Population:
    """`customers` of them; some of their names hold what breaks careless escaping."""

    customers: int

    @cached_property
    def names(self) -> list[str]:
        """Customer ids by index."""
        return [_name(index) for index in range(self.customers)]

    @cached_property
    def bindings(self) -> dict[str, str]:
        """Subject -> the customer that it is bound to."""
        return {
            workspace(index): self.names[index] for index in range(0, self.customers, _BOUND_EVERY)
        }

    def is_bound(self, index: int) -> bool:
        """Whether the customer's workspace may stand for it."""
        return index % _BOUND_EVERY == 0


def workspace(index: int) -> str:
    """The subject that belongs to a customer, by index."""
    return f"ws-{index:06d}"


def device(index: int) -> str:
    """A subject that no binding knows; events that carry it name their customer."""
    return f"dev-{index:06d}"


def unbound_subject(number: int) -> str:
    """A subject that no binding knows, for events that name no customer."""
    return f"ghost-{number % 1000:03d}"


def suppressed_subject(number: int) -> str:
    """A subject that the rule `test-*` drops."""
    return f"test-{number % 50:02d}"


def retired_subject(number: int) -> str:
    """A subject that is disregarded: kept, not billed."""
    return f"retired-{number % _RETIRED_SUBJECTS:02d}"


def retired_subjects() -> list[str]:
    """All disregarded subjects."""
    return [retired_subject(number) for number in range(_RETIRED_SUBJECTS)]


def partition_of(customer_id: str, partitions: int) -> int:
    """The partition of a customer: all of its events but planted copies go there."""
    return crc32(customer_id.encode()) % partitions


def _name(index: int) -> str:
    if index % 97 == _ODDLY_NAMED:
        return f'Kundin "ü\\{index}" 東京'
    return f"cust-{index:06d}"

"""Malformed messages, each with the code that must name it; made anew now and then."""

from random import Random
from typing import NamedTuple

from loadtest import defects
from loadtest.meters import METER_BY_NAME, UNITS_PER_ONE, quantity_of_units
from loadtest.shapes import encode, render
from loadtest.usage import Shape, Usage

_POOL = 256
#: Of the malformed: broken as a whole; of these: too large, of which each is up to 1 MiB.
_BROKEN, _LARGE = 0.25, 0.0005
#: A minute later some of what was in the future might not be any more.
_FRESH_S = 60.0


class Malformed(NamedTuple):
    """The value of a message, and the code of its rejection."""

    code: str
    value: bytes | None


class MalformedPool:
    """Hands out malformed messages; what is rejected claims no identity, so they may repeat."""

    def __init__(self, random: Random, customer: str) -> None:
        """`customer` is named in those that name one."""
        self._random = random
        self._customer = customer
        self._pool: list[Malformed] = []
        self._made_s = float("-inf")
        self._serial = 0

    def pick(self, count: int, *, due_s: float, now_us: int) -> list[Malformed]:
        """`count` of them, to be sent at `due_s` seconds after the start, Unix us `now_us`."""
        if due_s - self._made_s >= _FRESH_S:
            self._made_s = due_s
            self._pool = [self._made(now_us) for _ in range(_POOL)]
        return [self._one() for _ in range(count)]

    def _one(self) -> Malformed:
        if self._random.random() >= _BROKEN:
            return self._random.choice(self._pool)
        if self._random.random() < _LARGE:
            return Malformed(*self._random.choice(defects.LARGE_MESSAGES))
        return Malformed(*self._random.choice(defects.MESSAGES))

    def _made(self, now_us: int) -> Malformed:
        self._serial += 1
        usage = Usage(
            serial=self._serial,
            id=f"bad-{self._serial:012x}",
            customer_id=self._customer,
            names_customer=True,
            subject=None,
            meter=METER_BY_NAME["workflow_runs"],
            quantity=quantity_of_units(3 * UNITS_PER_ONE),
            occurred_us=now_us,
            dimensions={"plan": "pro"},
            late=False,
            shape=Shape.OWN,
        )
        event = render(usage, self._random)
        code = defects.spoil(event, self._random, now_us)
        return Malformed(code, encode(event))

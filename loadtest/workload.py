"""The seeded load of the demo and the end-to-end tests: messages, and the truth about them.

Every copy is produced so that the truth does not depend on who is processed first: copies in the
same partition come later in its log; copies on another partition say exactly what the original
says. Nothing that is unique-counted is copied across partitions.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import accumulate
from random import Random
from typing import NamedTuple

from loadtest import defects
from loadtest.maker import ON_TIME_S_MAX, UsageMaker
from loadtest.meters import METER_BY_NAME, UNITS_PER_ONE, Aggregation, quantity_of_units
from loadtest.outcome import CONFLICT_CODE
from loadtest.plan import ARRAY_EVENTS_MAX, ARRAY_EVENTS_MIN, Message, Plan, Shares
from loadtest.population import Population, partition_of, retired_subject, suppressed_subject
from loadtest.shapes import encode, render
from loadtest.truth import Truth
from loadtest.usage import Shape, Usage, unix_us

_ORIGINALS_MAX = 50_000
#: Of the malformed: broken as a whole; of these: too large.
_BROKEN_MESSAGES, _LARGE_MESSAGES = 0.25, 0.03
_IN_ARRAY_DUPLICATES, _IN_ARRAY_MALFORMED = 0.01, 0.01


class _Original(NamedTuple):
    usage: Usage
    partition: int
    value: bytes


class Workload:
    """Iterate it once to get the messages in the order to produce; `truth` grows with them.

    The same seed, plan and `started_at` (aware) give the same bytes.
    """

    def __init__(self, seed: int, plan: Plan, started_at: datetime) -> None:
        """Nothing is generated yet."""
        self.truth = Truth()
        self.plan = plan
        self.population = Population(plan.customers)
        self._random = Random(seed)
        self._maker = UsageMaker(self.population, self._random, plan.shares)
        self._started_us = unix_us(started_at)
        self._serial = self._paused_events = 0
        self._originals: list[_Original] = []
        # An original is copied only while its copy would still be on time, wherever it goes.
        self._originals_max = min(_ORIGINALS_MAX, plan.events_per_second * ON_TIME_S_MAX)
        table = self._kinds_by_share(plan.shares)
        scale = plan.shares.events_per_message
        self._borders = list(accumulate(share * scale for share, _ in table))
        self._kinds = [make for _, make in table] + [self._single]

    def go_on_at(self, now: datetime) -> None:
        """The load pauses until `now` (aware): what follows occurs around then, and is due then.

        Nothing is copied from before, since such a copy would be late where its original is not.
        """
        self._paused_events = self.truth.accounted
        self._started_us = unix_us(now) - self._pace_us(self._paused_events)
        self._originals.clear()

    def __iter__(self) -> Iterator[Message]:
        """Messages until exactly `plan.events` events are accounted for in the truth."""
        while self.truth.accounted < self.plan.events:
            kind = bisect_right(self._borders, self._random.random())
            yield self._kinds[kind]()

    def _kinds_by_share(self, shares: Shares) -> list[tuple[float, Callable[[], Message]]]:
        return [
            (shares.same_partition_duplicates, self._same_partition_duplicate),
            (shares.other_partition_duplicates, self._other_partition_duplicate),
            (shares.restamped_duplicates, self._restamped_duplicate),
            (shares.conflicts, self._conflict),
            (shares.future, self._future),
            (shares.malformed, self._malformed),
            (shares.suppressed, self._suppressed),
            (shares.disregarded, self._disregarded),
            (shares.array_messages / shares.events_per_message, self._array),
        ]

    # What is sound.

    def _single(self) -> Message:
        usage = self._fresh()
        self.truth.accept(usage)
        return self._message(usage.customer_id, self._encode_original(usage))

    def _array(self) -> Message:
        """A batch of one customer; it may hold a copy of its first event, or a malformed one."""
        left = self.plan.events - self.truth.accounted
        size = min(left, self._random.randint(ARRAY_EVENTS_MIN, ARRAY_EVENTS_MAX))
        customer = self._random.randrange(self.plan.customers)
        events: list[bytes] = []
        for _ in range(size):
            chance = self._random.random()
            if chance < _IN_ARRAY_MALFORMED and events:
                events.append(self._spoilt(customer))
            elif chance < _IN_ARRAY_MALFORMED + _IN_ARRAY_DUPLICATES and events:
                events.append(events[0])
                self.truth.duplicate()
            else:
                usage = self._fresh(customer)
                self.truth.accept(usage)
                events.append(self._encode_original(usage))
        value = b"[" + b",".join(events) + b"]"
        return self._message(self.population.names[customer], value, events=size)

    def _disregarded(self) -> Message:
        usage = self._fresh()
        while usage.meter.aggregation is Aggregation.UNIQUE_COUNT:
            usage = self._fresh()
        usage = usage._replace(names_customer=True, subject=retired_subject(usage.serial))
        self.truth.disregard(usage)
        return self._message(usage.customer_id, self._encode_original(usage))

    # What repeats.

    def _same_partition_duplicate(self) -> Message:
        original = self._pick_original()
        if original is None:
            return self._single()
        self.truth.duplicate()
        return self._copy(original, original.partition, original.value)

    def _other_partition_duplicate(self) -> Message:
        original = self._pick_original()
        partitions = self.plan.partitions
        if original is None or partitions == 1:
            return self._single()
        if original.usage.meter.aggregation is Aggregation.UNIQUE_COUNT:
            return self._same_partition_duplicate()
        self.truth.duplicate()
        step = 1 + self._random.randrange(partitions - 1)
        return self._copy(original, (original.partition + step) % partitions, original.value)

    def _restamped_duplicate(self) -> Message:
        original = self._pick_original()
        if original is None:
            return self._single()
        self.truth.duplicate()
        moment = self._maker.moment(original.usage.serial, self._now_us(), late=False)
        return self._copy(
            original, original.partition, self._encode(original.usage._replace(occurred_us=moment))
        )

    def _conflict(self) -> Message:
        original = self._pick_original()
        if original is None:
            return self._single()
        self.truth.reject(CONFLICT_CODE)
        other = quantity_of_units(original.usage.quantity.units + UNITS_PER_ONE)
        return self._copy(
            original, original.partition, self._encode(original.usage._replace(quantity=other))
        )

    # What is not counted.

    def _future(self) -> Message:
        moment = defects.future(self._random, self._now_us())
        usage = self._fresh()._replace(occurred_us=moment)
        self.truth.reject("occurred_at_must_not_be_in_future")
        return self._message(usage.customer_id, self._encode(usage))

    def _malformed(self) -> Message:
        customer = self._random.randrange(self.plan.customers)
        if self._random.random() >= _BROKEN_MESSAGES:
            return self._message(self.population.names[customer], self._spoilt(customer))
        large = self._random.random() < _LARGE_MESSAGES
        code, value = self._random.choice(defects.LARGE_MESSAGES if large else defects.MESSAGES)
        self.truth.reject(code)
        return self._message(self.population.names[customer], value)

    def _suppressed(self) -> Message:
        usage = self._fresh()
        usage = usage._replace(names_customer=True, subject=suppressed_subject(usage.serial))
        self.truth.suppress()
        return self._message(usage.customer_id, self._encode(usage))

    def _spoilt(self, customer: int) -> bytes:
        usage = self._fresh(customer)._replace(
            names_customer=True,
            subject=None,
            meter=METER_BY_NAME["workflow_runs"],
            quantity=quantity_of_units(3 * UNITS_PER_ONE),
            occurred_us=self._now_us(),
            dimensions={"plan": "pro"},
            shape=Shape.OWN,
        )
        event = render(usage, self._random)
        self.truth.reject(defects.spoil(event, self._random, self._now_us()))
        return encode(event)

    # How it is made.

    def _now_us(self) -> int:
        return self._started_us + self._pace_us(self.truth.accounted)

    def _pace_us(self, events: int) -> int:
        return events * 1_000_000 // self.plan.events_per_second

    def _fresh(self, customer: int | None = None) -> Usage:
        self._serial += 1
        late = self._random.random() < self.plan.shares.late
        return self._maker.draw(self._serial, self._now_us(), late=late, customer=customer)

    def _encode(self, usage: Usage) -> bytes:
        return encode(render(usage, self._random))

    def _encode_original(self, usage: Usage) -> bytes:
        value = self._encode(usage)
        partition = partition_of(usage.customer_id, self.plan.partitions)
        original = _Original(usage, partition, value)
        if len(self._originals) < self._originals_max:
            self._originals.append(original)
        else:
            self._originals[usage.serial % self._originals_max] = original
        return value

    def _pick_original(self) -> _Original | None:
        return self._random.choice(self._originals) if self._originals else None

    def _copy(self, original: _Original, partition: int, value: bytes) -> Message:
        message = self._message(original.usage.customer_id, value)
        return message._replace(partition=partition)

    def _message(self, customer_id: str, value: bytes | None, *, events: int = 1) -> Message:
        return Message(
            partition=partition_of(customer_id, self.plan.partitions),
            key=customer_id.encode(),
            value=value,
            events=events,
            due_s=(self.truth.accounted - self._paused_events) / self.plan.events_per_second,
        )

"""Draws the log of a run from its plan."""

from random import Random

from simulator.traffic import HOUR_MS, ONE, START_MS, Event, Partition, Plan, Refused


class Producers:
    """Draws messages in the order of their record times."""

    def __init__(self, rng: Random, plan: Plan) -> None:
        self._rng = rng
        self._plan = plan
        self._seen: list[Event] = []
        self._offsets = [0] * plan.partitions
        self._now_ms = START_MS
        self._gap_ms = max(int(plan.hours * HOUR_MS / plan.events), 2)

    def log(self) -> tuple[list[Partition], list[int]]:
        """The partitions, and which partition's next message comes when they are revealed."""
        partitions = [Partition(number) for number in range(self._plan.partitions)]
        order: list[int] = []
        left = self._plan.events
        while left > 0:
            part = self._rng.choice(partitions)
            size = 1 if self._rng.random() < 0.8 else self._rng.randint(2, 3)
            left -= size
            part.append(*self._message(part.number, size))
            order.append(part.number)
        for part in partitions:
            part.seal()
        return partitions, order

    def _message(self, number: int, size: int) -> "tuple[list[Event] | Refused, int, int]":
        rng = self._rng
        self._now_ms += rng.choice([1, rng.randint(1, 2 * self._gap_ms)])
        if rng.random() < 0.05:
            self._offsets[number] += rng.randint(1, 2)  # a control record
        offset = self._offsets[number]
        self._offsets[number] += 1
        if rng.random() < self._plan.odd:
            rule = "" if rng.random() < 0.5 else "rule"
            return Refused(number, offset, self._now_ms, rule), offset, self._now_ms
        events = [self._event(number, offset, index) for index in range(size)]
        return events, offset, self._now_ms

    def _event(self, partition: int, offset: int, index: int) -> Event:
        rng, plan = self._rng, self._plan
        again = rng.random() < plan.again
        elsewhere = rng.random() < plan.elsewhere
        others = [
            event for event in self._seen if (event.partition != partition) == elsewhere
        ] if again else []  # fmt: skip
        event = self._new(partition, offset, index)
        if others:
            original = rng.choice(others[-plan.recent :] if rng.random() < 0.8 else others)
            event = self._copy(original, event)
        self._seen.append(event)
        return event

    def _new(self, partition: int, offset: int, index: int) -> Event:
        rng, plan = self._rng, self._plan
        meter = rng.choice(plan.meters)
        lag_ms = rng.randint(-60_000, 600_000)
        if rng.random() < 0.4:
            lag_ms = int(rng.random() * plan.lag_hours * HOUR_MS)
        lowest = -20 if meter in ("m_sum", "m_max", "m_latest") else 0
        return Event(
            partition, offset, index, self._now_ms,
            identity=rng.getrandbits(128).to_bytes(16, "little"),
            customer=f"c{rng.randrange(plan.customers)}", meter=meter,
            group=f"g{rng.randrange(plan.groups)}" if plan.groups else "",
            units=rng.randint(lowest, 100) * ONE if rng.random() < 0.9 else 10**31,
            occurred_us=(self._now_ms - lag_ms) // 1000 * 1_000_000,
            value=f"v{rng.randrange(5)}" if meter == "m_unique" else "",
            disregarded=rng.random() < plan.odd / 3,
        )  # fmt: skip

    def _copy(self, original: Event, new: Event) -> Event:
        rng = self._rng
        is_conflict = rng.random() < self._plan.conflicting
        is_restamped = rng.random() < self._plan.restamped
        return Event(
            new.partition, new.offset, new.index, new.record_ms, original.identity,
            original.customer, original.meter, original.group,
            units=original.units + ONE if is_conflict else original.units,
            occurred_us=new.occurred_us if is_restamped else original.occurred_us,
            value=original.value, disregarded=original.disregarded,
        )  # fmt: skip

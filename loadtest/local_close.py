"""The hard month of the demo: closed, then late usage and a correction, adjusted, derived again.

Every line of invoices and adjustments is compared with the load's own reckoning, to the cent.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from loadtest.clickhouse import ClickHouse
from loadtest.local_bills import Line, expected_lines
from loadtest.local_month import (
    BUSY,
    CUSTOMERS,
    RETRACTED,
    STEADY,
    LocalMonth,
    Usages,
    before_the_cut,
    beyond_the_cut,
    messages,
    tier,
)
from loadtest.meterline import CommandFailed, Meterline
from loadtest.oracle import Difference, await_accounted
from loadtest.produce import produce

_ACCOUNTED_S = 120.0
_FIRST_SERIAL = 1 << 41
#: Exit code of what has to be repeated in a moment, and how often.
_LATER, _TRIES = 75, 30
Lines = dict[tuple[str, Line], int]


@dataclass(frozen=True)
class LocalClose:
    """What the act needs: the command, what it wrote, where events go."""

    meterline: Meterline
    clickhouse: ClickHouse
    bootstrap_servers: str
    topic: str
    partitions: int
    month: LocalMonth
    say: Callable[[str], None]

    def run(self) -> list[Difference]:
        """All of it; returns what is not as it must be. Workers must be running."""
        month = self.month
        before, late = before_the_cut(month), beyond_the_cut(month)
        after = {key: each for key, each in (before | late).items() if key != RETRACTED[::2]}
        _require_hard(before, late, month=month)
        self._stream(before)
        self._bill("close")
        issued = self.expected(before)
        differences = self._compare("invoice line", issued, read=self.clickhouse.invoice_lines)
        self._stream(late)
        self._retract()
        self._bill("adjust")
        wanted = self.expected(after)
        changes = {
            key: wanted.get(key, 0) - issued.get(key, 0)
            for key in wanted.keys() | issued.keys()
            if wanted.get(key, 0) != issued.get(key, 0)
        }
        differences += self._compare(
            "adjustment line", changes, read=self.clickhouse.adjustment_lines
        )
        differences += self._compare("invoice line", issued, read=self.clickhouse.invoice_lines)
        behind = {(customer, name, "added") for (customer, name) in self._in_month(late)}
        behind.add((*RETRACTED[::2], "retracted"))
        got = self.clickhouse.adjusted_events(CUSTOMERS)
        if got != behind:
            differences.append(Difference("events behind adjustments", str(behind), str(got)))
        again = orjson.loads(self.meterline.run(*self._asked("adjust"), "--json"))
        if again["adjustments"]:
            differences.append(Difference("adjusting again", "nothing", str(again["adjustments"])))
        self.say(
            f"{month.name} in {month.zone}, where clocks change: {len(issued)} lines, "
            f"{len(changes)} of them adjusted after {len(late)} late events and a retraction; "
            f"every line is what the load reckons ({sum(issued.values())} and "
            f"{sum(changes.values()):+} cents)"
        )
        return differences

    def expected(self, used: Usages) -> Lines:
        """Cents by customer and line."""
        return {
            (name, line): cents
            for name in CUSTOMERS
            for line, cents in expected_lines(
                (each for (customer, _), each in used.items() if customer == name),
                **self.month.borders,
            ).items()
        }

    def _in_month(self, used: Usages) -> Iterable[tuple[str, str]]:
        return [
            key for key, each in used.items() if self.month.start <= each.second < self.month.end
        ]  # fmt: skip

    def _asked(self, command: str) -> list[str]:
        customers = [word for name in CUSTOMERS for word in ("--customer", name)]
        return [command, "--period", self.month.name, *customers, "--actor", "demo"]

    def _bill(self, command: str) -> None:
        asked = self._asked(command)
        self.say(f"$ meterline {' '.join(asked)}")
        self.say(self.meterline.run(*asked).strip())

    def _retract(self) -> None:
        customer, meter, name = RETRACTED
        asked = [
            "correct", "retract", "--customer", customer, "--meter", meter, "--id", name,
            "--reason", "duplicate_usage", "--actor", "demo",
        ]  # fmt: skip
        self.say(f"$ meterline {' '.join(asked)}")
        drafted = orjson.loads(self.meterline.run(*asked, "--json"))
        number = drafted["correction"]["correction_id"]
        apply = ["correct", "apply", number, "--actor", "demo"]
        for _ in range(_TRIES):  # until a total holds the event
            told = self.meterline.run(*apply, expected=(0, _LATER))
            if f"{number}: retract" in told and " is applied" in told:
                self.say(f"$ meterline {' '.join(apply)}")
                return
            time.sleep(1)
        message = f"expected correction {number} to be applied, got: {told}"
        raise CommandFailed(message)

    def _stream(self, used: Usages) -> None:
        expected = self.clickhouse.accounted() + len(used)
        produce(
            messages(used, partitions=self.partitions, serial=_FIRST_SERIAL + expected),
            bootstrap_servers=self.bootstrap_servers, topic=self.topic,
        )  # fmt: skip
        found = await_accounted(
            self.clickhouse, expected, deadline_s=_ACCOUNTED_S, on_accounted=lambda _events: None
        )
        if found != expected:
            message = f"expected {expected} events accounted for, got {found}"
            raise CommandFailed(message)

    def _compare(
        self, what: str, expected: Lines, *, read: Callable[[tuple[str, ...]], Lines]
    ) -> list[Difference]:
        got = read(CUSTOMERS)
        return [
            Difference(f"{what} {key}", str(expected.get(key)), str(got.get(key)))
            for key in sorted(expected.keys() | got.keys())
            if expected.get(key) != got.get(key)
        ]


def _require_hard(before: Usages, late: Usages, *, month: LocalMonth) -> None:
    """The load holds what it is there for: a late event into a tier, a retraction out of one."""
    for name in ("local-late-1", "local-late-2"):
        key = (BUSY, name)
        without = before | {key: late[key]._replace(quantity=0)}
        assert not tier(without, key, month=month), name
        assert tier(before | late, key, month=month), name
    key = (STEADY, RETRACTED[2])
    assert tier(before, key, month=month)
    assert not tier(before | {key: before[key]._replace(quantity=0)}, key, month=month)

"""The end of a month in the demo: invoices, late usage, adjustments, and a reconciliation.

Usage of the month before is streamed like any other, invoiced, followed by late usage, adjusted,
and compared with an export in which mistakes were planted. All money is compared with the load's
own reckoning, to the cent.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from loadtest.bills import Invoice, expected_invoices
from loadtest.clickhouse import ClickHouse
from loadtest.discrepancies import Planted, plant
from loadtest.last_month import LastMonth
from loadtest.meterline import CommandFailed, Meterline
from loadtest.oracle import Difference, await_accounted
from loadtest.produce import produce

_ACCOUNTED_S = 120.0
#: Exit code of a reconciliation that found something, and the check that is about the export.
_FINDINGS, _EXPORT = 1, "export"


@dataclass(frozen=True)
class MonthEnd:
    """What the act needs: the command, what it wrote, where events go, and prices."""

    meterline: Meterline
    clickhouse: ClickHouse
    bootstrap_servers: str
    topic: str
    names: Sequence[str]
    changed_at: datetime
    load: LastMonth
    say: Callable[[str], None]

    def run(self, *, events: int, late: int, folder: Path, seed: int) -> list[Difference]:
        """All of it; returns what is not as it must be. Workers must be running."""
        month = self.load.month
        self._stream(events)
        self._show("close", "--period", month.name, "--actor", "demo")
        issued = self._expected()
        differences = _compare(issued, self.clickhouse.invoiced(month.start), what="invoice")
        exported = folder / "invoices.csv"
        self.meterline.run(
            "invoices", "export", "--period", month.name, "--format", "csv",
            "--output", str(exported),
        )  # fmt: skip
        differences += _found(Planted(), self._reconciled(exported))
        self._stream(late)
        self._show("adjust", "--period", month.name, "--actor", "demo")
        adjusted = self._expected()
        posted = self.clickhouse.adjusted(month.start)
        differences += _compare(adjusted, _added(issued, posted), what="invoice and adjustments")
        self.say(f"late usage changed {len(posted)} of {len(adjusted)} invoices, as it must")
        self.meterline.run("invoices", "verify", "--period", month.name)
        planted = plant(exported, folder / "billing-system.csv", seed=seed)
        # adjustments are posted to the open period, so the export of this one does not hold them
        found = self._reconciled(folder / "billing-system.csv", folder / "reconciliation.html")
        return differences + _found(planted, found)

    def _stream(self, events: int) -> None:
        expected = self.clickhouse.accounted() + events
        produce(
            self.load.messages(events), bootstrap_servers=self.bootstrap_servers, topic=self.topic
        )
        found = await_accounted(
            self.clickhouse, expected, deadline_s=_ACCOUNTED_S, on_accounted=lambda _events: None
        )
        if found != expected:
            message = f"expected {expected} events accounted for, got {found}"
            raise CommandFailed(message)

    def _expected(self) -> dict[str, Invoice]:
        return expected_invoices(
            self.load.truth.outcome().totals, self.names, month_start=self.load.month.start,
            changed_at=self.changed_at,
        )  # fmt: skip

    def _reconciled(self, exported: Path, html: Path | None = None) -> dict[str, Any]:
        """What comparing the books with an export finds; shown to people as well with `html`."""
        asked = ["reconcile", "--period", self.load.month.name, "--export", str(exported)]
        if html is not None:
            self._show(*asked, "--html", str(html), "--limit", "12", code=_FINDINGS)
        found: dict[str, Any] = orjson.loads(
            self.meterline.run(*asked, "--json", expected=(0, _FINDINGS))
        )
        return found

    def _show(self, *arguments: str, code: int = 0) -> None:
        self.say(f"$ meterline {' '.join(arguments)}")
        self.say(self.meterline.run(*arguments, expected=(code,)).strip())


def _compare(
    expected: Mapping[str, Invoice], got: Mapping[str, Invoice], *, what: str
) -> list[Difference]:
    return [
        Difference(f"{what} of {name}", str(expected.get(name)), str(got.get(name)))
        for name in sorted({*expected, *got})
        if expected.get(name) != got.get(name)
    ]


def _added(issued: Mapping[str, Invoice], posted: Mapping[str, Invoice]) -> dict[str, Invoice]:
    """Invoices with their adjustments."""
    sums = dict(issued)
    for name, more in posted.items():
        before = sums.get(name, Invoice(more.currency, 0))
        assert before.currency == more.currency, name
        sums[name] = Invoice(before.currency, before.cents + more.cents)
    return sums


def _found(planted: Planted, document: Mapping[str, Any]) -> list[Difference]:
    """Where a reconciliation of an export differs from what was planted in it."""
    classes = Counter[str]()
    for each in document["classes"]:
        if each["check"] == _EXPORT:
            classes[each["class"]] += each["findings"]
    amounts = {
        each["currency"]: Decimal(each["difference"])
        for each in document["totals"]
        if each["check"] == _EXPORT and Decimal(each["difference"])
    }
    wanted = {code: amount for code, amount in planted.amounts.items() if amount}
    other = [each for each in document["findings"] if each["check"] != _EXPORT]
    pairs = [
        ("findings by class", dict(planted.classes), dict(classes)),
        ("what the export is off by", wanted, amounts),
        ("findings beside the export", [], other),
    ]
    return [Difference(what, str(a), str(b)) for what, a, b in pairs if a != b]

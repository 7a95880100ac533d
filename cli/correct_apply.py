"""What each kind of correction does when it is applied, step by step, each harmless to repeat.

1  audit     the correction begins. Crash after: nothing happened yet; apply again.
2  effects   by kind, see below; each is an absolute row under a key that a repeat writes again.
             Crash between: some stand; apply again, which completes the rest.
3  audit, corrections  applied. Crash between both: the next command writes the second.

retract   retracted_events; then rows and totals of its meter and periods are derived again
replace   the same, then the new event on the events topic: its id follows from the old one, so
          that a repeat sends a duplicate
rerate    rows and totals are derived again; then an adjustment for every invoice that differs
credit    an adjustment
hold, release  nothing: the last step is what the view `invoice_holds` shows
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import orjson

from billing.corrections.billed import money
from billing.corrections.desk import Desk
from billing.corrections.estimate import NOTHING, Estimate, credited
from billing.corrections.open_period import OpenPeriods
from billing.corrections.policy import NotAllowed
from billing.corrections.posting import CorrectionPosting
from billing.corrections.targets import Target, Targets, require_retractable
from billing.period_name import PeriodName
from cli.context import stderr
from cli.correct_desk import Corrections, now
from cli.moments import now_us
from cli.sole_biller import SoleBiller, sole_biller
from dataflows.distinct_claims import DistinctClaims
from dataflows.kafka_reader import kafka_config
from dataflows.rerating import Rerating
from metering.correction import Correction, CorrectionKind, CorrectionState
from metering.errors import DependencyDown
from metering.identity import identity_seed
from rating_engine.billing_period import BillingPeriod
from sinks.catalog_store import CatalogStore
from sinks.clickhouse import connect_clickhouse
from sinks.conservation.cuts import absorbed_cuts
from sinks.dedup_adopt import adopt_memory
from sinks.events_topic import EventsTopic
from sinks.invoice_store import InvoiceStore
from sinks.rated_rows import Scope

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Rows of retractions are dated so far ahead: later than any cut that was taken before they were
#: visible, so that what is derived again as of that cut does not see them either.
_AHEAD = timedelta(seconds=5)


class Applying:
    """Applies corrections of one deployment."""

    def __init__(self, at: Corrections) -> None:
        """`at` is everything at hand."""
        self._at = at
        self._targets = Targets(at.client)
        self._open = OpenPeriods(at.estimator.billed, at.book)

    def estimate(self, found: Correction) -> Estimate:
        """The money that moves by what is known now. Raises `NotAllowed`, `DependencyDown`."""
        content = found.content
        if found.kind in (CorrectionKind.RETRACT, CorrectionKind.REPLACE):
            return self._at.estimator.events(self._events(found), content.get("event"))
        if found.kind is CorrectionKind.RERATE:
            return self._at.estimator.rerate(
                self._customers(found), PeriodName.read(found.period),
                without_run=found.correction_id,
            )  # fmt: skip
        if found.kind is CorrectionKind.CREDIT:
            return credited(content["amount"], content["currency"])
        return NOTHING

    def apply(self, correction_id: str, *, actor: str) -> Correction:
        """Apply it, or complete what was begun. Raises `NotAllowed`, `DependencyDown`."""
        desk: Desk = self._at.desk
        found = desk.find(correction_id)
        if found.state is CorrectionState.APPLIED:
            return found
        is_begun = desk.is_begun(correction_id)
        events = self._events(found) if "events" in found.content else []
        if not is_begun:
            self._require_sound(found, events)
            found = desk.begin(
                found, actor=actor, exposure=self.estimate(found).exposure,
                events=[each.identity.hex() for each in events],
            )  # fmt: skip
        if events:
            self._take_back(found, events)
        if found.kind is CorrectionKind.REPLACE:
            self._send(found)
        elif found.kind is CorrectionKind.RERATE:
            self._rerate(found)
        elif found.kind is CorrectionKind.CREDIT:
            self._credit(found)
        return desk.finish(correction_id, actor=actor)

    def _require_sound(self, found: Correction, events: Sequence[Target]) -> None:
        if events:
            require_retractable(events)
            cuts = {(cut.stream, cut.partition): cut for cut in absorbed_cuts(self._at.client)}
            for each in events:
                cut = cuts.get((each.place.stream, each.place.partition))
                if cut is None or cut.next_offset <= each.place.offset:
                    msg = f"ClickHouse has {each.place} not in totals yet; repeat in a moment"
                    raise DependencyDown(msg)
        if found.kind is CorrectionKind.RERATE:
            loaded = CatalogStore(self._at.client).newest_hash()
            mine = self._at.book.content_hash
            for wanted, what in ((loaded, "is loaded"), (found.content["catalog"], "was shown")):
                if wanted not in (None, mine):
                    msg = (
                        f"--catalog: expected the catalog that {what} ({wanted}), got {mine}; "
                        "`meterline catalog load` loads one, workers take it over by themselves"
                    )
                    raise NotAllowed(msg)

    def _events(self, found: Correction) -> list[Target]:
        keys = [
            (each["customer_id"], each["meter"], each["identity"])
            for each in found.content["events"]
        ]
        return self._targets.by_key(keys)

    def _customers(self, found: Correction) -> list[str]:
        named: list[str] = found.content["customers"]
        return named or self._at.estimator.customers(PeriodName.read(found.period))

    def _take_back(self, found: Correction, events: Sequence[Target]) -> None:
        with self._turn(found):
            # looked at again within the turn: what was stamped stays as it was stamped first
            waiting = [each.key for each in self._events(found) if not each.is_retracted]
            effective = now() + _AHEAD
            recorded_us = (effective - _EPOCH) // timedelta(microseconds=1)
            self._at.store.take_back(
                waiting, correction_id=found.correction_id, recorded_us=recorded_us
            )  # fmt: skip
        what_if = self._at.estimator.what_if
        touched: dict[BillingPeriod, set[str]] = {}
        for each in events:
            name = what_if.period_name(each.customer_id, each.at_us)
            touched.setdefault(what_if.period(each.customer_id, name), set()).add(each.meter)
        self._derive(
            [
                Scope((events[0].customer_id,), period.start, period.end, tuple(sorted(meters)))
                for period, meters in sorted(touched.items())
            ]
        )
        # who closes or adjusts once this is applied must see it
        time.sleep(max((effective - now()).total_seconds(), 0))

    def _derive(self, scopes: Sequence[Scope]) -> None:
        """Write rows and totals of these scopes anew; see `dataflows/rerating.py` for its steps."""
        catalog = self._at.book.catalog
        reading = connect_clickhouse(self._at.settings)
        memory = adopt_memory(self._at.settings, reading, catalog, say=stderr.print)
        try:
            seed = identity_seed(self._at.settings.identity_key.get_secret_value())
            Rerating(
                self._at.client,
                self._at.book,
                store=memory,
                claims=DistinctClaims(memory, seed=seed),
                say=stderr.print,
            ).derive(scopes)
        finally:
            memory.close()
            reading.close()

    def _send(self, found: Correction) -> None:
        settings = self._at.settings
        topic = EventsTopic(kafka_config(settings), settings.events_topic)
        topic.send([(found.customer_id, orjson.dumps(found.content["event"]))])

    def _rerate(self, found: Correction) -> None:
        name = PeriodName.read(found.period)
        customers = self._customers(found)
        self._derive(list(self._scopes(customers, name)))
        with self._posting(found) as posting:
            posting.rerate(found, customers, name=name)

    def _scopes(self, customers: Sequence[str], name: PeriodName) -> Iterator[Scope]:
        by_period: dict[BillingPeriod, list[str]] = {}
        for each in customers:
            period = self._at.estimator.rerated.period(each, name)
            by_period.setdefault(period, []).append(each)
        for period, some in sorted(by_period.items()):
            yield Scope(tuple(some), period.start, period.end)

    def _credit(self, found: Correction) -> None:
        name = PeriodName.read(found.period)
        period = self._at.estimator.what_if.period(found.customer_id, name)
        amount = money(found.content["amount"], found.content["currency"])
        with self._posting(found) as posting:
            posted_to = self._open.at_or_after(found.customer_id, period)
            self._open.require_currency(found.customer_id, posted_to, code=amount.currency.code)
            posting.credit(found, period, posted_to=posted_to.start, amount=amount)

    @contextmanager
    def _posting(self, found: Correction) -> Iterator[CorrectionPosting]:
        at = self._at
        with self._turn(found) as biller:
            store = InvoiceStore(at.client, biller.require)
            yield CorrectionPosting(at.client, at.book, store=store, now=now_us)

    @contextmanager
    def _turn(self, found: Correction) -> Iterator[SoleBiller]:
        """While nobody else bills, or takes events back."""
        doing = f"correction {found.correction_id} of {found.author}"
        with sole_biller(self._at.settings, doing) as biller, biller.turn():
            yield biller

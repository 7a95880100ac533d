"""A charge with all that it is made of, from events to money, derived again from raw history."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from clickhouse_connect.driver.client import Client

from billing.event_charges import EventCharge, EventCharges, EventSums
from billing.events import events_of
from billing.period_name import PeriodName
from billing.usage import SpanBorders, SpanUsage, UsageReader, borders_of
from metering.catalog import Meter
from metering.errors import PermanentError
from rating_engine.billing_period import BillingCalendar, BillingPeriod
from rating_engine.combine import Quantity
from rating_engine.models.model import Step
from rating_engine.money import Money, rounded
from rating_engine.period_rater import GroupKey, PeriodRater, RatedPart
from rating_engine.price_book.book import PriceBook, PricedSpan
from sinks.billing_runs import RawState, RunStore

#: Looks at totals and how far they are, until none moves in between.
_LOOKS_MAX = 5


@dataclass(frozen=True, slots=True)
class ExplainedPart:
    """A part of the period with its terms: `amount` is its charge, rounded; steps add up to it."""

    part: RatedPart
    steps: tuple[Step, ...]
    amount: Money


@dataclass(frozen=True, slots=True)
class ExplainedCharge:
    """One meter and group of a customer's billing period.

    `quantities` and `live` are by span, from raw history and from live totals. `standing` (10^-24)
    is due without any event. `shown` are the first events; `sums` are over all of them.
    """

    group: GroupKey
    quantities: tuple[Quantity, ...]
    live: tuple[Quantity, ...]
    parts: tuple[ExplainedPart, ...]
    charge: int
    amount: Money
    standing: int
    shown: tuple[EventCharge, ...]
    sums: EventSums

    @property
    def events_agree(self) -> bool:
        """Standing charge + the charges of all events = the period's charge."""
        return self.standing + self.sums.charge == self.charge

    @property
    def live_agrees(self) -> bool:
        """Live totals hold the same quantity in every span."""
        return self.live == self.quantities

    @property
    def stored_agrees(self) -> bool | None:
        """What the stream stored adds up to what comes out now.

        None where it stored nothing, and for events of several partitions of the log: the stream
        rates each partition by itself, and only the period's charge is of all of them.
        """
        return self.sums.stored == self.sums.derived if len(self.sums.sources) == 1 else None

    @property
    def agrees(self) -> bool:
        """Nothing differs."""
        return self.events_agree and self.live_agrees and self.stored_agrees is not False


@dataclass(frozen=True, slots=True)
class Explanation:
    """A meter of a customer in a billing period: one charge for each group, at least one."""

    customer_id: str
    meter: Meter
    period: BillingPeriod
    calendar: BillingCalendar
    spans: tuple[PricedSpan, ...]
    charges: tuple[ExplainedCharge, ...]
    complete_to_ms: int

    @property
    def agrees(self) -> bool:
        """Nothing differs in any group."""
        return all(each.agrees for each in self.charges)


class Explainer:
    """Explains charges under one price book."""

    def __init__(self, client: Client, book: PriceBook) -> None:
        """Reads through `client`, whose database is the deployment's."""
        self._client = client
        self._book = book
        self._reader = UsageReader(client, book.catalog.meters)
        self._runs = RunStore(client)

    def explain(
        self,
        customer_id: str,
        meter: Meter,
        *,
        name: PeriodName,
        group: GroupKey | None,
        shown_max: int,
    ) -> Explanation:
        """Explain one `group`, or with None all that were used.

        All events are read and rated, the first `shown_max` are kept. Raw history is ahead of live
        totals, so it is read up to where those are. Totals that moved on between one look at where
        that is and the next, several times, show as a difference.
        Raises `PermanentError` where nothing prices the customer then, and `DependencyDown`.
        """
        calendar, period, spans = self._priced(customer_id, name)
        wanted = borders_of(customer_id, period, spans=spans)
        state, live = self._live(wanted)
        raw = self._reader.raw([wanted], state).get(customer_id, {})
        used = {key[1] for key in (*raw, *live) if key[0] == meter.key}
        groups = [group] if group is not None else sorted(used) or [()]
        nothing = [None] * len(spans)
        charges = []
        for each in groups:
            rater = PeriodRater(
                [span.span for span in spans],
                meter.key,
                period=period.length_us,
                group=each,
                aggregation=meter.aggregation,
            )
            events = EventCharges(rater, wanted.borders_us, aggregation=meter.aggregation)
            found = events_of(self._client, wanted, meter=meter, group=each, below=state)
            passing = events.charges(found)
            shown = tuple(islice(passing, shown_max))
            for _ in passing:
                pass
            key = (meter.key, each)
            charges.append(
                explained(
                    rater,
                    spans,
                    group=each,
                    quantities=(tuple(raw.get(key, nothing)), tuple(live.get(key, nothing))),
                    events=(shown, events.sums),
                )
            )
        return Explanation(
            customer_id,
            meter,
            period,
            calendar,
            spans,
            tuple(charges),
            self._reader.complete_to_ms(),
        )

    def _live(self, wanted: SpanBorders) -> tuple[RawState, SpanUsage]:
        """Live totals, and the state of raw history that they come from."""
        for _ in range(_LOOKS_MAX):
            state = self._runs.raw_state(0)  # corrections are looked at as of now
            found, moving = self._reader.totals_at([wanted], state)
            if not moving:
                break
        return state, found.get(wanted.customer_id, {})

    def _priced(
        self, customer_id: str, name: PeriodName
    ) -> tuple[BillingCalendar, BillingPeriod, tuple[PricedSpan, ...]]:
        calendar = self._book.calendar_of(customer_id)
        if calendar is None:
            msg = f"--customer: expected one with a subscription, got {customer_id!r}"
            raise PermanentError(msg)
        period = name.of(calendar)
        spans = self._book.spans(customer_id, period)
        if not spans:
            msg = (
                f"--period: expected one with a subscription of {customer_id!r}, "
                f"got {name.text}, when there is none"
            )
            raise PermanentError(msg)
        return calendar, period, spans


def explained(
    rater: PeriodRater,
    spans: Sequence[PricedSpan],
    *,
    group: GroupKey,
    quantities: tuple[tuple[Quantity, ...], tuple[Quantity, ...]],
    events: tuple[tuple[EventCharge, ...], EventSums],
) -> ExplainedCharge:
    """Put a charge together; `quantities` are from raw history and from live totals."""
    raw, live = quantities
    plan = spans[0].span.plan
    parts = tuple(
        ExplainedPart(
            part,
            part.rater.steps(part.rated.quantity, part.used_before),
            rounded(part.rated.charge, plan.currency, rounding=plan.rounding),
        )
        for part in rater.rate(raw)
    )
    shown, sums = events
    return ExplainedCharge(
        group=group,
        quantities=raw,
        live=live,
        parts=parts,
        charge=rater.total(raw).charge,
        amount=sum((part.amount for part in parts), Money(plan.currency, 0)),
        standing=rater.total([None] * len(spans)).charge,
        shown=shown,
        sums=sums,
    )

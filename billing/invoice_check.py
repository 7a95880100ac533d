"""Issued invoices checked: what their lines say, derived again from raw history and rate cards.

    lines    the lines that are stored give the hash and the total that the invoice was issued with
    cards    a rate card's content still gives its number
    raw      raw history at the cut gives each line's quantity, events and hash of identities
    charges  the card gives included, overage and charge of that quantity; rounding gives the amount
    missing  no usage that the stream found a price for is without a line
    adjusted the lines of adjustments give their hash and total, and begin with what was billed

Neither plans nor subscriptions are asked; of the catalog, only how a meter aggregates.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from billing.adjustment_check import broken_chains, changed_adjustments
from billing.group_text import group_key
from billing.invoice_lines import InvoiceLine, amount_of, lines_hash
from billing.invoices import line_of
from billing.stored_cards import StoredCard, stored_cards
from billing.usage import Evidence, SpanBorders, UsageAt, UsageReader
from metering.catalog import Aggregation, Meter
from rating_engine.bill import LineKind
from rating_engine.combine import combined
from rating_engine.currency import Currency
from rating_engine.exact import charge_text, quantity_text
from rating_engine.money import Rounding, rounded
from sinks.billing_runs import RunStore
from sinks.invoice_rows import InvoiceLineRow, InvoiceRow
from sinks.invoice_store import InvoiceStore

_SECOND_US = 1_000_000


class Tampered(NamedTuple):
    """What an invoice says, and what comes out; `line` is 0 for the whole invoice."""

    customer_id: str
    invoice_id: str
    line: int
    what: str
    issued: str
    derived: str


class InvoiceCheck:
    """Checks invoices, some customers at a time."""

    def __init__(self, client: Client, meters: Mapping[str, Meter], *, store: InvoiceStore) -> None:
        """`meters` say how raw events aggregate."""
        self._client = client
        self._store = store
        self._meters = meters
        self._reader = UsageReader(client, meters)
        self._runs = RunStore(client)
        self.invoices = 0
        self.lines = 0

    def tampered(self, periods: Sequence[tuple[str, int]]) -> list[Tampered]:
        """Everything that differs in the invoices of these periods. Raises `DependencyDown`."""
        invoices = self._store.invoices(periods)
        rows: dict[tuple[str, int], list[InvoiceLineRow]] = {}
        for row in self._store.lines(periods):
            rows.setdefault((row.customer_id, row.period_start), []).append(row)
        cards = stored_cards(
            self._client, {row.card for each in rows.values() for row in each if row.card}
        )
        usage = self._usage(invoices, rows)
        found: list[Tampered] = []
        for invoice in invoices:
            place = (invoice.customer_id, invoice.period_start)
            own = rows.get(place, [])
            self.invoices += 1
            self.lines += len(own)
            check = _Check(invoice, own, cards=cards, meters=self._meters)
            found += check.found(usage.get(place, UsageAt({}, {})))
        adjustments = self._store.adjustments(periods)
        posted_lines = self._store.adjustment_lines(periods)
        issued_lines = [row for own in rows.values() for row in own]
        for each, what, posted, stands in [
            *changed_adjustments(adjustments, posted_lines),
            *broken_chains(adjustments, posted_lines, invoices=issued_lines),
        ]:
            found.append(
                Tampered(
                    each.customer_id,
                    each.invoice_id,
                    0,
                    f"{what} {each.adjustment_id}",
                    posted,
                    stands,
                )
            )
        return found

    def _usage(
        self,
        invoices: Sequence[InvoiceRow],
        rows: Mapping[tuple[str, int], Sequence[InvoiceLineRow]],
    ) -> dict[tuple[str, int], UsageAt]:
        """What raw history holds for each invoice at its cut, by the spans of `borders_s`."""
        runs = self._runs.by_id(sorted({each.run_id for each in invoices}))
        together: dict[tuple[str, int], list[InvoiceRow]] = {}
        for each in invoices:  # a customer once in each query
            together.setdefault((each.run_id, each.period_start), []).append(each)
        found: dict[tuple[str, int], UsageAt] = {}
        for (run_id, start), some in together.items():
            wanted = [
                SpanBorders(
                    each.customer_id,
                    tuple(
                        border * _SECOND_US
                        for border in borders_s(each, rows.get((each.customer_id, start), ()))
                    ),
                )
                for each in some
            ]
            usage = self._reader.raw_at(wanted, runs[run_id].state)
            found |= {(customer_id, start): at for customer_id, at in usage.items()}
        return found


def borders_s(invoice: InvoiceRow, rows: Sequence[InvoiceLineRow]) -> list[int]:
    """Every moment (Unix seconds) at which the period or a part of it begins or ends."""
    inner = {border for row in rows for border in (row.part_start, row.part_end)}
    return sorted(inner | {invoice.period_start, invoice.period_end})


class _Check:
    """One invoice."""

    def __init__(
        self,
        invoice: InvoiceRow,
        rows: Sequence[InvoiceLineRow],
        *,
        cards: Mapping[int, StoredCard],
        meters: Mapping[str, Meter],
    ) -> None:
        self._invoice = invoice
        self._rows = rows
        self._cards = cards
        self._meters = meters
        self._borders = borders_s(invoice, rows)
        self._found: list[Tampered] = []
        #: Included units of the lines gone through, by meter and group: part's start and units.
        self._included: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def found(self, at: UsageAt) -> list[Tampered]:
        invoice = self._invoice
        lines = [line_of(row) for row in self._rows]
        stored = lines_hash(invoice.customer_id, invoice.period_start, lines=lines)
        self._compare(0, "number of lines", issued=invoice.lines, derived=len(lines))
        self._compare(0, "total", issued=invoice.total, derived=sum(line.amount for line in lines))
        self._compare(0, "hash of the lines", issued=invoice.lines_hash, derived=stored)
        for row, line in zip(self._rows, lines, strict=True):
            if line.key.kind == LineKind.CHARGE:
                self._charge(row.line, line, at=at)
            self._compare(
                row.line, "amount", issued=line.amount, derived=self._rounded(line, lines)
            )
        self._without_line(lines, at)
        return self._found

    def _charge(self, number: int, line: InvoiceLine, *, at: UsageAt) -> None:
        key = line.key
        name = (key.meter, group_key(key.group))
        spans = slice(self._borders.index(key.part_start), self._borders.index(key.part_end))
        meter = self._meters.get(key.meter)
        aggregation = Aggregation.SUM if meter is None else meter.aggregation
        quantity = combined(at.usage.get(name, [])[spans], aggregation) or 0
        evidence = sum(at.evidence.get(name, [])[spans], start=Evidence())
        self._compare(
            number, "quantity", issued=quantity_text(line.quantity), derived=quantity_text(quantity)
        )
        self._compare(number, "events", issued=line.evidence.events, derived=evidence.events)
        self._compare(
            number,
            "hash of identities",
            issued=line.evidence.identities_hash().hex(),
            derived=evidence.identities_hash().hex(),
        )
        stored = self._cards.get(line.card)
        if stored is None or not stored.is_sound:
            self._compare(
                number, "rate card", issued=line.card, derived="none that gives its number"
            )
            return
        before = self._included.setdefault((key.meter, key.group), [])
        first = key.part_start - stored.label.carries_s
        used = sum(units for start, units in before if first <= start < key.part_start)
        included, overage, exact = stored.card.figures(quantity, used)
        before.append((key.part_start, included))
        self._compare(
            number, "included", issued=quantity_text(line.included), derived=quantity_text(included)
        )
        self._compare(
            number, "overage", issued=quantity_text(line.overage), derived=quantity_text(overage)
        )
        self._compare(number, "exact", issued=charge_text(line.exact), derived=charge_text(exact))
        tiers = charge_text(sum(line.tiers.charge))
        self._compare(number, "sum of the tiers", issued=tiers, derived=charge_text(exact))

    def _rounded(self, line: InvoiceLine, lines: Sequence[InvoiceLine]) -> int:
        currency = Currency(self._invoice.currency, self._invoice.minor_digits)
        rounding = Rounding(self._invoice.rounding)
        charges = [each for each in lines if each.key.kind == LineKind.CHARGE]
        if line.key.kind != LineKind.TRUE_UP:
            return amount_of(rounded(line.exact, currency, rounding=rounding))
        commit = line.exact + sum(each.exact for each in charges)
        due = amount_of(rounded(commit, currency, rounding=rounding))
        return due - sum(each.amount for each in charges)

    def _without_line(self, lines: Sequence[InvoiceLine], at: UsageAt) -> None:
        covered: dict[tuple[str, object], list[tuple[int, int]]] = {}
        for line in lines:
            if not line.key.meter:
                continue
            name = (line.key.meter, group_key(line.key.group))
            covered.setdefault(name, []).append((line.key.part_start, line.key.part_end))
        for name, quantities in at.usage.items():
            left = [
                span
                for span in range(len(quantities))
                if at.evidence[name][span].is_rated
                and not any(
                    low <= self._borders[span] < high for low, high in covered.get(name, ())
                )
            ]
            meter = self._meters.get(name[0])
            aggregation = Aggregation.SUM if meter is None else meter.aggregation
            quantity = combined([quantities[span] for span in left], aggregation)
            if quantity:
                what = f"usage of {name[0]} without a line"
                self._compare(0, what, issued="0", derived=quantity_text(quantity))

    def _compare(self, line: int, what: str, *, issued: object, derived: object) -> None:
        if issued != derived:
            self._found.append(
                Tampered(
                    self._invoice.customer_id,
                    self._invoice.invoice_id,
                    line,
                    what,
                    str(issued),
                    str(derived),
                )
            )

"""A small billed month, written row by row: raw history, totals, rate cards, invoices.

Charges are worked out here from a price a unit and an allowance, in `Decimal`, by nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import blake2b
from typing import Any

from metering.settings import Settings
from sinks.clickhouse import INSERT_SETTINGS, connect_clickhouse

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)
CLOSED = datetime(2026, 7, 2, tzinfo=UTC)
CUT = 10_000
CENT = Decimal("0.01")
STREAM = "usage.events:AA"


@dataclass(frozen=True)
class Price:
    """So many units for nothing, then a price for each."""

    unit: Decimal
    allowance: Decimal = Decimal(0)

    def exact(self, quantity: Decimal) -> Decimal:
        return max(quantity - self.allowance, Decimal(0)) * self.unit

    def amount(self, quantity: Decimal) -> Decimal:
        return self.exact(quantity).quantize(CENT, ROUND_HALF_EVEN)


@dataclass
class World:
    """Rows to be. Versions of the plan `growth` are priced by `prices`, the same for all meters."""

    prices: dict[int, Price]
    currency: str = "USD"
    events: list[dict[str, Any]] = field(default_factory=list)
    totals: dict[tuple[str, str, datetime], Decimal] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    periods: dict[str, dict[str, Any]] = field(default_factory=dict)
    cards: set[tuple[int, str]] = field(default_factory=set)
    offset: int = 0
    #: By run, of each (stream, partition) the first offset that it did not look at.
    cuts: dict[str, dict[tuple[str, int], int]] = field(
        default_factory=lambda: {"close-1": {(STREAM, 0): CUT}}
    )
    #: Totals as they are, beside those that follow from events.
    more_totals: list[dict[str, Any]] = field(default_factory=list)

    def card(self, version: int, meter: str) -> int:
        self.cards.add((version, meter))
        return version * 1000 + sum(meter.encode())

    def event(
        self, customer: str, meter: str, quantity: str, *, late: bool = False, id_: str = "",
        who: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """One accepted event, below the cut or (late) beyond it.

        `who` is what is hashed, `c:` and the customer or `s:` and a subject of it.
        """
        self.offset += 1
        at = self.offset + (CUT if late else 0)
        id_ = id_ or f"e{at}"
        who = who or f"c:{customer}"
        identity = blake2b(f"{len(who)}:{who}{meter}:{id_}".encode(), digest_size=16).digest()
        row = {
            "customer_id": customer, "meter": meter, "identity": identity, "group": "{}",
            "id": id_, "subject": who.partition("s:")[2], "quantity": Decimal(quantity),
            "occurred_at": JUNE + timedelta(hours=at % 600), "dimensions": "{}",
            "source": "edge", "batch_id": "b1", "schema_version": "v3", "stream": STREAM,
            "partition": 0, "offset": at, "index": 0,
            "record_time": CLOSED + timedelta(days=1) if late else JUNE + timedelta(hours=at % 600),
            "late": late, "disregarded": False, "counted": True, "part_start": JUNE,
            "period_start": JUNE, "card": self.card(1, meter), "price_version": "1",
            "catalog": "c", "digest": int(Decimal(quantity) * 100) % 2**32,
        }  # fmt: skip
        self.events.append(row)
        key = (customer, meter, JUNE)
        self.totals[key] = self.totals.get(key, Decimal(0)) + Decimal(quantity)
        self.period(customer)
        return row

    def period(self, customer: str, **changes: Any) -> None:
        self.periods.setdefault(customer, {"base_fee": Decimal(0), "commit": Decimal(0)})
        self.periods[customer].update(changes)

    def line(
        self, customer: str, meter: str, quantity: str, *, amount: Decimal | None = None,
        kind: str = "charge",
    ) -> dict[str, Any]:  # fmt: skip
        """A line as a right close would write it, unless `amount` says otherwise."""
        price = self.prices[1]
        number = Decimal(quantity)
        row = {
            "customer_id": customer, "period_start": JUNE, "run_id": "close-1",
            "line": len(self.lines) + 1, "line_id": f"il-{customer}-{meter or kind}",
            "invoice_id": f"inv-{customer}", "kind": kind, "meter": meter, "group": "{}",
            "part_start": JUNE, "part_end": JULY, "quantity": number,
            "amount": price.amount(number) if amount is None else amount,
            "exact": price.exact(number), "currency": self.currency, "plan": "growth",
            "price_version": 1, "card": self.card(1, meter) if meter else 0,
        }  # fmt: skip
        self.lines.append(row)
        self.period(customer)
        return row

    def billed(self, customer: str, meter: str, quantity: str) -> dict[str, Any]:
        """An event and the line that bills it."""
        self.event(customer, meter, quantity)
        return self.line(customer, meter, quantity)

    def insert(self, settings: Settings) -> None:
        client = connect_clickhouse(settings)

        def put(table: str, rows: list[dict[str, Any]]) -> None:
            if rows:
                names = list(rows[0])
                client.insert(table, [[row[n] for n in names] for row in rows],
                              column_names=names, settings=INSERT_SETTINGS)  # fmt: skip

        put("usage_events", self.events)
        put(
            "usage_totals",
            [
                *(self.total(*key, quantity=each) for key, each in self.totals.items()),
                *self.more_totals,
            ],
        )
        put("rate_cards", [self._card(*each) for each in sorted(self.cards)])
        put("billing_periods", [
            {"customer_id": customer, "period_start": JUNE, "period_end": JULY,
             "subscription": "s", "plan": "growth", "price_version": 1, "currency": self.currency,
             "minor_digits": 2, "rounding": "half_even", "updated_at": JUNE, **values}
            for customer, values in self.periods.items()
        ])  # fmt: skip
        put("billing_runs", [
            {"run_id": run_id, "kind": "close", "period": "2026-06", "state": state,
             "catalog": "c", "cut_streams": [stream for stream, _ in cut],
             "cut_partitions": [number for _, number in cut], "cut_offsets": list(cut.values()),
             "complete_to": JULY, "customers": 1, "actor": "a", "reason": "",
             "recorded_at": CLOSED + timedelta(minutes=number, seconds=at)}
            for number, (run_id, cut) in enumerate(self.cuts.items())
            for at, state in enumerate(("started", "finished"))
        ] if self.lines else [])  # fmt: skip
        put("invoice_lines", self.lines)
        customers = sorted({line["customer_id"] for line in self.lines})
        put("invoices", [self._invoice(customer) for customer in customers])
        client.close()

    def _invoice(self, customer: str) -> dict[str, Any]:
        own = [line for line in self.lines if line["customer_id"] == customer]
        return {
            "customer_id": customer, "period_start": own[0]["period_start"], "period_end": JULY,
            "invoice_id": f"inv-{customer}", "run_id": own[0]["run_id"], "subscription": "s",
            "plan": "growth", "currency": self.currency, "minor_digits": 2,
            "rounding": "half_even", "total": sum(line["amount"] for line in own),
            "lines": len(own), "lines_hash": "", "calculation_version": 1, "catalog": "c",
            "issued_at": CLOSED,
        }  # fmt: skip

    def total(
        self, customer: str, meter: str, start: datetime, *, quantity: Decimal
    ) -> dict[str, Any]:  # fmt: skip
        """A row of the totals of one source partition."""
        return {
            "customer_id": customer, "meter": meter, "group": "{}", "window_start": start,
            "stream": STREAM, "partition": 0, "aggregation": "sum", "quantity": quantity,
            "card": self.card(1, meter), "period_start": start, "part_start": start, "events": 1,
            "first_occurred_at": JUNE, "last_occurred_at": JUNE, "last_identity": bytes(16),
            "absorbed_offset": 99_999,
        }  # fmt: skip

    def _card(self, version: int, meter: str) -> dict[str, Any]:
        price = self.prices[version]
        return {
            "card": self.card(version, meter), "plan": "growth", "price_version": version,
            "meter": meter, "group": "{}", "currency": self.currency, "carries_s": 0,
            "covered": price.allowance, "bucket_units": Decimal(0), "base_fee": Decimal(0),
            "minimum": Decimal(0), "cap": None, "at_zero": Decimal(0), "rows_above": [Decimal(0)],
            "rows_charge": [Decimal(0)], "rows_unit_price": [price.unit],
            "rows_package_units": [Decimal(0)], "rows_package_price": [Decimal(0)],
        }  # fmt: skip

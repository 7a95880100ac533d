"""What was posted, looked at once more: the same run derives the same, nothing is posted twice."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

from counting import plant, rows
from fraction_oracle import Key, expected_lines
from late_period import (
    CUSTOMERS,
    END,
    FIRST,
    LATE,
    PERIOD,
    PLANS,
    START,
    VERSIONS,
    Usage,
    of_customer,
    write_catalog,
)
from test_closed_and_corrected import corrected
from test_closing import FORCE, Deployed, answer, deployed, meterline

from billing.issued import issued_periods
from billing.late_differences import Due, LateDifferences
from billing.period_name import PeriodName
from rating_engine.price_book.load import load_price_book
from sinks.billing_runs import RunStore
from sinks.clickhouse import connect_clickhouse
from sinks.invoice_store import InvoiceStore

__all__ = ["deployed"]  # the fixture

NAME = PeriodName.read(PERIOD)
DEARER = {'"0.05"': '"0.06"'}


def test_who_goes_on_with_a_run_derives_what_it_posted(deployed: Deployed) -> None:
    deployed.ask("close", *FORCE)
    deployed.backfill(LATE, "late")
    run_id = deployed.ask("adjust")["run"]
    deployed.backfill({("a", "30"): LATE["a", "20"]}, "later")
    book = load_price_book(deployed.settings.catalog)
    client = connect_clickhouse(deployed.settings)
    try:
        state = RunStore(client).by_id([run_id])[run_id].state
        periods = issued_periods(client, NAME, book=book)
        late = LateDifferences(client, book, store=InvoiceStore(client))
        again = late.differences(periods, NAME, due=Due(state, run_id))
        posted = InvoiceStore(client).adjustment_lines(periods)
        key = [
            (each.customer_id, line.key.meter, line.key.part_start, line.amount, line.before.amount)
            for each in again
            for line in each.lines
        ]
        assert key == [
            (each.customer_id, each.meter, each.part_start, each.amount, each.amount_before)
            for each in posted
        ]
        assert len(key) > len(CUSTOMERS)
        # a run with an older cut takes nothing back of what a newer one posted
        closed = rows(deployed.settings, "SELECT run_id FROM billing_runs WHERE kind = 'close'")
        older = RunStore(client).by_id([closed[0][0]])[closed[0][0]].state
        assert late.differences(periods, NAME, due=Due(older, "another")) == []
    finally:
        client.close()


def test_a_rerating_names_events_and_cards_and_late_usage_goes_on_from_it(
    deployed: Deployed,
) -> None:
    deployed.ask("close", *FORCE)
    deployed.backfill(LATE, "late")
    ((old, new),) = DEARER.items()
    write_catalog(deployed.folder / "catalog", plans=PLANS.replace(old, new))
    loaded = meterline(
        deployed.settings, "catalog", "load", "--allow-edit", "--reason", "it was wrong"
    )
    assert loaded.returncode == 0, loaded.stderr
    corrected(deployed, "rerate", "--period", PERIOD)
    everything = {**FIRST, **LATE}
    assert deployed.billed() == {name: _dearer(everything, name) for name in CUSTOMERS}
    assert rows(deployed.settings, "SELECT DISTINCT kind FROM adjustments FINAL") == [("rerating",)]
    behind = rows(
        deployed.settings,
        "SELECT customer_id, id, effect FROM adjustment_events FINAL ORDER BY ALL",
    )
    assert behind == sorted((*key, "added") for key in LATE if key != ("idle", "21"))
    assert rows(
        deployed.settings,
        "SELECT count() FROM adjustment_lines FINAL WHERE kind = 'charge' AND quantity_after > 0 "
        "AND (events = 0 OR card NOT IN (SELECT card FROM rate_cards))",
    ) == [(0,)]
    assert deployed.ask("adjust")["adjustments"] == [], "late usage is in it"
    assert deployed.ask("invoices", "verify")["holds"]

    deployed.backfill({("c", "30"): LATE["b", "20"]}, "later")
    (posted,) = deployed.ask("adjust")["adjustments"]
    assert posted["customer_id"] == "c"
    everything["c", "30"] = LATE["b", "20"]
    assert deployed.billed()["c"] == _dearer(everything, "c")
    verified = deployed.ask("invoices", "verify")
    assert verified["holds"], verified["shown"]


def test_a_difference_that_is_posted_twice_is_named(deployed: Deployed) -> None:
    deployed.ask("close", *FORCE)
    deployed.backfill({("b", "20"): LATE["b", "20"]}, "late")
    deployed.ask("adjust")
    assert deployed.ask("invoices", "verify")["holds"]
    later = f"toDateTime64('{datetime.now(UTC):%Y-%m-%d %H:%M:%S}', 6, 'UTC') + 60"
    for table, more in (
        ("adjustment_lines", ""),
        ("adjustments", f", {later} AS issued_at"),
    ):
        plant(
            deployed.settings,
            f"INSERT INTO {table} SELECT * REPLACE ('zombie' AS run_id, 'adj_twice' AS "
            f"adjustment_id{more}) FROM {table} FINAL",
        )
    found = answer(deployed.settings, "invoices", "verify", "--period", PERIOD)
    assert not found["holds"]
    assert {each["what"].rpartition(" of ")[2] for each in found["shown"]} == {"adj_twice"}


def _dearer(usage: Usage, customer: str) -> dict[Key, int]:
    first, second = VERSIONS
    charge = first.charges["requests"]
    *tiers, (_, _, fee) = charge.tiers
    changed = charge._replace(tiers=(*tiers, (None, Fraction("0.06"), fee)))
    versions = (
        type(first)(first.since, first.base_fee, first.commit,
                    {**first.charges, "requests": changed}),
        second,
    )  # fmt: skip
    lines = expected_lines(versions, of_customer(usage, customer), start=START, end=END)
    return {key: cents for key, cents in lines.items() if cents}


def test_what_only_a_hash_sees_is_found(deployed: Deployed) -> None:
    """A moment that moved within its part, and a plan's name: no figure of the invoice differs."""
    deployed.ask("close", *FORCE)
    plant(
        deployed.settings,
        "INSERT INTO usage_events SELECT * REPLACE (occurred_at + INTERVAL 1 SECOND AS occurred_at,"
        " record_time - INTERVAL 1 SECOND AS record_time) FROM usage_events FINAL "
        "WHERE customer_id = 'b' AND id = '2'",
    )
    plant(
        deployed.settings,
        "INSERT INTO invoice_lines SELECT * REPLACE ('gold' AS plan) FROM invoice_lines FINAL "
        "WHERE customer_id = 'c' AND line = 1",
    )
    found = deployed.ask("invoices", "verify")
    assert [(each["customer_id"], each["what"]) for each in found["shown"]] == [
        ("b", "hash of identities"), ("c", "hash of the lines"),
    ]  # fmt: skip

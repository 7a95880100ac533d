"""Memory of one worker that holds a million (customer, meter) keys."""

from __future__ import annotations

from bench import Bench
from drain import add_figures, drain
from exactness import check_exact

from loadtest.figures import Section


def measure_keys(bench: Bench, section: Section) -> None:
    """Peak memory, and how many keys and ledger units there really were."""
    sizes = bench.sizes
    tuning = {
        "METERLINE_DEDUP_EVENTS_MAX": str(sizes.keys_events),
        "METERLINE_CATALOG": str(bench.unpriced_catalog()),
    }
    deployment = bench.deployment("keys", tuning)
    load = bench.fill(deployment, sizes.keys_events, sizes.keys_customers)
    section.commands.append(load.command)
    keys = {(key.customer_id, key.meter) for key in load.truth.totals}
    section.add("events", load.events, "events")
    section.add("active_keys", len(keys), "keys", "distinct (customer, meter) in the topic")
    add_figures(section, drain(bench, load, "keys"), load.events)
    section.add("ledger_units_max", deployment.settings.ledger_units_max, "units", "the setting")
    deployment.wait_quiet()
    check_exact(bench, deployment, load.truth, section)

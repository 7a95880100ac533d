"""The same load once more, with prices: every event and total is charged."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bench import Bench
from deployment import REPOSITORY
from drain import add_figures, drain
from exactness import check_charges, check_exact

from loadtest.figures import Section
from loadtest.prices import expected_charges, write_prices


class Priced(NamedTuple):
    """A catalog with prices, whose they are, and when one of them changes."""

    catalog: Path
    customers: list[str]
    changed_at: datetime


def priced_catalog(bench: Bench) -> Priced:
    """The repository's meters with three plans, one of which changes within the period."""
    catalog = bench.folder / "catalog"
    catalog.mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "catalog" / "meters.yaml", catalog)
    names = [f"cust-{index:06d}" for index in range(bench.sizes.customers)]
    changed_at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    write_prices(catalog, names, changed_at=changed_at)
    return Priced(catalog, names, changed_at)


def measure_rated(bench: Bench, section: Section) -> None:
    """Speed with rating on."""
    sizes = bench.sizes
    catalog, names, changed_at = priced_catalog(bench)
    tuning = {
        "METERLINE_DEDUP_EVENTS_MAX": str(sizes.events), "METERLINE_CATALOG": str(catalog),
    }  # fmt: skip
    load = bench.fill(bench.deployment("rated", tuning), sizes.events, sizes.customers)
    section.commands.append(load.command)
    section.add("events", load.events, "events")
    add_figures(section, drain(bench, load, "rated"), load.events)
    load.deployment.wait_quiet()
    expected = expected_charges(load.truth.totals, names, changed_at=changed_at)
    check_charges(load.deployment, expected, section)
    check_exact(bench, load.deployment, load.truth, section)

"""Loading a whole catalog folder: what is counted and what it costs, checked together."""

from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path

import orjson

from metering.catalog_alerts import read_budgets
from metering.catalog_load import read_catalog
from metering.errors import SettingsInvalid
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.canonical import content_hash
from rating_engine.price_book.read_plans import read_plans
from rating_engine.price_book.read_subscriptions import read_subscriptions
from rating_engine.price_book.subscription import NEVER_US, Subscriptions

_HASHED_ROWS = 10_000


def load_price_book(folder: Path) -> PriceBook:
    """Load `meters.yaml`, the files beside it, `plans.yaml` and `subscriptions.*`.

    A folder without plans is a book without prices. Called when a command or worker starts and
    when a changed catalog is picked up.
    Raises `SettingsInvalid` with all faults of all files, each as
    `file:line: field: expected ..., got ...`.
    """
    told: list[str] = []
    catalog = read_catalog(folder, told)
    read_budgets(folder, told)  # checked with the rest; alerts load them
    read = read_plans(folder / "plans.yaml", catalog.meters, told=told)
    subscriptions = read_subscriptions(folder, read, told=told)
    if told:
        raise SettingsInvalid(told)
    versions = sorted(
        (plan.key, version.version, version.content_hash)
        for plan in read.plans.values()
        for version in plan.versions
    )
    prices = orjson.dumps(versions).decode()
    return PriceBook(
        catalog,
        read.plans,
        subscriptions,
        content_hash(catalog.content_hash, prices, _subscriptions_hash(subscriptions)),
    )


def _subscriptions_hash(subscriptions: Subscriptions) -> str:
    """SHA-256 of all subscriptions in order of customer and time, whatever file they stood in."""
    digest = sha256()
    rows = _written(subscriptions)
    while chunk := list(islice(rows, _HASHED_ROWS)):
        digest.update(orjson.dumps(chunk)[1:-1] + b"\n")
    return digest.hexdigest()


def _written(subscriptions: Subscriptions) -> Iterator[list[object]]:
    for each in subscriptions:
        until = None if each.until_us == NEVER_US else each.until_us
        calendar = each.calendar
        yield [
            each.id, each.customer_id, each.plan, each.pinned, each.from_us, until,
            calendar.anchor_day, calendar.time_zone,
        ]  # fmt: skip

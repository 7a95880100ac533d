"""A catalog that is edited under a running worker: taken over between two events, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from harness import Deploy, Deployment
from own_events import counted, usage
from worker_process import WorkerProcess, wait_for

from rating_engine.price_book.load import load_price_book

_AHEAD = timedelta(seconds=10)
_PARTITIONS = 2
_QUANTITY = 10
_THIRD_VERSION = """\
  - version: 3
    effective_from: {moment}
    charges:
    - {{meter: api_requests, allowance: "3000", price: {{model: per_unit, unit_price: "0.0005"}}}}
    - {{meter: documents_processed, price: {{model: package, package_size: "10",
        package_price: "0.25"}}}}
"""
_PERIOD_CHARGES = (
    "SELECT toUnixTimestamp(part_start), plan, price_version, toString(included),"
    " toString(overage), toString(charge) FROM period_charges WHERE customer_id = %(customer)s"
    " ORDER BY part_start"
)


class Sent(NamedTuple):
    """One event that was sent: whose, and when it occurred."""

    customer: str
    at: datetime


def test_a_new_version_and_a_new_subscription_are_taken_over_between_two_events(
    deploy: Deploy,
) -> None:
    deployment = deploy(events=1, partitions=_PARTITIONS, own={"follows": "starter"})
    hashes = [_hash(deployment)]
    worker = deployment.start_worker()
    worker.wait_ready()

    with _sending(deployment) as sent:
        time.sleep(1)
        moment = (datetime.now(UTC) + _AHEAD).replace(microsecond=0)
        _add_version(deployment.catalog, moment)
        hashes.append(_wait_taken_over(deployment, worker))
        time.sleep(1)
        _subscribe(deployment.catalog, "newcomer", moment)
        hashes.append(_wait_taken_over(deployment, worker))
        assert datetime.now(UTC) < moment, "this machine is too slow for what the test is about"
        while datetime.now(UTC) < moment + timedelta(seconds=2):
            time.sleep(0.2)
    deployment.wait_drained()

    assert worker.metric("meterline_catalog_refused") == 0
    _assert_hashes(deployment, hashes, moment=moment)
    for customer in ("follows", "newcomer"):
        assert counted(deployment, customer) == sum(each.customer == customer for each in sent)
    deployment.assert_balanced()
    early, late = (_quantity(sent, "follows", moment, is_later=x) for x in (False, True))
    assert early > 0 < late
    free = min(early, Fraction(3000))
    more = min(late, 3000 - free)
    assert _charges(deployment, "follows") == {
        ("starter", 2): (free, early - free, (early - free) * Fraction("0.0008")),
        ("starter", 3): (more, late - more, (late - more) * Fraction("0.0005")),
    }
    late = _quantity(sent, "newcomer", moment, is_later=True)
    assert _charges(deployment, "newcomer") == {
        ("", 0): (Fraction(0), Fraction(0), Fraction(0)),
        ("enterprise", 1): (Fraction(0), late, late * Fraction("0.002")),
    }  # fmt: skip
    _assert_explained(deployment, "follows", "newcomer")


def test_what_cannot_be_taken_over_is_told_and_the_catalog_before_counts_on(
    deploy: Deploy,
) -> None:
    deployment = deploy(events=1, partitions=_PARTITIONS, own={"follows": "starter"})
    plans = deployment.catalog / "plans.yaml"
    sound = plans.read_text(encoding="utf-8")
    before = _hash(deployment)
    worker = deployment.start_worker()
    worker.wait_ready()
    edits = {
        "broken": "plans: [",
        "rewritten": sound.replace('unit_price: "0.001"', 'unit_price: "0.002"', 1),
        "gone": None,
    }

    for number, (name, text) in enumerate(edits.items(), 1):
        plans.unlink() if text is None else plans.write_text(text, encoding="utf-8")
        _wait_refused(worker, 1)
        deployment.send([(p, _event(f"{name}-{p}")) for p in range(_PARTITIONS)])
        deployment.wait_drained()
        assert counted(deployment, "follows") == number * _PARTITIONS
        plans.write_text(sound, encoding="utf-8")
        _wait_refused(worker, 0)

    assert "is in force from here on" not in worker.text
    assert deployment.query("SELECT DISTINCT catalog FROM usage_events") == [(before,)]
    assert deployment.query("SELECT DISTINCT catalog_hash FROM catalog_loads") == [(before,)]
    deployment.assert_verified()


def test_a_catalog_that_changes_while_clickhouse_is_away_is_taken_over_when_it_is_back(
    deploy: Deploy,
) -> None:
    deployment = deploy(events=1, partitions=_PARTITIONS, own={"follows": "starter"})
    worker = deployment.start_worker()
    worker.wait_ready()
    clickhouse = deployment.stack.service("clickhouse")

    clickhouse.kill()
    _add_version(deployment.catalog, datetime(2090, 1, 1, tzinfo=UTC))
    worker.wait_says("the changed catalog waits")
    assert worker.metric("meterline_catalog_refused") == 0
    clickhouse.start()
    after = _wait_taken_over(deployment, worker)

    deployment.send([(p, _event(f"after-{p}")) for p in range(_PARTITIONS)])
    deployment.wait_drained()
    assert deployment.query("SELECT DISTINCT catalog FROM usage_events") == [(after,)]
    deployment.assert_verified()


def _event(event_id: str, customer: str = "follows", at: datetime | None = None) -> bytes:
    return usage(event_id, customer, quantity=str(_QUANTITY), at=at, region="eu")


@contextmanager
def _sending(deployment: Deployment) -> Iterator[list[Sent]]:
    """Events that occur as they are sent, beside what is done in the context; all arrive."""
    sent: list[Sent] = []
    done = threading.Event()

    def send() -> None:
        while not done.wait(0.01):
            partition = len(sent) % _PARTITIONS
            customer = ("follows", "newcomer")[partition]
            at = datetime.now(UTC)
            deployment.send([(partition, _event(f"e{len(sent)}", customer, at))])
            sent.append(Sent(customer, at))

    thread = threading.Thread(target=send, name="sending")
    thread.start()
    try:
        yield sent
    finally:
        done.set()
        thread.join()


def _add_version(catalog: Path, moment: datetime) -> None:
    """A third version of the first plan, from `moment` on."""
    path = catalog / "plans.yaml"
    text = path.read_text(encoding="utf-8")
    version = _THIRD_VERSION.format(moment=f"{moment:%Y-%m-%dT%H:%M:%SZ}")
    path.write_text(text.replace("- key: business", f"{version}- key: business"), encoding="utf-8")


def _subscribe(catalog: Path, customer: str, moment: datetime) -> None:
    with (catalog / "subscriptions.csv").open("a", encoding="utf-8") as file:
        file.write(f"sub-new,{customer},enterprise,{moment:%Y-%m-%dT%H:%M:%SZ}\n")


def _hash(deployment: Deployment) -> str:
    return load_price_book(deployment.catalog).content_hash


def _wait_taken_over(deployment: Deployment, worker: WorkerProcess) -> str:
    """Wait until what the folder holds is in force; its hash."""
    found = _hash(deployment)
    worker.wait_says(f"catalog {found[:12]} is in force from here on")
    return found


def _wait_refused(worker: WorkerProcess, wanted: int) -> None:
    wait_for(
        f"meterline_catalog_refused to be {wanted}",
        lambda: worker.metric("meterline_catalog_refused") == wanted,
    )


def _assert_hashes(deployment: Deployment, hashes: list[str], *, moment: datetime) -> None:
    """Each one up to some offset of each partition, the next one from there on."""
    rows = deployment.query(
        "SELECT catalog, partition, min(offset), max(offset), max(occurred_at) < %(moment)s"
        " FROM usage_events FINAL GROUP BY catalog, partition",
        moment=moment,
    )
    found = {(name, partition): tuple(rest) for name, partition, *rest in rows}
    assert set(found) == {(name, p) for name in hashes for p in range(_PARTITIONS)}
    for partition in range(_PARTITIONS):
        for before, after in pairwise(hashes):
            _, last, is_before = found[before, partition]
            assert is_before
            assert found[after, partition][0] == last + 1
    loads = deployment.query("SELECT catalog_hash FROM catalog_loads ORDER BY loaded_at")
    assert loads == [(name,) for name in hashes]


def _quantity(sent: list[Sent], customer: str, moment: datetime, *, is_later: bool) -> Fraction:
    some = [e for e in sent if e.customer == customer and (e.at >= moment) is is_later]
    return Fraction(_QUANTITY * len(some))


def _charges(
    deployment: Deployment, customer: str
) -> dict[tuple[str, int], tuple[Fraction, Fraction, Fraction]]:
    """Included, overage and charge by plan and version."""
    rows = deployment.query(_PERIOD_CHARGES, customer=customer)
    return {
        (str(plan), int(version)): (Fraction(included), Fraction(overage), Fraction(charge))
        for _, plan, version, included, overage, charge in rows
    }


def _assert_explained(deployment: Deployment, *customers: str) -> None:
    """Raw history, live totals and the charges stored with the events say the same."""
    for customer in customers:
        code, found = deployment.ask(
            "explain", "--customer", customer, "--meter", "api_requests",
            "--period", f"{datetime.now(UTC):%Y-%m}",
        )  # fmt: skip
        checks = [check for charge in found["charges"] for check in charge["checks"]]
        assert checks, found
        assert (code, [check for check in checks if not check["agrees"]]) == (0, [])

"""What every command about corrections needs: who acts, the desk, the price book, the audit log."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client

from billing.corrections.desk import Desk
from billing.corrections.estimate import Estimate, Estimator
from billing.corrections.policy import ApprovalPolicy
from cli.context import acting, settings_with
from metering.audit_chain import canonical_json
from metering.correction import Correction, CorrectionKind, CorrectionState, ReasonCode
from metering.settings import Settings
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.load import load_price_book
from sinks.audit import AuditLog
from sinks.clickhouse import connect_clickhouse
from sinks.corrections import CorrectionStore

_ANSWER_S = 3600
now = partial(datetime.now, UTC)


@dataclass(frozen=True, slots=True)
class Corrections:
    """Everything at hand; `book` is the catalog in force."""

    settings: Settings
    client: Client
    book: PriceBook
    audit: AuditLog
    store: CorrectionStore
    desk: Desk
    estimator: Estimator


@contextmanager
def corrections(catalog: Path | None = None) -> Iterator[Corrections]:
    """Connects, and lets go afterwards. Raises `SettingsInvalid`, `DependencyDown`."""
    settings = settings_with(catalog)
    policy = ApprovalPolicy.read(settings.approval_threshold)
    book = load_price_book(settings.catalog)
    client = connect_clickhouse(settings, answer_s=_ANSWER_S)
    audit = AuditLog(client, settings, now=now)
    store = CorrectionStore(client)
    try:
        yield Corrections(
            settings, client, book, audit, store, Desk(audit, store, policy=policy),
            Estimator(client, book),
        )  # fmt: skip
    finally:
        audit.close()
        client.close()


class Request(NamedTuple):
    """What somebody asks to be put right, before it is a correction; fields as those of one."""

    kind: CorrectionKind
    customer_id: str
    period: str
    period_start: int
    object: str
    payload: Mapping[str, Any] = {}
    reason: ReasonCode = ReasonCode.OTHER
    note: str = ""
    actor: str = ""
    correction_id: str = ""


def new_id() -> str:
    """An id for a correction."""
    return f"c-{uuid.uuid4().hex[:12]}"


def drafted(at: Corrections, request: Request, *, estimate: Estimate) -> Correction:
    """The draft that a request becomes."""
    actor = acting(at.settings, request.actor)
    return Correction(
        correction_id=request.correction_id or new_id(),
        step=1,
        state=CorrectionState.DRAFT,
        kind=request.kind,
        customer_id=request.customer_id,
        period=request.period,
        period_start=request.period_start,
        object=request.object,
        payload=canonical_json({**request.payload, "catalog": at.book.content_hash}),
        author=actor,
        actor=actor,
        reason_code=request.reason,
        note=request.note,
        exposure=estimate.exposure,
        currency=estimate.currency,
        calculation_version=1,
    )

"""`meterline correct rerate`, `hold`, `release` and `credit`: whole billing periods, and money."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from billing.corrections.estimate import NOTHING, credited
from billing.corrections.open_period import OpenPeriods
from billing.corrections.policy import NotAllowed
from billing.period_name import PeriodName
from cli.billing_options import (
    ActorOption,
    CustomersOption,
    DryRunOption,
    NoteOption,
    PeriodOfOption,
    PeriodOption,
    ReasonOption,
)
from cli.context import CatalogOption, JsonOption
from cli.correct_desk import (
    Corrections,
    Request,
    corrections,
)
from cli.correct_draft import draft_or_show
from metering.correction import CorrectionKind


def rerate_command(
    *,
    period: PeriodOption,
    customer: CustomersOption = None,
    reason: ReasonOption,
    note: NoteOption = "",
    actor: ActorOption = "",
    dry_run: DryRunOption = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draft that a billing period is rated again under the price book of now.

    For prices that were edited, and subscriptions that were added, ended or changed for a time that
    was rated already. Shows the difference: for open periods of what usage is charged, for invoiced
    ones of the whole bill less all that was billed so far.

    Exit codes: 0 drafted (or shown); 2 an unknown customer, a period that is none, or more than one
    currency; 75 ClickHouse does not answer.

    Example: meterline correct rerate --period 2026-06 --customer org_123 --reason
    subscription_change --dry-run
    """
    name = PeriodName.read(period)
    with corrections(catalog) as at:
        asked = sorted(set(customer or []))
        estimate = at.estimator.rerate(asked or at.estimator.customers(name), name, without_run="")
        one = asked[0] if len(asked) == 1 else ""
        request = Request(
            kind=CorrectionKind.RERATE, customer_id=one, period=name.text,
            period_start=at.estimator.rerated.period(one, name).start if one else 0,
            object=f"{name.text} of {', '.join(asked) if asked else 'everybody'}"[:200],
            payload={"customers": asked}, reason=reason, note=note, actor=actor,
        )  # fmt: skip
        draft_or_show(at, request, estimate=estimate, dry_run=dry_run, as_json=as_json)


def hold_command(
    *,
    customer: PeriodOfOption,
    period: PeriodOption,
    reason: ReasonOption,
    note: NoteOption = "",
    actor: ActorOption = "",
    dry_run: DryRunOption = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draft that a customer's billing period is not invoiced until it is released.

    Exit codes: 0 drafted (or shown); 2 a period that is none, or held already; 75 a server does not
    answer.

    Example: meterline correct hold --customer org_123 --period 2026-06 --reason dispute
    """
    with corrections(catalog) as at:
        request = _about(at, CorrectionKind.HOLD, customer=customer, period=period)._replace(
            reason=reason, note=note, actor=actor
        )
        _require_held(at, request, held=False)
        draft_or_show(at, request, estimate=NOTHING, dry_run=dry_run, as_json=as_json)


def release_command(
    *,
    customer: PeriodOfOption,
    period: PeriodOption,
    reason: ReasonOption,
    note: NoteOption = "",
    actor: ActorOption = "",
    dry_run: DryRunOption = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draft that a billing period that is held is invoiced again.

    Exit codes: 0 drafted (or shown); 2 a period that is none, or not held; 75 a server does not
    answer.

    Example: meterline correct release --customer org_123 --period 2026-06 --reason dispute
    """
    with corrections(catalog) as at:
        request = _about(at, CorrectionKind.RELEASE, customer=customer, period=period)._replace(
            reason=reason, note=note, actor=actor
        )
        _require_held(at, request, held=True)
        draft_or_show(at, request, estimate=NOTHING, dry_run=dry_run, as_json=as_json)


def credit_command(
    *,
    customer: PeriodOfOption,
    amount: Annotated[
        str, typer.Option("--amount", help="Signed: -12.50 gives back, 12.50 charges.")
    ],
    currency: Annotated[str, typer.Option("--currency", help="ISO 4217, as USD.")],
    period: Annotated[
        str, typer.Option("--period", help="What it is for, as 2026-06; the current one without.")
    ] = "",
    reason: ReasonOption,
    note: NoteOption = "",
    actor: ActorOption = "",
    dry_run: DryRunOption = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draft a signed amount in the customer's open billing period.

    Exit codes: 0 drafted (or shown); 2 an amount or a currency that is none, or another currency
    than the customer is charged in; 75 a server does not answer.

    Example: meterline correct credit --customer org_123 --amount=-25.00 --currency USD --reason
    goodwill
    """
    estimate = credited(amount, currency)
    with corrections(catalog) as at:
        text = period or f"{datetime.now(UTC):%Y-%m-%d}"
        request = _about(at, CorrectionKind.CREDIT, customer=customer, period=text)._replace(
            payload={"amount": amount, "currency": currency}, reason=reason, note=note, actor=actor
        )
        opened = OpenPeriods(at.estimator.billed, at.book)
        asked = at.estimator.what_if.period(customer, PeriodName.read(text))
        posted_to = opened.at_or_after(customer, asked)
        opened.require_currency(customer, posted_to, code=currency)
        draft_or_show(at, request, estimate=estimate, dry_run=dry_run, as_json=as_json)


def _about(at: Corrections, kind: CorrectionKind, *, customer: str, period: str) -> Request:
    name = PeriodName.read(period)
    if not customer or customer not in at.book.subscriptions:
        msg = f"--customer: expected one with a subscription, got {customer!r}"
        raise NotAllowed(msg)
    found = at.estimator.what_if.period(customer, name)
    return Request(kind, customer, name.text, found.start, f"{name.text} of {customer}")


def _require_held(at: Corrections, request: Request, *, held: bool) -> None:
    if at.store.is_held(request.customer_id, request.period_start) != held:
        expected = "one that is held" if held else "one that is not held"
        msg = f"--period: expected {expected}, got {request.period} of {request.customer_id}"
        raise NotAllowed(msg)

"""`meterline correct retract` and `replace`: events that do not count any more."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any

import orjson
import typer

from billing.corrections.policy import NotAllowed
from billing.corrections.targets import Target, Targets, require_retractable
from cli.billing_options import (
    ActorOption,
    DryRunOption,
    EventCustomerOption,
    EventIdOption,
    EventMeterOption,
    EventOption,
    NoteOption,
    ReasonOption,
)
from cli.context import CatalogOption, JsonOption
from cli.correct_desk import (
    Corrections,
    Request,
    corrections,
    new_id,
    now,
)
from cli.correct_draft import draft_or_show
from cli.places import coordinate
from metering.batch import RawBatch, Source
from metering.correction import CorrectionKind
from metering.decode import Decoder
from metering.dimensions import TEXT_MAX
from metering.quantity import written
from metering.rfc3339 import written as moment_text


def retract_command(
    *,
    event: EventOption = None,
    customer: EventCustomerOption = "",
    meter: EventMeterOption = "",
    event_id: EventIdOption = None,
    reason: ReasonOption,
    note: NoteOption = "",
    actor: ActorOption = "",
    dry_run: DryRunOption = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draft that events do not count any more, and show the difference in money.

    By place, or by customer, meter and id; all of one customer. Raw history keeps them.

    Exit codes: 0 drafted (or shown); 2 there is no such event, or it does not count; 75 a server
    does not answer.

    Example: meterline correct retract --customer org_123 --meter api_requests --id job-7 --reason
    duplicate_usage --dry-run
    """
    with corrections(catalog) as at:
        found = _found(at, event or [], customer=customer, meter=meter, ids=event_id or [])
        request = Request(
            kind=CorrectionKind.RETRACT, customer_id=found[0].customer_id,
            period=_period(at, found), period_start=0, object=_object(found),
            payload={"events": [each.document() for each in found]},
            reason=reason, note=note, actor=actor,
        )  # fmt: skip
        estimate = at.estimator.events(found)
        draft_or_show(at, request, estimate=estimate, dry_run=dry_run, as_json=as_json)


def replace_command(
    *,
    event: EventOption = None,
    customer: EventCustomerOption = "",
    meter: EventMeterOption = "",
    event_id: EventIdOption = None,
    quantity: Annotated[
        str | None, typer.Option("--quantity", help="What it should have been; else as it was.")
    ] = None,
    occurred_at: Annotated[
        str | None, typer.Option("--occurred-at", help="RFC 3339; else as it was.")
    ] = None,
    dimension: Annotated[
        list[str] | None,
        typer.Option("--dimension", help="NAME=VALUE, or NAME= to leave it out; repeatable."),
    ] = None,
    reason: ReasonOption,
    note: NoteOption = "",
    actor: ActorOption = "",
    dry_run: DryRunOption = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draft that an event counts with other content, and show the difference in money.

    The old one is retracted, and one with an id made from its id is sent to the events topic, which
    counts it as any other. For another customer or meter: retract it, and send a new one.

    Exit codes: 0 drafted (or shown); 2 there is no such event, or the new one would be rejected; 75
    a server does not answer.

    Example: meterline correct replace --event usage.events:dGhpc2/3/120400/0 --quantity 12.5
    --reason wrong_quantity
    """
    with corrections(catalog) as at:
        found = _found(at, event or [], customer=customer, meter=meter, ids=event_id or [])
        if len(found) != 1:
            msg = f"expected one event to replace, got {len(found)}"
            raise NotAllowed(msg)
        correction_id = new_id()
        new = _replacement(
            found[0], correction_id, quantity=quantity, occurred_at=occurred_at,
            dimensions=_dimensions(found[0], dimension or []),
        )  # fmt: skip
        _require_accepted(at, new)
        request = Request(
            kind=CorrectionKind.REPLACE, customer_id=found[0].customer_id,
            period=_period(at, found), period_start=0, object=_object(found),
            payload={"events": [each.document() for each in found], "event": new},
            reason=reason, note=note, actor=actor, correction_id=correction_id,
        )  # fmt: skip
        estimate = at.estimator.events(found, new)
        draft_or_show(at, request, estimate=estimate, dry_run=dry_run, as_json=as_json)


def replacement_id(event_id: str, correction_id: str) -> str:
    """The id of the event that takes the place of one: the same whenever it is asked.

    An id that would be too long is its hash; characters that no id may hold are left out.
    """
    kept = "".join(each for each in event_id if each >= " ")
    if len(kept) + len(correction_id) + 1 > TEXT_MAX:
        kept = sha256(event_id.encode()).hexdigest()
    return f"{kept}~{correction_id}"


def _found(
    at: Corrections, places: Sequence[str], *, customer: str, meter: str, ids: Sequence[str]
) -> list[Target]:
    targets = Targets(at.client)
    if bool(places) == bool(ids) or bool(ids) != bool(customer and meter):
        msg = "expected --event, or --customer, --meter and --id"
        raise NotAllowed(msg)
    if places:
        found = targets.at([coordinate(each) for each in places])
    else:
        found = targets.of(customer, meter, ids=ids)
    require_retractable(found)
    return found


def _object(found: Sequence[Target]) -> str:
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{found[0].place}{more}"


def _period(at: Corrections, found: Sequence[Target]) -> str:
    names = {at.estimator.what_if.period_name(each.customer_id, each.at_us).text for each in found}
    return ", ".join(sorted(names))


def _dimensions(old: Target, changes: Sequence[str]) -> dict[str, str]:
    dimensions: dict[str, str] = orjson.loads(old.dimensions or "{}")
    for each in changes:
        name, mark, value = each.partition("=")
        if not mark or not name:
            msg = f"--dimension: expected NAME=VALUE, got {each!r}"
            raise NotAllowed(msg)
        if value:
            dimensions[name] = value
        else:
            dimensions.pop(name, None)
    return dimensions


def _replacement(
    old: Target, correction_id: str, *, quantity: str | None, occurred_at: str | None,
    dimensions: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    return {
        "id": replacement_id(old.id, correction_id),
        "customer_id": old.customer_id,
        "meter": old.meter,
        "quantity": written(old.quantity) if quantity is None else quantity,
        "occurred_at": moment_text(old.at_us) if occurred_at is None else occurred_at,
        "dimensions": dict(dimensions),
        "source": "correction",
        "batch_id": correction_id,
    }


def _require_accepted(at: Corrections, event: Mapping[str, Any]) -> None:
    """Raise `NotAllowed` where the stream would reject the event, or suppress it."""
    now_ms = int(now().timestamp()) * 1000
    raw = RawBatch(Source("correction", 0, 0), [0], [now_ms], [orjson.dumps(event)], 0, 1)
    batch = Decoder(at.book.catalog, at.settings).decode(raw)
    if batch.rejections:
        found = batch.rejections[0]
        msg = f"the new event would be rejected: {found.code}: {found.sentence}"
        raise NotAllowed(msg)
    if not len(batch):
        msg = "the new event would be suppressed: see the catalog's suppressions"
        raise NotAllowed(msg)

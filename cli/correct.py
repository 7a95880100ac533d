"""`meterline correct`: corrections from draft to applied, or rejected."""

from typing import Annotated

import typer

from cli.billing_options import ActorOption, CorrectionArgument, NoteOption
from cli.context import CatalogOption, JsonOption, acting, console
from cli.correct_apply import Applying
from cli.correct_desk import corrections
from cli.correct_events import replace_command, retract_command
from cli.correct_money import credit_command, hold_command, release_command, rerate_command
from cli.correct_output import (
    correction_document,
    estimate_document,
    print_correction,
    print_estimate,
    print_json,
    print_list,
    print_steps,
)
from metering.correction import Correction, CorrectionKind, CorrectionState

app = typer.Typer(
    help="What is wrong put right: by records that are added, with who, why and approval.",
    no_args_is_help=True,
)

app.command("retract")(retract_command)
app.command("replace")(replace_command)
app.command("rerate")(rerate_command)
app.command("hold")(hold_command)
app.command("release")(release_command)
app.command("credit")(credit_command)


@app.command("list")
def list_command(
    *,
    state: Annotated[
        CorrectionState | None, typer.Option("--state", help="Only those that are.")
    ] = None,
    kind: Annotated[CorrectionKind | None, typer.Option("--kind", help="Only these.")] = None,
    customer: Annotated[str, typer.Option("--customer", help="Only of this one.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List corrections as they stand, those that changed last first.

    Exit codes: 0 listed; 75 a server does not answer.

    Example: meterline correct list --state pending_approval
    """
    with corrections() as at:
        at.audit.settle()
        at.store.settle(at.audit)
        found = list(at.store.listed(state=state, kind=kind, customer_id=customer, limit=limit))
    if as_json:
        print_json([each._asdict() for each in found])
    else:
        print_list(found)


@app.command("show")
def show_command(
    correction: CorrectionArgument, *, catalog: CatalogOption = None, as_json: JsonOption = False
) -> None:
    """Show a correction: its steps, and the money that it moves by what is known now.

    Exit codes: 0 shown; 2 there is none with that id; 75 a server does not answer.

    Example: meterline correct show c-2f1a09b3c4d5
    """
    with corrections(catalog) as at:
        found = at.desk.find(correction)
        is_open = found.state not in (CorrectionState.APPLIED, CorrectionState.REJECTED)
        estimate = Applying(at).estimate(found) if is_open else None
        steps = list(at.audit.rows("object = %(id)s", id=correction))
        if as_json:
            print_json({
                "correction": correction_document(found),
                "now": None if estimate is None else estimate_document(estimate, at.desk.policy),
                "steps": [{"seq": row.seq, **row.entry._asdict()} for row in steps],
            })  # fmt: skip
            return
        print_correction(found)
        print_steps(steps)
        if estimate is not None:
            print_estimate(estimate, at.desk.policy)


@app.command("submit")
def submit_command(
    correction: CorrectionArgument,
    *,
    note: NoteOption = "",
    actor: ActorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Ask for the approval of another person.

    Exit codes: 0 submitted; 2 it is no draft; 75 a server does not answer.

    Example: meterline correct submit c-2f1a09b3c4d5
    """
    with corrections() as at:
        found = at.desk.submit(correction, actor=acting(at.settings, actor), note=note)
    _told(found, as_json=as_json)


@app.command("approve")
def approve_command(
    correction: CorrectionArgument,
    *,
    note: NoteOption = "",
    actor: ActorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Agree to a correction that somebody else asked for.

    Exit codes: 0 approved; 2 it is not submitted, or one's own; 75 a server does not answer.

    Example: meterline correct approve c-2f1a09b3c4d5 --note "checked with the customer"
    """
    with corrections() as at:
        found = at.desk.approve(correction, actor=acting(at.settings, actor), note=note)
    _told(found, as_json=as_json)


@app.command("reject")
def reject_command(
    correction: CorrectionArgument,
    *,
    note: NoteOption = "",
    actor: ActorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Decide that a correction is not applied; also one's own.

    Exit codes: 0 rejected; 2 it is applied, or begun; 75 a server does not answer.

    Example: meterline correct reject c-2f1a09b3c4d5 --note "the customer was right"
    """
    with corrections() as at:
        found = at.desk.reject(correction, actor=acting(at.settings, actor), note=note)
    _told(found, as_json=as_json)


@app.command("apply")
def apply_command(
    correction: CorrectionArgument,
    *,
    actor: ActorOption = "",
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Apply a correction that is approved, or a draft of one's own below the threshold.

    Safe to repeat, and to be killed: what was begun is completed.

    Exit codes: 0 applied; 2 it needs approval, is rejected, or moves more than was approved; 75 a
    server does not answer.

    Example: meterline correct apply c-2f1a09b3c4d5
    """
    with corrections(catalog) as at:
        found = Applying(at).apply(correction, actor=acting(at.settings, actor))
    _told(found, as_json=as_json)


def _told(found: Correction, *, as_json: bool) -> None:
    if as_json:
        print_json(correction_document(found))
        return
    print_correction(found)
    if found.state is CorrectionState.APPLIED and found.kind is CorrectionKind.REPLACE:
        console.print("the new event is on the events topic; workers count it as any other")

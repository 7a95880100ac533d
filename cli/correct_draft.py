"""A correction is shown before it is drafted, and drafted only unless it is a dry run."""

from billing.corrections.estimate import Estimate
from cli.context import console
from cli.correct_desk import Corrections, Request, drafted
from cli.correct_output import (
    correction_document,
    estimate_document,
    print_correction,
    print_estimate,
    print_json,
)


def draft_or_show(
    at: Corrections, request: Request, *, estimate: Estimate, dry_run: bool, as_json: bool
) -> None:
    """Print the money that moves; then, unless it is a dry run, draft it and say what is next."""
    policy = at.desk.policy
    if not as_json:
        print_estimate(estimate, policy)
    found = None if dry_run else at.desk.draft(drafted(at, request, estimate=estimate))
    if as_json:
        print_json({
            "dry_run": dry_run,
            "correction": None if found is None else correction_document(found),
            **estimate_document(estimate, policy),
        })  # fmt: skip
    elif found is None:
        console.print("dry run: nothing was written")
    else:
        print_correction(found)
        needs = policy.needs_approval(estimate.exposure, estimate.currency)
        step = "submit" if needs else "apply"
        console.print(f"next: meterline correct {step} {found.correction_id}", markup=False)

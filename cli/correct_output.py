"""Corrections and their differences in money, as tables for people and documents for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson
from rich.markup import escape
from rich.table import Table

from billing.corrections.estimate import Estimate
from billing.corrections.policy import ApprovalPolicy
from billing.rerate import Difference
from cli.context import console
from metering.audit_chain import AuditRow
from metering.correction import Correction
from metering.rfc3339 import written
from sinks.corrections import ListedCorrection


def estimate_document(found: Estimate, policy: ApprovalPolicy) -> dict[str, Any]:
    """The money that moves; amounts are text."""
    return {
        "exposure": str(found.exposure),
        "currency": found.currency,
        "needs_approval": policy.needs_approval(found.exposure, found.currency),
        "issued": [{"customer_id": who, "period_start": start} for who, start in found.issued],
        "lines": [_line(each) for each in found.differences],
    }


def correction_document(found: Correction) -> dict[str, Any]:
    """A correction at its step."""
    return {**asdict(found), "exposure": str(found.exposure), "payload": found.content}


def print_json(document: object) -> None:
    """One document on stdout."""
    console.print_json(orjson.dumps(document).decode())


def print_estimate(found: Estimate, policy: ApprovalPolicy) -> None:
    """The money that moves, and who has to agree."""
    if found.differences:
        table = Table("customer", "for", "group", "currency", box=None, pad_edge=False)
        for name in ("old", "new", "difference"):
            table.add_column(name, justify="right", no_wrap=True)
        for each in found.differences:
            line = _line(each)
            group = ", ".join(f"{name}={value}" for name, value in each.group)
            table.add_row(
                escape(each.customer_id), escape(each.meter or str(each.kind)), escape(group),
                each.old.currency.code, line["old"], line["new"], line["difference"],
            )  # fmt: skip
        console.print(table)
    moved = f"{found.exposure} {found.currency}".strip()
    console.print(f"money that moves: {moved}", markup=False)
    if found.issued:
        console.print(
            f"{len(found.issued)} of the billing periods are invoiced already: an adjustment posts "
            "the difference to the open one"
        )
    if policy.needs_approval(found.exposure, found.currency):
        limit = policy.threshold(found.currency)
        console.print(f"more than {limit} {found.currency}: another person has to approve it")


def print_correction(found: Correction) -> None:
    """One line."""
    moved = f", {found.exposure} {found.currency}" if found.currency else ""
    console.print(
        f"{found.correction_id}: {found.kind} of {found.object} is {found.state}{moved}",
        markup=False,
    )


def print_list(found: Sequence[ListedCorrection]) -> None:
    """One row each."""
    table = Table(
        "correction", "state", "kind", "customer", "object", "reason", "author", "exposure",
        "changed",
    )  # fmt: skip
    for each in found:
        table.add_row(
            *(
                escape(text)
                for text in (
                    each.correction_id, each.state, each.kind, each.customer_id, each.object,
                    each.reason_code, each.author, f"{each.exposure} {each.currency}".strip(),
                    written(each.changed_us),
                )
            )
        )  # fmt: skip
    console.print(table if found else "no corrections")


def print_steps(rows: Sequence[AuditRow]) -> None:
    """The steps of a correction as the audit log has them."""
    table = Table("seq", "when", "who", "did", "reason", "note")
    for row in rows:
        entry = row.entry
        texts = (entry.actor, entry.action, entry.reason_code, entry.note)
        table.add_row(str(row.seq), written(row.recorded_us), *map(escape, texts))
    console.print(table)


def _line(each: Difference) -> dict[str, Any]:
    return {
        "customer_id": each.customer_id,
        "kind": str(each.kind),
        "meter": each.meter or None,
        "group": dict(each.group),
        "currency": each.old.currency.code,
        "old": str(each.old),
        "new": str(each.new),
        "difference": str(each.change),
    }

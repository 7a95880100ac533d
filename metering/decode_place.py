"""Valid events against what the catalog knows: dropped, unbound, or whose they are."""

from dataclasses import dataclass
from typing import cast

from metering.catalog import Catalog
from metering.decode_columns import Columns


@dataclass(slots=True)
class Places:
    """Outcome for each row of the columns: exactly one of three.

    `customers` has the customer of every row, "" where the row is in `suppressed` (row -> name of
    the rule) or in `unbound`.
    """

    customers: list[str]
    suppressed: dict[int, str]
    unbound: list[int]


def place(columns: Columns, catalog: Catalog) -> Places:
    """Resolve subjects at the time of each event, and apply the suppression rules.

    Rules come first: an operator may drop subjects that nobody bound.
    """
    customers = cast("list[str]", columns.customer_id)
    if None in customers:
        customers = [
            customer or catalog.resolve_subject(subject or "", occurred_us) or ""
            for customer, subject, occurred_us in zip(
                columns.customer_id, columns.subject, columns.occurred_us.tolist(), strict=True
            )
        ]
    suppressed = _suppressed(columns, customers, catalog=catalog)
    unbound = []
    if "" in customers:
        unbound = [
            row for row, customer in enumerate(customers) if not customer and row not in suppressed
        ]
    return Places(customers, suppressed, unbound)


def _suppressed(columns: Columns, customers: list[str], *, catalog: Catalog) -> dict[int, str]:
    """Row -> name of the rule; asks once per distinct combination of what rules look at."""
    if not catalog.rules:
        return {}
    used = catalog.fields_of_rules
    blank = [""] * len(customers)
    subjects = blank
    if "subject" in used and any(columns.subject):
        subjects = [subject or "" for subject in columns.subject]
    keys = (
        subjects,
        customers if "customer_id" in used else blank,
        columns.meter if "meter" in used else blank,
        columns.source_texts.to_pylist() if "source" in used else blank,
    )
    distinct = set(zip(*keys, strict=True))
    names = {key: name for key in distinct if (name := catalog.suppression(*key)) is not None}
    if not names:
        return {}
    every = enumerate(zip(*keys, strict=True))
    return {row: names[key] for row, key in every if key in names}

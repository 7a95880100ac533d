"""Valid events against what the catalog knows: dropped, unbound, or whose they are."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from metering.catalog import Catalog
from metering.decode_columns import Columns


@dataclass(slots=True)
class Places:
    """Outcome for each row of the columns: exactly one of three.

    `customers` has the customer of every row, "" where the row is in `suppressed` (row -> name of
    the rule) or in `unbound`.
    """

    customers: pa.StringArray
    suppressed: dict[int, str]
    unbound: list[int]


def place(columns: Columns, catalog: Catalog) -> Places:
    """Resolve subjects at the time of each event, and apply the suppression rules.

    Rules come first: an operator may drop subjects that nobody bound.
    """
    customers = columns.customer_texts
    unnamed = _blank(customers)
    if len(unnamed):
        texts = customers.to_pylist()
        subjects = columns.subject_texts.take(pa.array(unnamed)).to_pylist()
        moments = columns.occurred_us[unnamed].tolist()
        for row, subject, moment in zip(unnamed.tolist(), subjects, moments, strict=True):
            texts[row] = catalog.resolve_subject(subject, moment) or ""
        customers = pa.array(texts, pa.string())
    suppressed = _suppressed(columns, customers, catalog=catalog)
    unbound = []
    if len(unnamed):
        unbound = [row for row in _blank(customers).tolist() if row not in suppressed]
    return Places(customers, suppressed, unbound)


def _blank(texts: pa.StringArray) -> NDArray[np.int64]:
    """Rows without a text."""
    return np.flatnonzero(pc.binary_length(texts).to_numpy(zero_copy_only=False) == 0)


def _suppressed(columns: Columns, customers: pa.StringArray, *, catalog: Catalog) -> dict[int, str]:
    """Row -> name of the rule; asks once per distinct combination of what rules look at."""
    used = catalog.fields_of_rules
    if not catalog.rules:
        return {}
    if used == {"subject"} and len(_blank(columns.subject_texts)) == len(columns):
        name = catalog.suppression("", "", "", "")
        return {} if name is None else dict.fromkeys(range(len(columns)), name)
    blank = [""] * len(customers)
    meters = [each.meter for each in columns.known]
    keys = (
        columns.subject_texts.to_pylist() if "subject" in used else blank,
        customers.to_pylist() if "customer_id" in used else blank,
        [meters[code] for code in columns.codes.tolist()] if "meter" in used else blank,
        columns.source_texts.to_pylist() if "source" in used else blank,
    )
    distinct = set(zip(*keys, strict=True))
    names = {key: name for key in distinct if (name := catalog.suppression(*key)) is not None}
    if not names:
        return {}
    every = enumerate(zip(*keys, strict=True))
    return {row: names[key] for row, key in every if key in names}

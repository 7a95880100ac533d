"""Rows of `rate_cards` and `billing_periods` as Arrow tables, from columns of plain values."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metering.batch import CHARGE_SCALE, QUANTITY_SCALE
from metering.decimals import decimal256_of

#: Scales of exact numbers, and of those in lists; what is in none of the three is text.
_EXACT = {
    "covered": QUANTITY_SCALE, "bucket_units": QUANTITY_SCALE, "base_fee": CHARGE_SCALE,
    "minimum": CHARGE_SCALE, "cap": CHARGE_SCALE, "at_zero": CHARGE_SCALE, "commit": CHARGE_SCALE,
}  # fmt: skip
_EXACT_LISTS = {
    "rows_above": QUANTITY_SCALE, "rows_charge": CHARGE_SCALE, "rows_unit_price": QUANTITY_SCALE,
    "rows_package_units": QUANTITY_SCALE, "rows_package_price": CHARGE_SCALE,
}  # fmt: skip
_WHOLE = {
    "card": pa.uint64(), "price_version": pa.uint32(), "carries_s": pa.uint32(),
    "due_from": pa.uint64(), "due_until": pa.uint64(), "due_of": pa.uint64(),
    "period_start": pa.uint32(), "period_end": pa.uint32(), "minor_digits": pa.uint8(),
}  # fmt: skip

Columns = Mapping[str, Sequence[Any]]


def card_table(columns: Columns) -> pa.Table | None:
    """Rows of `rate_cards`, or None when there are none."""
    return _table(columns) if columns["card"] else None


def period_table(columns: Columns, *, updated_at: datetime) -> pa.Table | None:
    """Rows of `billing_periods`, or None when there are none."""
    count = len(columns["customer_id"])
    if not count:
        return None
    moments = pa.array([updated_at] * count, pa.timestamp("us", tz="UTC"))
    return _table(columns).append_column("updated_at", moments)


def _table(columns: Columns) -> pa.Table:
    return pa.table({name: _array(name, values) for name, values in columns.items()})


def _array(name: str, values: Sequence[Any]) -> pa.Array:
    if name in _EXACT_LISTS:
        ends = pa.array(np.cumsum([0, *map(len, values)]), pa.int32())
        flat = [each for some in values for each in some]
        return pa.ListArray.from_arrays(ends, decimal256_of(flat, scale=_EXACT_LISTS[name]))
    if name in _EXACT:
        known = decimal256_of([each or 0 for each in values], scale=_EXACT[name])
        missing = pa.array([each is None for each in values])
        return pc.if_else(missing, pa.scalar(None, known.type), known)
    return pa.array(values, _WHOLE.get(name, pa.string()))

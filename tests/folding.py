"""Stored windows folded by hand, as `TotalsStore.folds` tells them; for stores that are fakes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa

from metering.decimals import decimal256_of
from metering.totals import FOLDS, StoredWindow

_HOUR = 3600


class Row(NamedTuple):
    """A stored window, the start of the part that it was written of, and what is in it."""

    texts: tuple[str, str, str]
    part: int
    window: int
    stored: StoredWindow


def folds_of(rows: Iterable[Row], *, since: int, recent: int, rows_max: int) -> pa.Table | None:
    """The rows of one partition from the hour `since` on."""
    folds: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        if row.window >= since:
            folds[row.texts, row.part, row.window if row.window >= recent else 0].append(row)
    if len(folds) > rows_max:
        return None
    columns = zip(*map(_fold, folds.values()), strict=True) if folds else [[] for _ in FOLDS]
    return pa.table([_column(f, c) for f, c in zip(FOLDS, columns, strict=True)], schema=FOLDS)


def _fold(rows: list[Row]) -> list[Any]:
    last = max(row.window for row in rows)
    own = [row for row in rows if row.stored.events]
    values = [row.stored.units for row in own] or [0]
    latest = max(
        ((row.stored.last_us, row.stored.last_identity, row.stored.units) for row in own),
        default=(0, bytes(16), 0),
    )
    one = rows[0].stored
    return [
        *rows[0].texts, min(row.window for row in rows), last,
        max((row.window for row in own), default=-1),
        max(row.stored.absorbed_offset for row in rows),
        max(row.stored.absorbed_offset for row in rows if row.window >= last // _HOUR * _HOUR),
        sum(values), max(values), latest[2], latest[0], latest[1],
        sum(row.stored.events for row in rows), sum(row.stored.late_events for row in rows),
        min(row.stored.first_us for row in rows), one.included, one.overage, one.charge,
    ]  # fmt: skip


def _column(field: pa.Field, values: Iterable[Any]) -> pa.Array:
    if pa.types.is_decimal(field.type):
        return decimal256_of(list(values), scale=field.type.scale)
    return pa.array(list(values), field.type)

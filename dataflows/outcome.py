"""Turns a decided batch into what will be written; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataflows.dedup import Decided
from dataflows.ledger import Applied
from dataflows.rating import Rated
from metering.batch import CHARGE_SCALE, EventBatch, RawBatch, Source
from metering.decimals import coded, decimal256_of_words
from metering.flush import DUPLICATE_SCHEMA
from metering.rejection import Rejection, RejectionCode, Suppression


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything one batch adds to a flush. `accepted` and `late` count events."""

    source: Source
    first_offset: int
    next_offset: int
    watermark_ms: int
    events: pa.RecordBatch | None
    duplicates: pa.RecordBatch | None
    rejections: Sequence[Rejection]
    suppressions: Sequence[Suppression]
    gaps: Sequence[tuple[int, int]]
    late: int
    conflicts: int

    @property
    def accepted(self) -> int:
        """Events that go on to raw history."""
        return 0 if self.events is None else self.events.num_rows


def outcome_of(
    decided: Decided, *, late: NDArray[np.bool_], applied: Applied, watermark_ms: int
) -> Outcome:
    """What is written for a batch; `late` and `applied` belong to the chosen events."""
    batch = decided.plan.batch
    duplicates = decided.others[~decided.conflicting]
    conflicts = _conflicts(batch, decided)
    return Outcome(
        source=batch.source,
        first_offset=batch.first_offset,
        next_offset=batch.next_offset,
        watermark_ms=watermark_ms,
        events=_events(decided, late, applied=applied) if len(decided.chosen) else None,
        duplicates=_duplicates(batch, decided) if len(duplicates) else None,
        rejections=[*batch.rejections, *conflicts],
        suppressions=batch.suppressions,
        gaps=gaps_of(batch.raw) if batch.raw is not None else (),
        late=int(late.sum()),
        conflicts=len(conflicts),
    )


def gaps_of(raw: RawBatch) -> list[tuple[int, int]]:
    """Half-open ranges of offsets that the batch covers but that hold no record."""
    if raw.next_offset - raw.first_offset == len(raw.offsets):
        return []
    borders = [raw.first_offset - 1, *raw.offsets, raw.next_offset]
    return [(before + 1, after) for before, after in pairwise(borders) if after > before + 1]


def _events(decided: Decided, late: NDArray[np.bool_], *, applied: Applied) -> pa.RecordBatch:
    batch = decided.plan.batch
    columns = batch.columns
    if len(decided.chosen) != len(batch):
        columns = columns.take(pa.array(decided.chosen))
    parts = decided.plan.parts
    more = {
        "late": pa.array(late),
        "counted": pa.array(decided.counted),
        "part_start": pa.array(parts.starts[decided.chosen].astype(np.uint32)),
        "period_start": pa.array(parts.periods[decided.chosen].astype(np.uint32)),
        "cumulative_before": decimal256_of_words(applied.before),
    }
    if applied.rated is not None:
        more |= _charges(applied.rated)
    return pa.RecordBatch.from_arrays(
        [*columns.columns, *more.values()], names=[*columns.schema.names, *more]
    )


def _charges(rated: Rated) -> dict[str, pa.Array]:
    return {
        "included": decimal256_of_words(rated.included),
        "overage": decimal256_of_words(rated.overage),
        "charge": decimal256_of_words(rated.charge, scale=CHARGE_SCALE),
        "card": pa.array(rated.cards),
        "price_version": coded(rated.version_of, rated.versions),
        "catalog": coded(np.zeros(len(rated.cards), np.int32), [rated.catalog]),
    }


def _duplicates(batch: EventBatch, decided: Decided) -> pa.RecordBatch:
    kept = ~decided.conflicting
    own = batch.columns.take(pa.array(decided.others[kept])).select(
        [name for name in DUPLICATE_SCHEMA.names if not name.startswith("owner_")]
    )
    owners = decided.owners
    arrays = [
        *own.columns,
        pa.array(owners.owner_partitions[kept].astype(np.int32)),
        pa.array(owners.owner_offsets[kept].astype(np.uint64)),
        pa.array(owners.owner_indexes[kept].astype(np.uint16)),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=DUPLICATE_SCHEMA)


def _conflicts(batch: EventBatch, decided: Decided) -> list[Rejection]:
    owners = decided.owners
    at_fault = decided.others[decided.conflicting]
    if not len(at_fault):
        return []
    texts = [batch.texts(name, at_fault) for name in ("id", "customer_id", "meter")]
    found = []
    for at, names in zip(
        np.flatnonzero(decided.conflicting).tolist(), zip(*texts, strict=True), strict=True
    ):
        i = int(decided.others[at])
        offset, index = int(batch.offsets[i]), int(batch.indexes[i])
        partition = int(owners.owner_partitions[at])
        place = f"partition {partition}" if partition >= 0 else "another stream"
        sentence = (
            f"expected the payload of the event that holds this identity ({place}, offset "
            f"{owners.owner_offsets[at]}, index {owners.owner_indexes[at]}), got another quantity "
            "or other dimensions; send a correction under a new id if this one is right"
        )
        found.append(
            Rejection(
                offset, index, int(batch.record_ms[i]),
                RejectionCode.IDENTITY_MUST_NOT_REPEAT_WITH_OTHER_PAYLOAD, sentence,
                event_bytes(batch.raw, offset, index), *names,
            )
        )  # fmt: skip
    return found


def event_bytes(raw: RawBatch | None, offset: int, index: int) -> bytes:
    """The bytes of one event as received; `index` is its place in the message's array."""
    if raw is None:
        return b""
    value = raw.values[raw.offsets.index(offset)] or b""
    if not value.lstrip().startswith(b"["):
        return value
    return bytes(msgspec.json.decode(value, type=list[msgspec.Raw])[index])

"""The decoder: a batch of messages becomes columns of valid events, rejections, suppressions.

1. plain messages -> columns: one compiled pass over all bytes
2. other messages -> entries: one typed decode each; other shapes are put into Meterline's own
3. entries -> columns: vectorised checks; a row in doubt is read by the book
4. columns -> places: suppression rules, then the customer of each subject
5. what is left -> `EventBatch`
"""

from datetime import timedelta

import numpy as np
import pyarrow as pa

from metering import rfc3339
from metering.batch import EventBatch, RawBatch
from metering.catalog import Catalog
from metering.decode_batch import event_batch
from metering.decode_columns import Columns, build_columns
from metering.decode_entries import Entries, all_single, merged, messages_of, read_entries
from metering.decode_event import EventReader, Fault
from metering.decode_place import Places, place
from metering.decode_plain import plain_columns
from metering.dimensions import FactsMemory
from metering.event import UsageEvent
from metering.identity import identity_seed
from metering.rejection import RejectionCode, Suppression
from metering.rejection_sentence import sentence, shortened
from metering.settings import Settings


class Decoder:
    """Decodes batches; keeps nothing between them but a memory of what distinct values mean.

    Pure: the same batch, catalog and settings give the same result, at any time and anywhere. One
    per worker, called once per batch; not for several threads at once.
    """

    def __init__(self, catalog: Catalog, settings: Settings, *, by_the_book: bool = False) -> None:
        """Decide by `catalog` and `settings`.

        `by_the_book` reads every event singly: the same results, only slower (the tests' oracle).
        """
        self._catalog = catalog
        self._reader = EventReader(catalog, settings.future_tolerance)
        self._facts = FactsMemory(catalog.meters)
        self._tolerance_us = settings.future_tolerance // timedelta(microseconds=1)
        self._seed = identity_seed(settings.identity_key.get_secret_value())
        self._by_the_book = by_the_book

    def decode(self, raw: RawBatch) -> EventBatch:
        """Every event of `raw` as an event, a rejection or a suppression, each in order.

        A message that is refused as a whole is one rejection with index 0. Never raises on input.
        """
        entries, columns = self._read(raw)
        places = place(columns, self._catalog)
        suppressions = _suppressions(places, columns, entries=entries)
        for row in places.unbound:
            entries.reject(int(columns.position[row]), _unbound(columns, row))
        if places.unbound or places.suppressed:
            kept = np.delete(np.arange(len(columns)), [*places.unbound, *places.suppressed])
            columns = columns.take(kept)
            places.customers = places.customers.take(pa.array(kept))
        return event_batch(
            columns,
            places.customers,
            entries=entries,
            suppressions=suppressions,
            catalog=self._catalog,
        )

    def _read(self, raw: RawBatch) -> tuple[Entries, Columns]:
        """Plain messages in one pass, the others event by event; together in coordinate order."""
        if self._by_the_book:
            entries = read_entries(raw, self._reader, by_the_book=True)
            return entries, self._sound_columns(entries)
        columns, rows = plain_columns(
            raw, facts=self._facts, tolerance_us=self._tolerance_us, seed=self._seed
        )
        if len(rows) == len(raw.values):
            return all_single(raw), columns
        others = np.delete(np.arange(len(raw.values)), rows)
        entries = read_entries(messages_of(raw, others), self._reader)
        rest = self._sound_columns(entries)
        entries, columns.position, places = merged(raw, entries, single=rows, others=others)
        rest.position = places[rest.position]
        return entries, columns.joined(rest)

    def _sound_columns(self, entries: Entries) -> Columns:
        record_ms = entries.record_ms()
        columns, sound = build_columns(
            entries.events, record_ms, facts=self._facts, tolerance_us=self._tolerance_us,
            seed=self._seed,
        )  # fmt: skip
        if sound.all():
            return columns
        mended: list[UsageEvent] = []
        positions: list[int] = []
        for position in np.flatnonzero(~sound).tolist():
            read = self._reader.read(entries.raws[position], int(record_ms[position]))
            if isinstance(read, Fault):
                entries.reject(position, read)
            else:
                mended.append(read)
                positions.append(position)
        plain = columns.take(np.flatnonzero(sound))
        if not mended:
            return plain
        rest, rest_sound = build_columns(
            mended, record_ms[positions], facts=self._facts, tolerance_us=self._tolerance_us,
            seed=self._seed,
        )  # fmt: skip
        assert rest_sound.all(), "what the event reader writes must be plain to the columns"
        rest.position = np.array(positions)
        return plain.joined(rest)


def _suppressions(places: Places, columns: Columns, *, entries: Entries) -> list[Suppression]:
    batch = entries.batch
    found = []
    for row, rule in places.suppressed.items():
        position = columns.position[row]
        message, index = int(entries.rows[position]), int(entries.indexes[position])
        offset, record_ms = batch.offsets[message], batch.record_times_ms[message]
        found.append(Suppression(offset, index, record_ms, rule))
    return found


def _unbound(columns: Columns, row: int) -> Fault:
    subject = columns.subject_texts[row].as_py()
    at = rfc3339.written(int(columns.occurred_us[row]))
    code = RejectionCode.SUBJECT_MUST_BE_BOUND
    told = sentence(code, f"{shortened(subject.encode())} at {at}")
    return Fault(
        code, told, columns.id_texts[row].as_py(), "", columns.known[columns.codes[row]].meter
    )

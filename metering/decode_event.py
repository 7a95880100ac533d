"""One event, by the book: every predicate in the order of `RejectionCode`, every shape.

This is the authority on what is accepted. The columns only decide the plain cases faster, and hand
everything else to here.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

import msgspec

from metering import quantity, rfc3339, shapes
from metering.catalog import Catalog, Meter
from metering.decode_message import EVENT_BYTES_MAX
from metering.dimensions import canonical, checked_dimensions, counted_value, read_dimensions
from metering.event import UsageEvent
from metering.event_fields import Fields, fields_of, key_of, scalars_of, text_of
from metering.identity import cloudevent_id
from metering.period import FIRST_SECOND
from metering.rejection import RejectionCode
from metering.rejection_sentence import sentence, shortened


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an event is refused, with what could be read of it ("" where nothing could)."""

    code: RejectionCode
    sentence: str
    event_id: str = ""
    customer_id: str = ""
    meter: str = ""


class _Refused(Exception):  # ends the reading of one event, never leaves this module
    def __init__(self, code: RejectionCode, got: str) -> None:
        super().__init__(code)
        self.code = code
        self.got = got


class EventReader:
    """Reads single events of any shape; pure, and as slow as being thorough takes."""

    def __init__(self, catalog: Catalog, future_tolerance: timedelta) -> None:
        """Decide by `catalog`; `future_tolerance` is how far ahead an event may be."""
        self._meters = catalog.meters
        self._tolerance_us = future_tolerance // timedelta(microseconds=1)

    def read(self, raw: bytes, record_ms: int) -> UsageEvent | Fault:
        """Read the event in `raw` (valid JSON) into canonical form, or say what it fails first.

        `record_ms` is when its record arrived, Unix milliseconds. Subjects are not resolved here.
        """
        fields = fields_of(raw)
        try:
            return self._read(raw, fields, record_ms)
        except _Refused as refused:
            values = {} if fields is None else fields.values
            told = [key_of(values.get(name)) for name in ("id", "customer_id", "meter")]
            return Fault(refused.code, sentence(refused.code, refused.got), *told)

    def _read(self, raw: bytes, fields: Fields | None, record_ms: int) -> UsageEvent:
        if fields is None:
            _refuse(RejectionCode.EVENT_MUST_BE_OBJECT, raw)
        if len(raw) > EVENT_BYTES_MAX:
            _refuse(RejectionCode.EVENT_MUST_NOT_EXCEED_SIZE_LIMIT, b"%d bytes" % len(raw))
        values = fields.values
        source = _cloudevent_source(fields)
        event_id = _event_id(values.get("id"))
        customer_id, subject = _whose(values.get("customer_id"), values.get("subject"))
        meter = self._meter(values.get("meter"))
        units = _units(values.get("quantity"), meter)
        occurred_us = self._occurred_us(values.get("occurred_at"), record_ms)
        pairs = _dimensions(values.get("dimensions"), fields)
        if counted_value(meter, pairs) is None:
            got = f"no {meter.counted_dimension} in {canonical(pairs)}"
            _refuse(RejectionCode.COUNTED_DIMENSION_MUST_BE_PRESENT, got.encode())
        return UsageEvent(
            event_id,
            meter.key,
            rfc3339.written(occurred_us),
            msgspec.Raw(quantity.written(units).encode()),
            customer_id,
            subject,
            msgspec.Raw(canonical(pairs).encode()),
            _optional_text(values, "source"),
            _optional_text(values, "batch_id"),
            _optional_text(values, "schema_version"),
            None if source is None else cloudevent_id(source, event_id),
        )

    def _meter(self, raw: bytes | None) -> Meter:
        if raw is None:
            _refuse(RejectionCode.METER_MUST_BE_PRESENT, raw)
        meter = self._meters.get(text_of(raw) or "")
        return meter or _refuse(RejectionCode.METER_MUST_BE_KNOWN, raw)

    def _occurred_us(self, raw: bytes | None, record_ms: int) -> int:
        if raw is None:
            _refuse(RejectionCode.OCCURRED_AT_MUST_BE_PRESENT, raw)
        occurred_us = rfc3339.microseconds(text_of(raw) or "")
        if occurred_us is None:
            _refuse(RejectionCode.OCCURRED_AT_MUST_BE_RFC3339_WITH_OFFSET, raw)
        if occurred_us < FIRST_SECOND * 1_000_000:
            _refuse(RejectionCode.OCCURRED_AT_MUST_NOT_PRECEDE_1971, raw)
        if occurred_us > record_ms * 1000 + self._tolerance_us:
            ahead = timedelta(microseconds=occurred_us - record_ms * 1000)
            got = f"{shortened(raw)}, {ahead} ahead"
            _refuse(RejectionCode.OCCURRED_AT_MUST_NOT_BE_IN_FUTURE, got.encode())
        return occurred_us


def _refuse(code: RejectionCode, got: bytes | None) -> NoReturn:
    raise _Refused(code, "nothing" if got is None else shortened(got))


def _cloudevent_source(fields: Fields) -> str | None:
    """Source of a CloudEvent; None for any other event."""
    if fields.version is None:
        return None
    if text_of(fields.version) != shapes.CLOUDEVENT_VERSION:
        _refuse(RejectionCode.CLOUDEVENT_MUST_BE_VERSION_1_0, fields.version)
    raw = fields.values.get("source")
    source = key_of(raw) or _refuse(RejectionCode.CLOUDEVENT_MUST_HAVE_A_SOURCE, raw)
    if fields.has_binary_data:
        _refuse(RejectionCode.CLOUDEVENT_DATA_MUST_BE_OBJECT, b"data_base64")
    if fields.data is not None and not fields.data.startswith(b"{"):
        _refuse(RejectionCode.CLOUDEVENT_DATA_MUST_BE_OBJECT, fields.data)
    return source


def _event_id(raw: bytes | None) -> str:
    if raw is None:
        _refuse(RejectionCode.ID_MUST_BE_PRESENT, raw)
    return key_of(raw) or _refuse(RejectionCode.ID_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS, raw)


def _whose(customer: bytes | None, subject: bytes | None) -> tuple[str | None, str | None]:
    if customer is None and subject is None:
        _refuse(RejectionCode.CUSTOMER_OR_SUBJECT_MUST_BE_PRESENT, None)
    customer_id = subject_id = None
    if customer is not None:
        code = RejectionCode.CUSTOMER_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS
        customer_id = key_of(customer) or _refuse(code, customer)
    if subject is not None:
        code = RejectionCode.SUBJECT_MUST_BE_TEXT_OF_1_TO_256_CHARACTERS
        subject_id = key_of(subject) or _refuse(code, subject)
    return customer_id, subject_id


def _units(raw: bytes | None, meter: Meter) -> int:
    if raw is None:
        if meter.aggregation.needs_quantity:
            _refuse(RejectionCode.QUANTITY_MUST_BE_PRESENT, raw)
        raw = b"1"
    text = text_of(raw) if raw.startswith(b'"') else raw.decode()
    units = quantity.units(text or "")
    if isinstance(units, RejectionCode):
        _refuse(units, raw)
    if units < 0 and not meter.allow_negative:
        _refuse(RejectionCode.QUANTITY_MUST_NOT_BE_NEGATIVE, raw)
    return units


def _dimensions(raw: bytes | None, fields: Fields) -> dict[str, str]:
    shown = raw
    pairs: dict[str, str] | RejectionCode = {}
    if raw is not None:
        pairs = read_dimensions(raw)
    elif fields.data is not None:
        shown = fields.data
        pairs = checked_dimensions(scalars_of(fields.data))
    return _refuse(pairs, shown) if isinstance(pairs, RejectionCode) else pairs


def _optional_text(values: dict[str, bytes], name: str) -> str:
    raw = values.get(name)
    if raw is None or raw == b'""':
        return ""
    text = key_of(raw)
    if not text:
        got = f"{shortened(raw)} as {name}"
        _refuse(RejectionCode.OPTIONAL_FIELDS_MUST_BE_TEXT, got.encode())
    return text

"""Dimensions of an event, and what a meter makes of them: the group, and what is counted."""

from typing import NamedTuple

import msgspec

from metering.catalog import Aggregation, Meter
from metering.identity import dimensions_hash
from metering.rejection import RejectionCode

PAIRS_MAX = 16
TEXT_MAX = 256

#: Distinct (meter, dimensions) that are remembered; a full memory starts again.
_FACTS_KEPT_MAX = 50_000
#: Longer dimensions are read every time, so that the memory stays within some 100 MB.
_BYTES_KEPT_MAX = 512

_PAIRS = msgspec.json.Decoder(dict[str, str])
_CANONICAL = msgspec.json.Encoder(order="sorted")


#: Bits of `Facts.flags`.
SOUND = 1
QUANTITY_OPTIONAL = 2
NEGATIVE_ALLOWED = 4


class Facts(NamedTuple):
    """What follows from a meter and dimensions alone. Without `SOUND`, the rest means nothing."""

    flags: int
    canonical: str
    hash: int
    group: str
    counted: str


_UNSOUND = Facts(QUANTITY_OPTIONAL | NEGATIVE_ALLOWED, "{}", 0, "{}", "")


def read_dimensions(raw: bytes) -> dict[str, str] | RejectionCode:
    """Dimensions from their JSON, or the first predicate that they fail. `null` is none."""
    if raw == b"null":
        return {}
    try:
        pairs = _PAIRS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return RejectionCode.DIMENSIONS_MUST_BE_TEXT_PAIRS
    return checked_dimensions(pairs)


def checked_dimensions(pairs: dict[str, str]) -> dict[str, str] | RejectionCode:
    """`pairs` themselves, or the first predicate that they fail."""
    for key, value in pairs.items():
        if not key or min(key) < " " or (value and min(value) < " "):
            return RejectionCode.DIMENSIONS_MUST_BE_TEXT_PAIRS
    if len(pairs) > PAIRS_MAX:
        return RejectionCode.DIMENSIONS_MUST_HAVE_AT_MOST_16_PAIRS
    if any(len(key) > TEXT_MAX or len(value) > TEXT_MAX for key, value in pairs.items()):
        return RejectionCode.DIMENSIONS_MUST_NOT_EXCEED_256_CHARACTERS
    return pairs


def canonical(pairs: dict[str, str]) -> str:
    """`pairs` as JSON with sorted keys and without blanks: the same pairs, the same text."""
    return _CANONICAL.encode(pairs).decode()


def counted_value(meter: Meter, pairs: dict[str, str]) -> str | None:
    """Value that a unique_count meter counts, None where it is missing; "" for other meters."""
    if meter.aggregation is not Aggregation.UNIQUE_COUNT:
        return ""
    return pairs.get(meter.counted_dimension or "") or None


class FactsMemory(dict[tuple[str, bytes], Facts]):
    """(meter key, dimensions as sent) -> `Facts`, worked out when first asked for.

    A dict subclass because the look-up is made for every event and this one costs no Python call.
    """

    def __init__(self, meters: dict[str, Meter]) -> None:
        """Know the catalog's meters, remember nothing yet."""
        super().__init__()
        self._meters = meters

    def __missing__(self, key: tuple[str, bytes]) -> Facts:
        """Work out the facts of `key`, and remember them where that is worth the memory."""
        facts = self._facts(*key)
        if len(key[0]) <= TEXT_MAX and len(key[1]) <= _BYTES_KEPT_MAX:
            if len(self) >= _FACTS_KEPT_MAX:
                self.clear()
            self[key] = facts
        return facts

    def _facts(self, meter_key: str, raw: bytes) -> Facts:
        meter = self._meters.get(meter_key)
        pairs = read_dimensions(raw)
        if meter is None or not isinstance(pairs, dict):
            return _UNSOUND
        counted = counted_value(meter, pairs)
        if counted is None:
            return _UNSOUND
        text = canonical(pairs)
        flags = SOUND
        if not meter.aggregation.needs_quantity:
            flags |= QUANTITY_OPTIONAL
        if meter.allow_negative:
            flags |= NEGATIVE_ALLOWED
        group = canonical({name: pairs.get(name, "") for name in meter.group_by})
        return Facts(flags, text, dimensions_hash(text), group, counted)

"""Reading a price from plain fields: every fault is kept with its place, nothing is raised.

What comes in is what a file says (text, whole numbers, flags, lists, mappings); what goes out is
compiled to whole numbers. A reader that told a fault returns a stand-in, so that all faults of a
price are told at once; whoever asked looks at the faults before using what was read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metering.quantity import INTEGER_DIGITS_MAX, units
from metering.rejection import RejectionCode
from rating_engine.exact import ONE_PRICE, QUANTITY_SCALE

_DECIMAL = (
    f'decimal text like "0.001", below 10^{INTEGER_DIGITS_MAX} and with at most {QUANTITY_SCALE} '
    "digits behind the point"
)
_HUNDRED = 100

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at `path` (field names, and positions in lists, from the outermost on)."""

    path: Path
    expected: str
    got: str

    def __str__(self) -> str:
        """`tiers[1].up_to: expected ..., got ...`."""
        return f"{path_text(self.path)}: expected {self.expected}, got {self.got}"


def path_text(path: Path) -> str:
    """`path` as people write it: `tiers[1].up_to`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


@dataclass(frozen=True, slots=True)
class Fields:
    """One mapping of what a file says; readers append to `faults`, which all of a file share."""

    values: Mapping[str, object]
    faults: list[Fault]
    path: Path = ()

    def fault(self, field: str, *, expected: str, got: str) -> None:
        """Tell one fault of `field`."""
        self.faults.append(Fault((*self.path, field), expected, got))

    def allow_only(self, *fields: str) -> None:
        """Tell every field that is none of `fields`."""
        for field in self.values:
            if field not in fields:
                self.fault(field, expected=f"one of {', '.join(fields)}", got=repr(field))

    def has(self, field: str) -> bool:
        """Whether `field` is there and says something."""
        return self.values.get(field) is not None

    def text(self, field: str) -> str:
        """Read required text that is not empty."""
        value = self.values.get(field)
        if not isinstance(value, str) or not value:
            self.fault(field, expected="text", got=_shown(value))
            return ""
        return value

    def decimal(self, field: str, *, default: int | None = None) -> int:
        """Read a number that is not negative, in 10^-12; required unless there is a `default`.

        Decimal text or a whole number; a float has lost what the file said and is a fault.
        """
        value = self.values.get(field)
        if value is None and default is not None:
            return default
        read = units(str(value)) if type(value) in (str, int) else None
        if read is None or isinstance(read, RejectionCode):
            self.fault(field, expected=_DECIMAL, got=_shown(value))
        elif read < 0:
            self.fault(field, expected="0 or more", got=_shown(value))
        else:
            return read
        return 0

    def positive(self, field: str) -> int:
        """Read a required number above zero, in 10^-12; the stand-in is 1."""
        known = len(self.faults)
        value = self.decimal(field)
        if value:
            return value
        if len(self.faults) == known:
            self.fault(field, expected="more than 0", got=_shown(self.values.get(field)))
        return 1

    def money(self, field: str, *, default: int | None = None) -> int:
        """Read an amount of money, in 10^-24 of the currency's unit; as `decimal` otherwise."""
        return self.decimal(field, default=default) * ONE_PRICE

    def percent(self, field: str) -> int:
        """Read a required percentage as a price: 10^-12 for each unit of the quantity."""
        read = self.decimal(field)
        price, rest = read // _HUNDRED, read % _HUNDRED
        if rest:
            expected = f"at most {QUANTITY_SCALE - 2} digits behind the point"
            self.fault(field, expected=expected, got=_shown(self.values.get(field)))
        return price

    def flag(self, field: str) -> bool:
        """Read an optional `true` or `false`; False where there is none."""
        value = self.values.get(field, False)
        if not isinstance(value, bool):
            self.fault(field, expected="true or false", got=_shown(value))
            return False
        return value

    def texts(self, field: str) -> tuple[str, ...]:
        """Read a required list of distinct texts, at least one."""
        value = self.values.get(field)
        found = _items(value)
        if not found or len(set(map(repr, found))) < len(found):
            self.fault(field, expected="a list of one or more texts that differ", got=_shown(value))
        for position, item in enumerate(found):
            if not isinstance(item, str) or not item:
                self.faults.append(Fault((*self.path, field, position), "text", _shown(item)))
        return tuple(str(item) for item in found)

    def child(self, field: str) -> "Fields | None":
        """Look at the required mapping under `field`; None where there is none."""
        return self._mapping(self.values.get(field), (*self.path, field))

    def children(self, field: str) -> "list[Fields]":
        """Look at the mappings in the required list under `field`, at least one."""
        value = self.values.get(field)
        if not _items(value):
            self.fault(field, expected="a list of one or more mappings", got=_shown(value))
        found = (
            self._mapping(item, (*self.path, field, position))
            for position, item in enumerate(_items(value))
        )
        return [each for each in found if each is not None]

    def _mapping(self, value: object, path: Path) -> "Fields | None":
        if not isinstance(value, Mapping):
            self.faults.append(Fault(path, "a mapping", _shown(value)))
            return None
        return Fields(value, self.faults, path)


def _items(value: object) -> tuple[object, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return ()
    return tuple(value)


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{value!r} ({type(value).__name__})"

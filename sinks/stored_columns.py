"""Columns of billing tables between whole numbers in Python and Arrow, both ways and exact."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

from metering.decimals import decimal256_of, units_of

Row = TypeVar("Row", bound=NamedTuple)


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of a column are written, and read; `select` is how a query asks for it."""

    write: Callable[[Sequence[Any]], pa.Array]
    read: Callable[[pa.Array], list[Any]]
    select: str = "{name}"


Kinds = Mapping[str, Kind]


def _plain(kind: pa.DataType, select: str = "{name}") -> Kind:
    def write(values: Sequence[Any]) -> pa.Array:
        return pa.array(values, kind)

    return Kind(write, lambda column: column.to_pylist(), select)


def _decimal(scale: int) -> Kind:
    def write(values: Sequence[int]) -> pa.Array:
        return decimal256_of(values, scale=scale)

    return Kind(write, units_of)


def _decimals(scale: int) -> Kind:
    def write(values: Sequence[Sequence[int]]) -> pa.Array:
        ends = [0]
        for each in values:
            ends.append(ends[-1] + len(each))
        flat = decimal256_of([each for row in values for each in row], scale=scale)
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat)

    def read(column: pa.Array) -> list[tuple[int, ...]]:
        whole = units_of(column.values) if len(column.values) else []
        return [tuple(whole[low:high]) for low, high in pairwise(column.offsets.to_pylist())]

    return Kind(write, read)


TEXT = _plain(pa.string(), "toString({name})")
SMALL = _plain(pa.uint8())
NUMBER = _plain(pa.uint32())
COUNT = _plain(pa.uint64())
INDEX = _plain(pa.uint16())
HASH = _plain(pa.binary(16))
#: Unix seconds, and Unix microseconds and milliseconds, UTC.
SECOND = _plain(pa.uint32(), "toUnixTimestamp({name})")
MICROSECOND = _plain(pa.timestamp("us", tz="UTC"), "toUnixTimestamp64Micro({name})")
MILLISECOND = _plain(pa.timestamp("ms", tz="UTC"), "toUnixTimestamp64Milli({name})")
#: 10^-12 units, 10^-24 and 10^-4 of a currency's unit.
UNITS = _decimal(12)
SMALL_UNITS = Kind(
    lambda values: decimal256_of(values).cast(pa.decimal128(38, 12)), units_of
)  # fmt: skip
CHARGE = _decimal(24)
AMOUNT = _decimal(4)
UNITS_LIST = _decimals(12)
CHARGE_LIST = _decimals(24)


def table_of(rows: Sequence[NamedTuple], kinds: Kinds) -> pa.Table:
    """One column for each of `kinds`, in the order of the rows' fields."""
    columns = list(zip(*rows, strict=True)) or [()] * len(kinds)
    return pa.table(
        {
            name: kind.write(column)
            for (name, kind), column in zip(kinds.items(), columns, strict=True)
        }
    )


def selected(kinds: Kinds, of: str = "") -> str:
    """The list of a SELECT that `rows_of` reads; `of` is the table's alias with its point."""
    return ", ".join(
        f"{kind.select.format(name=f'{of}`{name}`')} AS `{name}`" for name, kind in kinds.items()
    )


def rows_of(table: pa.Table, row: Callable[..., Row], kinds: Kinds) -> list[Row]:
    """Rows of a query for `selected`."""
    found: list[Row] = []
    for batch in table.to_batches():
        columns = [kind.read(batch.column(name)) for name, kind in kinds.items()]
        found += [row(*values) for values in zip(*columns, strict=True)]
    return found

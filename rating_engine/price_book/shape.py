"""What a field of a catalog file is: the vocabulary in which `shapes.py` describes the files.

One description, three uses: the JSON Schema for editors (`schema.py`), the canonical content that
is hashed and compared (`canonical.py`), and the fields that the readers allow.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a field is written."""

    TEXT = "text"
    DECIMAL = "decimal"  # decimal text, or a whole number
    WHOLE = "whole"
    FLAG = "flag"
    MOMENT = "moment"  # RFC 3339 with an offset
    TEXTS = "texts"  # a list that means a set
    TEXT_MAP = "text_map"
    SHAPE = "shape"  # a mapping, of the first of `of`
    SHAPES = "shapes"  # a list of mappings, of the first of `of`
    CHOICE_OF_SHAPES = "choice_of_shapes"  # a mapping; its `model` names which of `of`


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `says` is for people, `default` is what a missing one means.

    `choices` and `pattern` belong to texts, `low` and `high` (both inclusive) to whole numbers
    (and `low` to lists: how many texts there are at least),
    `of` names shapes. Of a list that means a set, `sorted_by` names what its members differ in.
    """

    name: str
    kind: Kind
    says: str
    required: bool = False
    default: object = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    low: int = 0
    high: int | None = None
    of: tuple[str, ...] = ()
    sorted_by: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """A mapping. `model` is the value of the field of that name, where it tells shapes apart."""

    name: str
    says: str
    fields: tuple[Field, ...]
    model: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every field that there is, in the order of the description."""
        return (*(("model",) if self.model else ()), *(field.name for field in self.fields))

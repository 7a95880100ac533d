"""Dimensional: a model for each combination of a group's values, and a default for the others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rating_engine.fields import Fields
from rating_engine.models.model import Group, Model
from rating_engine.models.per_unit import PerUnit


@dataclass(frozen=True, slots=True)
class Dimensional:
    """`models` by the values of `dimensions`, in their order. Not a model until a group is known.

    Every group has its own total, and is priced by itself from its first unit on.
    """

    dimensions: tuple[str, ...]
    models: Mapping[tuple[str, ...], Model]
    default: Model

    @classmethod
    def read(cls, fields: Fields, read_model: Callable[[Fields], Model]) -> "Dimensional":
        """Read `{model: dimensional, dimensions: [region], prices: [...], default: {...}}`.

        An entry of `prices` is `{values: {region: eu}, price: {model: ...}}` and names a value for
        each of the dimensions; no two name the same, so their order means nothing.
        """
        fields.allow_only("model", "dimensions", "prices", "default")
        dimensions = fields.texts("dimensions")
        models: dict[tuple[str, ...], Model] = {}
        for each in fields.children("prices"):
            each.allow_only("values", "price")
            values = _read_values(each, dimensions)
            price = each.child("price")
            model = None if price is None else read_model(price)
            if values in models:
                each.fault("values", expected="a combination that is not taken", got=repr(values))
            if values is not None and model is not None:
                models.setdefault(values, model)
        default = fields.child("default")
        fallback = PerUnit(0) if default is None else read_model(default)  # 0 beside a fault only
        return cls(dimensions, models, fallback)

    def for_group(self, group: Group) -> Model:
        """Find the model for `group` (dimension to value); what it does not name is the default's.

        Asked once for each total, not for each event.
        """
        values = tuple(group.get(name, "") for name in self.dimensions)
        return self.models.get(values, self.default)


def _read_values(fields: Fields, dimensions: tuple[str, ...]) -> tuple[str, ...] | None:
    values = fields.child("values")
    if values is None:
        return None
    values.allow_only(*dimensions)
    return tuple(values.text(name) for name in dimensions)

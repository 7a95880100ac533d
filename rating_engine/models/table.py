"""Which models there are. A new one: a file beside this one, a row here, a table of examples."""

from collections.abc import Callable, Mapping

from metering.errors import SettingsInvalid
from rating_engine.fields import Fault, Fields
from rating_engine.models.dimensional import Dimensional
from rating_engine.models.graduated import Graduated
from rating_engine.models.model import Group, Model
from rating_engine.models.package import Package
from rating_engine.models.per_unit import PerUnit
from rating_engine.models.percentage import Percentage
from rating_engine.models.stairstep import Stairstep
from rating_engine.models.volume import Volume

#: By the name under `model` in a price; `dimensional` is made of these.
MODELS: Mapping[str, Callable[[Fields], Model]] = {
    "per_unit": PerUnit.read,
    "graduated": Graduated.read,
    "volume": Volume.read,
    "package": Package.read,
    "stairstep": Stairstep.read,
    "percentage": Percentage.read,
}
DIMENSIONAL = "dimensional"

Price = Model | Dimensional


def read_price(fields: Fields) -> Price:
    """Compile a price; its faults are added to those of `fields`.

    Always returns one that can be used; with faults it is not the one that was meant.
    """
    if fields.values.get("model") == DIMENSIONAL:
        return Dimensional.read(fields, read_model)
    return read_model(fields, (*MODELS, DIMENSIONAL))


def read_model(fields: Fields, names: tuple[str, ...] = tuple(MODELS)) -> Model:
    """Compile a price that is not dimensional; `names` is what to offer instead."""
    name = fields.values.get("model")
    if not isinstance(name, str) or name not in MODELS:
        fields.fault("model", expected=f"one of {', '.join(names)}", got=repr(name))
        return PerUnit(0)
    return MODELS[name](fields)


def price_of(values: Mapping[str, object]) -> Price:
    """Compile the price that `values` say, as in a plan's `price`.

    Raises `SettingsInvalid` with every fault.
    """
    faults: list[Fault] = []
    price = read_price(Fields(values, faults))
    if faults:
        raise SettingsInvalid([str(fault) for fault in faults])
    return price


def model_for(price: Price, group: Group) -> Model:
    """Find the model that prices `group`; any price that is not dimensional prices all alike."""
    return price.for_group(group) if isinstance(price, Dimensional) else price

"""JSON Schema of the catalog's files, for editors; made from their shapes and nothing else.

Loading checks more than a schema can: sums, order, and what one file says about another.
"""

import json

from rating_engine.price_book.counted_shapes import COUNTED_FILES, COUNTED_SHAPES
from rating_engine.price_book.shape import Field, Kind, Shape
from rating_engine.price_book.shapes import PLANS_FILE, SHAPES, SUBSCRIPTIONS_FILE

Schema = dict[str, object]
FILES = (*COUNTED_FILES, PLANS_FILE, SUBSCRIPTIONS_FILE)

_SHAPES = {**SHAPES, **COUNTED_SHAPES}
_DRAFT = "http://json-schema.org/draft-07/schema#"
_DECIMAL: Schema = {
    "anyOf": [
        {"type": "string", "pattern": r"^\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"},
        {"type": "integer", "minimum": 0},
    ]
}


def schemas() -> dict[str, Schema]:
    """Every schema by the name of its file in `catalog/schema/`."""
    return {f"{file.name}.json": _file(file) for file in FILES}


def schema_text(schema: Schema) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _file(file: Shape) -> Schema:
    used: dict[str, Schema] = {}
    _collect(file, used)
    return {
        "$schema": _DRAFT,
        "title": file.name,
        **_mapping(file),
        "definitions": dict(sorted(used.items())),
    }


def _collect(shape: Shape, used: dict[str, Schema]) -> None:
    for field in shape.fields:
        for name in field.of:
            if name not in used:
                shape = _SHAPES[name]
                used[name] = _mapping(shape)
                _collect(shape, used)


def _mapping(shape: Shape) -> Schema:
    properties: Schema = {"model": {"const": shape.model}} if shape.model else {}
    properties.update({field.name: _field(field) for field in shape.fields})
    required = [field.name for field in shape.fields if field.required]
    return {
        "description": shape.says,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": [*(["model"] if shape.model else []), *required],
    }


def _field(field: Field) -> Schema:
    found: Schema = {"description": field.says, **_kind(field)}
    if field.default is not None:
        found["default"] = field.default
    return found


def _kind(field: Field) -> Schema:
    references: list[object] = [{"$ref": f"#/definitions/{name}"} for name in field.of]
    whole: Schema = {"type": "integer", "minimum": field.low}
    text: Schema = {"type": "string", "minLength": 1}
    known: dict[Kind, Schema] = {
        Kind.TEXT: _text(field, text),
        Kind.DECIMAL: _DECIMAL,
        Kind.WHOLE: whole if field.high is None else {**whole, "maximum": field.high},
        Kind.FLAG: {"type": "boolean"},
        Kind.MOMENT: {"type": "string", "format": "date-time"},
        Kind.TEXTS: {"type": "array", "items": text, "minItems": field.low, "uniqueItems": True},
        Kind.TEXT_MAP: {"type": "object", "additionalProperties": text},
        Kind.SHAPE: {"allOf": references},
        Kind.SHAPES: {"type": "array", "items": (references or [{}])[0]},
        Kind.CHOICE_OF_SHAPES: {"oneOf": references},
    }
    return known[field.kind]


def _text(field: Field, text: Schema) -> Schema:
    if field.choices:
        return {"enum": list(field.choices)}
    return {**text, "pattern": field.pattern} if field.pattern else text

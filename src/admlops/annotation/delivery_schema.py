"""JSON Schema of a delivery in ASAM OpenLABEL 1.0, narrowed to a definition.

It refuses what can be told from one JSON file alone: categories, attributes and values that the
definition does not have, boxes without a size. What needs the category beside the box (sizes,
mandatory attributes) or the points is told by the rules ANNO001 to ANNO010.

Source: ASAM OpenLABEL 1.0.0, JSON schema.
"""

from collections.abc import Iterable
from typing import Any

from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.definition_check import IGNORE_CATEGORY
from admlops.annotation.labelling_rules import AttributeDefinition

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The dialect of ASAM's own schema."""
_NUMBER = {"type": "number"}
_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
_CENTRE = [_NUMBER] * 3
_SIZE = [_POSITIVE] * 3


def make_delivery_schema(definition: DatasetDefinition) -> dict[str, Any]:
    """Return the JSON Schema that every OpenLABEL file of a delivery must meet."""
    return {
        "$schema": DIALECT,
        "title": f"Delivery of {definition.title}",
        "description": definition.description,
        "type": "object",
        "required": ["openlabel"],
        "properties": {"openlabel": {"$ref": "#/definitions/openlabel"}},
        "definitions": {
            "openlabel": _openlabel(),
            "object": _object(definition),
            "frame": _object_of({"objects": _map_of({"$ref": "#/definitions/labelled"})}),
            "labelled": _object_of(
                {"object_data": {"$ref": "#/definitions/object_data"}}, required=["object_data"]
            ),
            "object_data": _object_of(
                {
                    "cuboid": {"type": "array", "items": {"$ref": "#/definitions/cuboid"}},
                    "bbox": {"type": "array", "items": {"$ref": "#/definitions/bbox"}},
                }
            ),
            "cuboid": _geometry(_cuboid_values()),
            "bbox": _geometry(
                {
                    "type": "array",
                    "items": [_NUMBER, _NUMBER, _POSITIVE, _POSITIVE],
                    "minItems": 4,
                    "maxItems": 4,
                }
            ),
            "attributes": _attributes(definition.attributes),
        },
    }


def _openlabel() -> dict[str, Any]:
    metadata = _object_of(
        {"schema_version": {"type": "string", "pattern": r"^1\.\d+\.\d+$"}},
        required=["schema_version"],
    )
    return _object_of(
        {
            "metadata": metadata,
            "objects": _map_of({"$ref": "#/definitions/object"}),
            "frames": {
                "type": "object",
                "patternProperties": {"^[0-9]+$": {"$ref": "#/definitions/frame"}},
                "additionalProperties": False,
            },
        },
        required=["metadata", "frames"],
    )


def _object(definition: DatasetDefinition) -> dict[str, Any]:
    names = list(definition.category_names)
    if definition.rules.ignore_regions != "none":
        names.append(IGNORE_CATEGORY)
    return _object_of({"type": {"enum": names}}, required=["name", "type"])


def _cuboid_values() -> dict[str, Any]:
    """Return the two layouts: centre, quaternion, size; or centre, rotation angles, size."""
    quaternion = [{"type": "number", "minimum": -1, "maximum": 1}] * 4
    layouts = [_CENTRE + quaternion + _SIZE, _CENTRE + [_NUMBER] * 3 + _SIZE]
    return {
        "oneOf": [
            {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}
            for items in layouts
        ]
    }


def _geometry(values: dict[str, Any]) -> dict[str, Any]:
    return _object_of(
        {"val": values, "attributes": {"$ref": "#/definitions/attributes"}},
        required=["name", "val"],
    )


def _attributes(attributes: Iterable[AttributeDefinition]) -> dict[str, Any]:
    """Return the schema of a geometry's attributes, OpenLABEL's lists of texts and booleans."""
    choices = [item for item in attributes if not item.is_flag]
    flags = [item for item in attributes if item.is_flag]
    texts = [_entry(item.name, {"enum": list(item.allowed)}) for item in choices]
    booleans = [_entry(item.name, {"type": "boolean"}) for item in flags]
    return _object_of({"text": _list_of(texts), "boolean": _list_of(booleans)})


def _entry(name: str, value: dict[str, Any]) -> dict[str, Any]:
    return _object_of({"name": {"const": name}, "val": value}, required=["name", "val"])


def _list_of(entries: list[dict[str, Any]]) -> dict[str, Any]:
    if not entries:
        return {"type": "array", "maxItems": 0}
    return {"type": "array", "items": {"anyOf": entries}}


def _object_of(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return schema | ({"required": required} if required else {})


def _map_of(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}

"""What labelling tools are set up with: CVAT's labels, and OpenLABEL's ontology and streams.

Sources: CVAT, raw label constructor and `LabelType` of its REST API; ASAM OpenLABEL 1.0.0.
"""

from typing import Any

from admlops.analysis.drawing import colours_of
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.definition_check import IGNORE_CATEGORY, UNDEFINED_VALUE
from admlops.annotation.labelling_rules import AttributeDefinition
from admlops.formats.openlabel.layout import EGO, SCHEMA_VERSION, WORLD

_IGNORE_COLOUR = "#9aa5b1"


def make_cvat_labels(definition: DatasetDefinition) -> list[dict[str, Any]]:
    """Return the labels of a CVAT project, as its raw label constructor takes them.

    What is drawn in space and in images may be drawn as anything; a task knows one of them. A
    choice starts as undefined, so that CVAT tells what nobody has decided from what somebody has;
    the rules take it for absent.
    """
    colours = colours_of(definition.category_names)
    labels: list[dict[str, Any]] = [
        {
            "name": name,
            "color": colours[name],
            "type": _cvat_type(definition),
            "attributes": [_cvat_attribute(item) for item in definition.attributes_of(name)],
        }
        for name in definition.category_names
    ]
    if definition.rules.ignore_regions != "none":
        in_image = definition.rules.ignore_regions == "image_box"
        labels.append(
            {
                "name": IGNORE_CATEGORY,
                "color": _IGNORE_COLOUR,
                "type": "rectangle" if in_image else "cuboid",
                "attributes": [],
            }
        )
    return labels


def _cvat_type(definition: DatasetDefinition) -> str:
    if len(definition.shapes) > 1:
        return "any"
    return "cuboid" if "space_box" in definition.shapes else "rectangle"


def _cvat_attribute(attribute: AttributeDefinition) -> dict[str, Any]:
    values = list(attribute.allowed)
    if not attribute.is_flag:
        values = [UNDEFINED_VALUE, *values]
    return {
        "name": attribute.name,
        "input_type": "checkbox" if attribute.is_flag else "select",
        "mutable": attribute.is_mutable,
        "values": ["false"] if attribute.is_flag else values,
        "default_value": "false" if attribute.is_flag else UNDEFINED_VALUE,
    }


def make_openlabel_project(definition: DatasetDefinition) -> dict[str, Any]:
    """Return an OpenLABEL file without labels: metadata, ontology, coordinate systems, streams."""
    names = [*definition.category_names]
    if definition.rules.ignore_regions != "none":
        names.append(IGNORE_CATEGORY)
    sensors = [item.name for item in definition.sensors]
    systems: dict[str, Any] = {
        WORLD: {"type": "scene_cs", "parent": "", "children": [EGO]},
        EGO: {"type": "local_cs", "parent": WORLD, "children": sensors},
    }
    systems |= {name: {"type": "sensor_cs", "parent": EGO, "children": []} for name in sensors}
    return {
        "openlabel": {
            "metadata": {
                "schema_version": SCHEMA_VERSION,
                "name": definition.name,
                "comment": definition.description,
                "file_version": definition.version,
            },
            "ontologies": {
                "0": {
                    "uri": f"{definition.name} {definition.version}",
                    "boundary_list": names,
                    "boundary_mode": "include",
                }
            },
            "coordinate_systems": systems,
            "streams": {
                item.name: {"type": item.modality, "description": item.description}
                for item in definition.sensors
            },
            "objects": {},
            "frames": {},
        }
    }

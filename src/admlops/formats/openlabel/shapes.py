"""Cuboids and boxes of an OpenLABEL frame as tables of boxes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from admlops.formats.box_details import columns_of
from admlops.formats.label_file import BrokenLabelError
from admlops.formats.openlabel.coordinates import CoordinateSystems, numbers, rotation_from_xyzw
from admlops.formats.openlabel.layout import ATTRIBUTE_KINDS, CORNERS, INDEX
from admlops.geometry.pose import wrap_angle
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import Boxes

TableT = TypeVar("TableT", bound=BoxTable)
Shape = tuple[str, str, Mapping[str, Any]]

_MAX_TILT_RAD = math.radians(1.0)
_MAX_EDIT = 1e-6
_NUM_EULER, _NUM_QUATERNION = 9, 10
_TYPES: Mapping[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "num": (int, float),
    "text": (str,),
    "vec": (list,),
}


@dataclass
class Tilt:
    """Boxes of a frame that do not stand upright."""

    count: int = 0
    largest_rad: float = 0.0

    def look(self, rotation: NDArray[np.float64]) -> None:
        """Count a rotation whose z axis leans."""
        lean = math.acos(min(1.0, max(-1.0, float(rotation[2, 2]))))
        if lean > _MAX_TILT_RAD:
            self.count += 1
            self.largest_rad = max(self.largest_rad, lean)

    @property
    def text(self) -> str:
        """What was seen, in words."""
        return f"{self.count} boxes lean, by up to {math.degrees(self.largest_rad):.1f} degrees"


def decode_table(
    kind: type[TableT], shapes: Sequence[Shape], systems: CoordinateSystems, tilt: Tilt
) -> TableT:
    """Return the boxes of a frame in their order.

    Args:
        kind: Boxes of cuboids, or Boxes2d of boxes.
        shapes: track, category and JSON of each.
        systems: to bring cuboids into the vehicle's frame.
        tilt: counts what does not stand upright.

    Raises:
        BrokenLabelError: a shape is not as the format says.
    """
    shapes = sorted(shapes, key=lambda shape: _index(shape[2]))
    columns: dict[str, Any] = columns_of([_details(item) for _, _, item in shapes], kind)
    if kind is Boxes:
        rows = [_cuboid(item, systems, tilt) for _, _, item in shapes]
        rows_7 = np.array(rows, dtype=np.float64).reshape(-1, 7)
        columns |= {"center_m": rows_7[:, :3], "size_m": rows_7[:, 3:6], "yaw_rad": rows_7[:, 6]}
    else:
        columns["box2d_px"] = [_bbox(item) for _, _, item in shapes]
        cameras = [str(item.get("coordinate_system", "")) for _, _, item in shapes]
        columns["camera"] = np.array(cameras, dtype=object)
    columns["track_id"] = np.array([track for track, _, _ in shapes], dtype=object)
    columns["category"] = np.array([category for _, category, _ in shapes], dtype=object)
    return kind.from_columns(len(shapes), columns)


def _cuboid(item: Mapping[str, Any], systems: CoordinateSystems, tilt: Tilt) -> list[float]:
    values = item.get("val")
    if not isinstance(values, list) or len(values) not in (_NUM_EULER, _NUM_QUATERNION):
        raise BrokenLabelError(f"cuboid is {values!r:.60}, expected 9 or 10 numbers")
    val = numbers(values, len(values), "cuboid")
    center, turn, size = val[:3], val[3:-3], val[-3:]
    if (size < 0).any():
        raise BrokenLabelError(f"cuboid has sizes {size.tolist()}, expected positive ones")
    yaw = float(turn[2])
    rotation: NDArray[np.float64] | None = None
    if len(turn) == _NUM_QUATERNION - 6:
        x, y, z, w = turn.tolist()
        rotation = rotation_from_xyzw((x, y, z, w), "cuboid")
    elif turn[0] or turn[1]:
        rotation = _from_roll_pitch_yaw(turn)
    ego_from_system = systems.ego_from(str(item.get("coordinate_system", "")))
    if ego_from_system is not None:
        own = _from_roll_pitch_yaw(turn) if rotation is None else rotation
        rotation = ego_from_system[:3, :3] @ own
        center = ego_from_system[:3, :3] @ center + ego_from_system[:3, 3]
    if rotation is not None:
        tilt.look(rotation)
        yaw = math.atan2(rotation[1, 0], rotation[0, 0])
    if not -math.pi <= yaw < math.pi:
        yaw = float(wrap_angle(yaw))
    return [*center.tolist(), *size.tolist(), yaw]


def _from_roll_pitch_yaw(angles_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (3, 3) rotation about x, then y, then z of the fixed axes."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles_rad), np.sin(angles_rad)
    return np.array(
        [
            [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
            [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
            [-sy, cy * sx, cy * cx],
        ]
    )


def _bbox(item: Mapping[str, Any]) -> list[float]:
    x, y, width, height = numbers(item.get("val"), 4, "bbox").tolist()
    box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    if CORNERS in item:
        corners = numbers(item[CORNERS], 4, CORNERS)
        if np.abs(corners - box).max() <= _MAX_EDIT * max(1.0, float(np.abs(box).max())):
            return corners.tolist()
    return box


def _details(item: Mapping[str, Any]) -> dict[str, Any]:
    groups = item.get("attributes", {})
    if not isinstance(groups, dict):
        raise BrokenLabelError(f"attributes are {groups!r:.40}, expected a JSON object")
    details: dict[str, Any] = {}
    for kind in ATTRIBUTE_KINDS:
        entries = groups.get(kind, [])
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                raise BrokenLabelError(f"attribute {kind} is {entry!r:.60}; it has no name")
            details[entry["name"]] = _attribute(kind, entry)
    return details


def _attribute(kind: str, entry: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any plain value
    value = entry.get("val")
    if not isinstance(value, _TYPES[kind]) or (kind == "num" and isinstance(value, bool)):
        raise BrokenLabelError(f"{kind} {entry['name']!r:.40} is {value!r:.40}")
    if kind == "num" and isinstance(value, float) and not math.isfinite(value):
        raise BrokenLabelError(f"{kind} {entry['name']!r:.40} is not finite")
    return value


def _index(item: Mapping[str, Any]) -> int:
    value = item.get(INDEX, 0)
    return value if isinstance(value, int) else 0

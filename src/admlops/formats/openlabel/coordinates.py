"""Coordinate systems of an OpenLABEL file: from the system of a cuboid to the vehicle's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.formats.box_details import finite
from admlops.formats.label_file import BrokenLabelError
from admlops.geometry.pose import (
    invert,
    is_rotation,
    make_transform,
    rotation_from_quaternion,
)

MAX_DEPTH = 64
"""Systems hang below each other no deeper; a longer chain is a circle."""


def read_pose(data: Any, what: str) -> NDArray[np.float64]:  # noqa: ANN401 - any JSON value
    """Return the (4, 4) matrix of OpenLABEL's three ways to write a transform.

    Euler angles have the sequence "ZYX" (yaw, pitch, roll) unless the file names "XYZ".

    Raises:
        BrokenLabelError: the data is none of them.
    """
    if not isinstance(data, Mapping):
        raise BrokenLabelError(f"{what} is {data!r:.60}, expected a transform")
    if "matrix4x4" in data:
        matrix = numbers(data["matrix4x4"], 16, f"{what}.matrix4x4").reshape(4, 4)
        if not is_rotation(matrix[:3, :3]) or matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
            raise BrokenLabelError(f"{what}.matrix4x4 does more than turn and shift")
        return matrix
    translation = numbers(data.get("translation"), 3, f"{what}.translation")
    if "quaternion" in data:
        x, y, z, w = numbers(data["quaternion"], 4, f"{what}.quaternion")
        return make_transform(rotation_from_xyzw((x, y, z, w), what), translation)
    angles = numbers(data.get("euler_angles"), 3, f"{what}.euler_angles")
    sequence = str(data.get("sequence", "ZYX")).upper()
    if sequence not in ("ZYX", "XYZ"):
        raise BrokenLabelError(f"{what}.sequence is {sequence!r:.20}; ZYX and XYZ are known")
    return make_transform(_rotation_from_euler(angles, sequence), translation)


def rotation_from_xyzw(
    quaternion_xyzw: tuple[float, float, float, float], what: str
) -> NDArray[np.float64]:
    """Return the (3, 3) rotation of a quaternion in OpenLABEL's order.

    Raises:
        BrokenLabelError: all four numbers are zero.
    """
    x, y, z, w = quaternion_xyzw
    if not 1e-6 < x * x + y * y + z * z + w * w < 1e6:
        raise BrokenLabelError(f"{what}: quaternion {quaternion_xyzw} is not a rotation")
    return rotation_from_quaternion([w, x, y, z])


def numbers(values: Any, count: int, what: str) -> NDArray[np.float64]:  # noqa: ANN401 - JSON
    """Return a list of `count` finite numbers as an array.

    Raises:
        BrokenLabelError: it is something else.
    """
    if not isinstance(values, list) or len(values) != count:
        raise BrokenLabelError(f"{what} is {values!r:.60}, expected {count} numbers")
    return np.array([finite(value, what) for value in values])


def _rotation_from_euler(angles_rad: NDArray[np.float64], sequence: str) -> NDArray[np.float64]:
    rotation = np.eye(3)
    for angle, axis in zip(angles_rad, sequence, strict=True):
        place = "XYZ".index(axis)
        first, second = (place + 1) % 3, (place + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
        rotation = rotation @ turn
    return rotation


class CoordinateSystems:
    """The systems of a file, with what one frame says of them.

    Attributes:
        ego: name of the vehicle's system: the first of type "local_cs"; "" where there is none,
            and every system is then taken for the vehicle's.
    """

    def __init__(self, declared: Mapping[str, Any], transforms: Mapping[str, Any]) -> None:
        self._declared = declared
        self._moved: dict[tuple[str, str], NDArray[np.float64]] = {}
        for name, item in transforms.items():
            if not isinstance(item, Mapping) or not {"src", "dst"} <= item.keys():
                raise BrokenLabelError(f"transform {name!r:.40} names no src and dst")
            pose = read_pose(item.get("transform_src_to_dst"), f"transform {name!r:.40}")
            self._moved[str(item["src"]), str(item["dst"])] = pose
        local = (
            name
            for name, system in declared.items()
            if isinstance(system, Mapping) and system.get("type") == "local_cs"
        )
        self.ego = next(local, "")

    def ego_from(self, name: str) -> NDArray[np.float64] | None:
        """Return the (4, 4) transform from a system to the vehicle's; None where it is that one.

        Raises:
            BrokenLabelError: the system is not declared, or does not hang with the vehicle's.
        """
        if name in ("", self.ego) or not self.ego:
            return None
        if (name, self.ego) in self._moved:
            return self._moved[name, self.ego]
        top, top_from_system = self._climb(name, self.ego)
        if top == self.ego:
            return top_from_system
        other, root_from_ego = self._climb(self.ego, "")
        if top != other:
            raise BrokenLabelError(f"coordinate systems {name!r} and {self.ego!r} have no link")
        return invert(root_from_ego) @ top_from_system

    def global_from_ego(self) -> NDArray[np.float64]:
        """Return the (4, 4) pose of the vehicle; identity where the file has none."""
        if not self.ego:
            return np.eye(4)
        parent = self._parent(self.ego)
        if (self.ego, parent) in self._moved:
            return self._moved[self.ego, parent]
        return self._climb(self.ego, "")[1]

    def _parent(self, name: str) -> str:
        system = self._declared.get(name)
        if not isinstance(system, Mapping):
            raise BrokenLabelError(f"coordinate system {name!r:.40} is not declared")
        return str(system.get("parent") or "")

    def _climb(self, name: str, stop: str) -> tuple[str, NDArray[np.float64]]:
        """Return the system `stop`, or the root where it is not above, and the way up to it."""
        steps: list[NDArray[np.float64]] = []
        while name != stop and (parent := self._parent(name)):
            if len(steps) == MAX_DEPTH:
                raise BrokenLabelError(f"coordinate system {name!r:.40} hangs below itself")
            steps.append(self._step(name, parent))
            name = parent
        way = steps[0] if steps else np.eye(4)
        for step in steps[1:]:
            way = step @ way
        return name, way

    def _step(self, name: str, parent: str) -> NDArray[np.float64]:
        if (name, parent) in self._moved:
            return self._moved[name, parent]
        data = self._declared[name].get("pose_wrt_parent")
        return np.eye(4) if data is None else read_pose(data, f"coordinate system {name!r:.40}")

"""ONCE's sequence file: calibration, poses and labels of a drive, all in the lidar's frame.

The lidar's axes are x left, y back, z up; a box is centre x y z, length, width, height and the
angle from x to its front, counter-clockwise. A pose is a quaternion x y z w and a shift, from the
lidar's frame to a fixed one. Our ego frame lies below the lidar on the road: ONCE does not say how
high the lidar stands; labelled objects stand 1.6 to 1.7 m below it.
Source: https://once-for-auto-driving.github.io/documentation.html and the dataset's devkit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.formats.box_details import attributes_text
from admlops.geometry.pose import (
    is_rotation,
    make_transform,
    rotation_about_z,
    rotation_from_quaternion,
    wrap_angle,
)
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor

LIDAR_HEIGHT_M = 1.7
"""Assumed height of the lidar over the road."""
YAW_OF_LIDAR_RAD = np.pi / 2
EGO_FROM_LIDAR = make_transform(rotation_about_z(YAW_OF_LIDAR_RAD), [0.0, 0.0, LIDAR_HEIGHT_M])
LIDAR = CalibratedSensor("lidar_top", "lidar", EGO_FROM_LIDAR)
CAMERAS: Mapping[str, str] = MappingProxyType(
    {
        "cam01": "camera_front",
        "cam03": "camera_front_2",
        "cam05": "camera_left_back",
        "cam06": "camera_left_front",
        "cam07": "camera_right_front",
        "cam08": "camera_right_back",
        "cam09": "camera_back",
    }
)
"""Our name of each camera."""
CATEGORIES: Mapping[str, str] = MappingProxyType(
    {name: name.lower() for name in ("Car", "Truck", "Bus", "Pedestrian", "Cyclist")}
)
OBJECT = "object"
"""Attribute of boxes in space and in images: the object's number in the frame, which joins them."""


class BrokenSequenceError(ValueError):
    """A part of a sequence file is not as the format says."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a frame, with ONCE's names as categories."""

    boxes: Boxes
    boxes_2d: Boxes2d


def parse_cameras(content: Any) -> dict[str, CalibratedSensor]:  # noqa: ANN401 - any JSON
    """Return the cameras of a sequence by ONCE's name.

    Raises:
        BrokenSequenceError: a calibration is not whole.
    """
    if not isinstance(content, dict):
        raise BrokenSequenceError("no calibration")
    cameras = {}
    for name, ours in CAMERAS.items():
        if name not in content:
            continue
        item = content[name] if isinstance(content[name], dict) else {}
        place = numbers(item.get("cam_to_velo"), (4, 4), f"{name} cam_to_velo")
        matrix = numbers(item.get("cam_intrinsic"), (3, 3), f"{name} cam_intrinsic")
        lens = numbers(item.get("distortion", []), (-1,), f"{name} distortion")
        is_placed = is_rotation(place[:3, :3], tolerance=1e-2)
        if not is_placed or min(matrix[0, 0], matrix[1, 1]) <= 0:
            raise BrokenSequenceError(f"{name} has no rigid place or no focal length")
        cameras[name] = CalibratedSensor(ours, "camera", EGO_FROM_LIDAR @ place, matrix, lens)
    return cameras


def parse_pose(content: Any) -> NDArray[np.float64]:  # noqa: ANN401 - any JSON
    """Return the (4, 4) pose of the ego frame; identity where the format states none (noughts).

    Raises:
        BrokenSequenceError: it is no pose.
    """
    pose = numbers(content, (7,), "pose")
    if not pose.any():
        return np.eye(4)
    x, y, z, w = pose[:4]
    if np.abs(pose[:4]).max() > 2.0 or abs(np.linalg.norm(pose[:4]) - 1.0) > 1e-2:
        raise BrokenSequenceError(f"quaternion {pose[:4].tolist()} has another length than one")
    global_from_lidar = make_transform(rotation_from_quaternion([w, x, y, z]), pose[4:])
    return global_from_lidar @ np.linalg.inv(EGO_FROM_LIDAR)


def parse_labels(content: Any) -> Labels:  # noqa: ANN401 - any JSON
    """Return the labels of a frame.

    Raises:
        BrokenSequenceError: a field is absent, or of another shape.
    """
    if not isinstance(content, dict):
        raise BrokenSequenceError("labels are no object")
    names = content.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BrokenSequenceError("names are no list of names")
    rows = numbers(content.get("boxes_3d"), (len(names), 7), "boxes_3d")
    seen = content.get("boxes_2d", {})
    if not isinstance(seen, dict):
        raise BrokenSequenceError("boxes_2d are no object")
    boxes_2d = {
        camera: numbers(seen[camera], (len(names), 4), f"boxes_2d of {camera}")
        for camera in CAMERAS
        if camera in seen
    }
    objects = _texts([attributes_text({OBJECT: row}) for row in range(len(names))])
    front = boxes_2d.get("cam01", np.full((len(names), 4), np.nan))
    boxes = Boxes.make(
        rows[:, :3] @ EGO_FROM_LIDAR[:3, :3].T + EGO_FROM_LIDAR[:3, 3],
        rows[:, 3:6],
        wrap_angle(rows[:, 6] + YAW_OF_LIDAR_RAD),
        names,
        box2d_px=np.where(_is_seen(front)[:, None], front, np.nan),
        attributes=objects,
    )
    parts = [Boxes2d.empty()]
    for camera, corners in boxes_2d.items():
        own = np.flatnonzero(_is_seen(corners))
        parts.append(
            Boxes2d.make(
                corners[own],
                _texts(names)[own],
                camera=_texts([CAMERAS[camera]] * len(own)),
                attributes=objects[own],
            )
        )
    return Labels(boxes, Boxes2d.concatenate(parts))


def _is_seen(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (N,) which objects are in the image; others are marked by -1."""
    seen: NDArray[np.bool_] = (corners != -1.0).any(axis=1) & ~np.isnan(corners).any(axis=1)
    return seen


def _texts(values: list[str]) -> NDArray[np.object_]:
    return np.array(values, dtype=object).reshape(-1)


def numbers(content: Any, shape: Sequence[int], what: str) -> NDArray[np.float64]:  # noqa: ANN401
    """Return a list of finite numbers as an array of a shape.

    Raises:
        BrokenSequenceError: it is none.
    """
    try:
        array = np.array(content, dtype=np.float64)
        if array.size == 0:
            array = array.reshape([max(count, 0) for count in shape])
    except (TypeError, ValueError, OverflowError):
        raise BrokenSequenceError(f"{what} are no numbers of one shape") from None
    is_shape = array.ndim == len(shape) and all(
        wanted in (-1, got) for wanted, got in zip(shape, array.shape, strict=True)
    )
    if not is_shape or not np.isfinite(array).all():
        expected = " x ".join("N" if count < 0 else str(count) for count in shape)
        raise BrokenSequenceError(f"{what} are not {expected} finite numbers")
    return array

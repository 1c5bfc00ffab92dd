"""Waymo's labels: boxes in the vehicle frame with tracks and speeds, and boxes in images.

Source: label.proto; that speeds are in the global frame is a maintainer's word (issue 39 of the
dataset's repository).
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from admlops.formats.box_details import attributes_text
from admlops.formats.waymo.calibration import CAMERAS
from admlops.formats.waymo.wire import Message
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d

TYPES: Mapping[int, str] = MappingProxyType(
    {
        0: "TYPE_UNKNOWN",
        1: "TYPE_VEHICLE",
        2: "TYPE_PEDESTRIAN",
        3: "TYPE_SIGN",
        4: "TYPE_CYCLIST",
    }
)
CATEGORIES: Mapping[str, str] = MappingProxyType(
    {
        "TYPE_UNKNOWN": "",
        "TYPE_VEHICLE": "vehicle",
        "TYPE_PEDESTRIAN": "pedestrian",
        "TYPE_SIGN": "sign",
        "TYPE_CYCLIST": "cyclist",
    }
)
"""Waymo's types, and ours: "vehicle" is every kind of motor vehicle."""
_BOX, _METADATA, _TYPE, _ID = 1, 2, 3, 4
_DETECTION_DIFFICULTY, _TRACKING_DIFFICULTY, _NUM_POINTS = 5, 6, 7
_MOST_VISIBLE_CAMERA, _NUM_TOP_POINTS = 11, 13
_CENTER, _LENGTH, _WIDTH, _HEIGHT, _HEADING = (1, 2, 3), 5, 4, 6, 7
_SPEED = (1, 2, 5)
_CAMERA_NAME, _CAMERA_LABELS = 1, 2


def read_boxes(labels: list[Message], global_from_ego: NDArray[np.float64]) -> Boxes:
    """Return labelled boxes; `num_points` is what the labels say.

    What a label says of difficulty, of the roof lidar's points and of the camera
    that sees it best becomes attributes.

    Raises:
        BrokenMessageError: a label cannot be read.
    """
    boxes = [label.message(_BOX) for label in labels]
    center = [[box.double(number, np.nan) for number in _CENTER] for box in boxes]
    size = [[box.double(number, np.nan) for number in (_LENGTH, _WIDTH, _HEIGHT)] for box in boxes]
    return Boxes.make(
        np.array(center).reshape(-1, 3),
        np.array(size).reshape(-1, 3),
        [box.double(_HEADING) for box in boxes],
        _names(labels),
        track_id=_texts([label.text(_ID) for label in labels]),
        num_points=[label.integer(_NUM_POINTS) for label in labels],
        velocity_mps=_velocities(labels, global_from_ego),
        attributes=_texts([_attributes(label) for label in labels]),
    )


def read_boxes_2d(camera_labels: list[Message], cameras: set[str]) -> Boxes2d | None:
    """Return boxes in images of some cameras; None where none of them was labelled.

    Raises:
        BrokenMessageError: a label cannot be read.
    """
    labels, names = [], []
    is_labelled = False
    for item in camera_labels:
        camera = CAMERAS.get(item.integer(_CAMERA_NAME), "")
        if camera in cameras:
            is_labelled = True
            own = item.messages(_CAMERA_LABELS)
            labels += own
            names += [camera] * len(own)
    if not is_labelled:
        return None
    boxes = [label.message(_BOX) for label in labels]
    center = np.array([[box.double(axis, np.nan) for axis in _CENTER[:2]] for box in boxes])
    size = np.array([[box.double(axis, np.nan) for axis in (_LENGTH, _WIDTH)] for box in boxes])
    center, size = center.reshape(-1, 2), size.reshape(-1, 2)
    return Boxes2d.make(
        np.concatenate([center - size / 2.0, center + size / 2.0], axis=1),
        _names(labels),
        camera=_texts(names),
        track_id=_texts([label.text(_ID) for label in labels]),
        attributes=_texts([_attributes(label) for label in labels]),
    )


def _names(labels: list[Message]) -> list[str]:
    numbers = [label.integer(_TYPE) for label in labels]
    return [TYPES.get(number, f"type {number}") for number in numbers]


def _texts(values: list[str]) -> NDArray[np.object_]:
    return np.array(values, dtype=object).reshape(-1)


def _velocities(labels: list[Message], global_from_ego: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 2) in the ego frame; without a vertical speed it is taken as nought."""
    speeds = [label.message(_METADATA) for label in labels]
    in_global = np.array(
        [
            [*(speed.double(number, np.nan) for number in _SPEED[:2]), speed.double(_SPEED[2])]
            for speed in speeds
        ]
    ).reshape(-1, 3)
    in_ego: NDArray[np.float64] = in_global @ global_from_ego[:3, :3]
    return in_ego[:, :2]


def _attributes(label: Message) -> str:
    values: dict[str, int | str] = {
        "detection_difficulty": label.integer(_DETECTION_DIFFICULTY),
        "tracking_difficulty": label.integer(_TRACKING_DIFFICULTY),
        "num_top_lidar_points": label.integer(_NUM_TOP_POINTS),
        "most_visible_camera": label.text(_MOST_VISIBLE_CAMERA),
    }
    return attributes_text({name: value for name, value in values.items() if value})

"""Tracklets of a KITTI raw drive: boxes that were labelled in the lidar's frame.

Source: KITTI raw data development kit, readme.txt and tracklets.h.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from admlops.formats.box_details import attributes_text
from admlops.formats.kitti.reader import type_name
from admlops.formats.kitti_tracking.labels import LEVEL
from admlops.formats.xml_stream import iterate_parts
from admlops.geometry.pose import wrap_angle
from admlops.structures.boxes import OCCLUSION_UNKNOWN, Boxes

_MAX_OCCLUSION = 2
_MAX_NUMBER = 1e9
"""No place, size, angle or state is so large."""
_LEVELS = (1, 2)
"""Truncation states of objects at the image's edge and outside of it."""

Row = tuple[str, str, tuple[float, ...], int, int]
"""Category, track, bottom centre and sizes and yaw in the lidar's frame, occlusion, truncation."""


def read_tracklets(path: Path) -> Mapping[int, list[Row]]:
    """Return the labelled objects of each frame by number.

    Raises:
        DataError: the file cannot be read or is no such XML.
        ValueError: a tracklet is not whole.
    """
    frames: dict[int, list[Row]] = defaultdict(list)
    for part in iterate_parts(path, "boost_serialization"):
        for track, item in enumerate(part.findall("item")):
            kind = type_name(_text(item, "objectType"))
            first = int(_text(item, "first_frame"))
            size_m = tuple(_number(item, name) for name in ("l", "w", "h"))
            poses = item.find("poses")
            for step, pose in enumerate([] if poses is None else poses.findall("item")):
                place = tuple(_number(pose, name) for name in ("tx", "ty", "tz"))
                states = [int(_number(pose, name)) for name in ("occlusion", "truncation")]
                numbers = (*place, *size_m, _number(pose, "rz"))
                frames[first + step].append((kind, str(track), numbers, states[0], states[1]))
    return frames


def _text(element: Element, name: str) -> str:
    text = element.findtext(name)
    if text is None or not text.strip():
        raise ValueError(f"a tracklet has no {name}")
    return text.strip()


def _number(element: Element, name: str) -> float:
    value = float(_text(element, name))
    if not abs(value) < _MAX_NUMBER:
        raise ValueError(f"a tracklet's {name} is {value:g}")
    return value


def boxes_in_ego(rows: list[Row], ego_from_lidar: NDArray[np.float64]) -> Boxes:
    """Return the boxes of a frame, upright in the ego frame."""
    numbers = np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 7)
    middle_m = numbers[:, :3] + np.column_stack([np.zeros((len(rows), 2)), numbers[:, 5] / 2.0])
    rotation = ego_from_lidar[:3, :3]
    heading = np.column_stack([np.cos(numbers[:, 6]), np.sin(numbers[:, 6]), np.zeros(len(rows))])
    heading = heading @ rotation.T
    occlusion = np.array([row[3] for row in rows], dtype=np.int64)
    levels = [row[4] for row in rows]
    return Boxes.make(
        middle_m @ rotation.T + ego_from_lidar[:3, 3],
        numbers[:, 3:6],
        wrap_angle(np.arctan2(heading[:, 1], heading[:, 0])),
        [row[0] for row in rows],
        track_id=np.array([row[1] for row in rows], dtype=object),
        occlusion=np.where(
            (occlusion >= 0) & (occlusion <= _MAX_OCCLUSION), occlusion, OCCLUSION_UNKNOWN
        ),
        truncation=np.array([0.0 if level == 0 else np.nan for level in levels]),
        attributes=np.array(
            [attributes_text({LEVEL: level} if level in _LEVELS else {}) for level in levels],
            dtype=object,
        ),
    )

"""KITTI tracking's label files: one per sequence, a row per frame and object.

A row is ``frame track type truncated occluded alpha left top right bottom height width length x y
z rotation_y``, after the track as in KITTI object; but truncated is a level 0, 1 or 2, not a
share. Source: KITTI tracking development kit, readme.txt.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.formats.box_details import attributes_text
from admlops.formats.kitti.labels import LabelTable, parse_labels
from admlops.structures.boxes import Boxes

IGNORED = "dontcare"
LEVEL = "truncation_level"
"""Attribute of boxes that are cut by the image's edge: 1 partly, 2 largely."""


@dataclass(frozen=True, slots=True)
class FrameLabels:
    """The labels of one frame.

    Attributes:
        boxes: with KITTI's types, lower case, as categories.
        ignore_regions_px: (M, 4) left top right bottom.
    """

    boxes: Boxes
    ignore_regions_px: NDArray[np.float64]


def parse_sequence(content: bytes, name: str) -> Mapping[int, FrameLabels]:
    """Return the labels of a sequence by frame number.

    Raises:
        DataError: a row is wrong; names file and line.
        ValueError: a row does not begin with two whole numbers.
    """
    frames, tracks, rows = [], [], []
    for number, line in enumerate(content.splitlines(), start=1):
        parts = line.split(None, 2)
        if not parts:
            continue
        try:
            frames.append(int(parts[0]))
            tracks.append(int(parts[1]))
            rows.append(parts[2])
        except (ValueError, IndexError):
            raise ValueError(f"line {number} does not begin with frame, track and type") from None
    table = parse_labels([b"\n".join(rows)], [name])
    frame_of_row = np.array(frames, dtype=np.int64)
    track_of_row = np.array(tracks, dtype=np.int64)
    return {
        int(frame): _labels(table, np.flatnonzero(frame_of_row == frame), track_of_row)
        for frame in np.unique(frame_of_row)
    }


def _labels(table: LabelTable, rows: NDArray[np.int64], tracks: NDArray[np.int64]) -> FrameLabels:
    names = np.array([table.type_names[index] for index in table.type_index[rows]], dtype=object)
    is_box = names != IGNORED
    own = rows[is_box]
    rows_7 = table.as_7()[own]
    level = table.truncation[own]
    return FrameLabels(
        boxes=Boxes.make(
            rows_7[:, :3],
            rows_7[:, 3:6],
            rows_7[:, 6],
            names[is_box],
            track_id=np.array([str(track) for track in tracks[own]], dtype=object),
            occlusion=table.occlusion[own],
            truncation=np.where(level == 0, 0.0, np.nan),
            box2d_px=table.box2d_px[own],
            attributes=np.array(
                [attributes_text({LEVEL: int(value)} if value > 0 else {}) for value in level],
                dtype=object,
            ),
        ),
        ignore_regions_px=table.box2d_px[rows[~is_box]].copy(),
    )

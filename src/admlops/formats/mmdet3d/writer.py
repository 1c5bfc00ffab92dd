"""Writes frames as the info files (version 2) and clouds that mmdetection3d trains on.

mmdetection3d's lidar axes are our ego frame's. Points and boxes are written in a level frame at the
lidar's place: the ego frame's axes, so that boxes stand upright, with the lidar's height, so that
the ranges of published configs fit. Info files are JSON, which mmengine loads as it does pickle.
Source: mmdetection3d 1.4.0, docs/en/user_guides/data_info_protocal.md, and its NuScenesDataset.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.files import open_atomically, write_atomically
from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.pose import invert, make_transform, transform_cloud
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CameraImage, Frame, LidarSweep

POINTS, IMAGES = "points", "images"
"""Folders below the root, for `data_prefix` of a config."""
_UNNAMED_SPLIT = "all"
_NUM_FEATURES = 4
_PNG = b"\x89PNG"


def write_infos(root: Path, frames: Iterable[Frame], classes: Sequence[str]) -> dict[str, int]:
    """Write frames, one info file per split; return the number of frames by info file.

    Labels are places in `classes`. Unknown velocities become nought, as mmdetection3d itself would
    have them. Distortion, occlusion, tags and labels in images have no place in the format;
    a box's extent in the front image has. Info files come last: until they are there nothing is.

    Raises:
        DataError: a frame has no lidar sweep, or a category is none of the classes.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    counts: dict[str, int] = {}
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        for number, frame in enumerate(frames):
            name = f"admlops_infos_{frame.split or _UNNAMED_SPLIT}.json"
            if name not in files:
                files[name] = stack.enter_context(open_atomically(root / name))
                files[name].write(_head(label_of))
            info = _write_frame(root, number, frame, label_of)
            separator = b",\n" if counts.get(name) else b"\n"
            files[name].write(separator + json.dumps(info, allow_nan=False).encode())
            counts[name] = counts.get(name, 0) + 1
        for file in files.values():
            file.write(b"\n]}\n")
    return counts


def _head(label_of: Mapping[str, int]) -> bytes:
    about = {"categories": dict(label_of), "dataset": "admlops", "info_version": "1.1"}
    return f'{{"metainfo": {json.dumps(about)}, "data_list": ['.encode()


def _write_frame(
    root: Path, number: int, frame: Frame, label_of: Mapping[str, int]
) -> dict[str, Any]:
    """Write the files of a frame; return its info."""
    if frame.lidar is None:
        raise DataError(f"frame {frame.key} has no lidar sweep; mmdetection3d's infos need one")
    ego_from_level = _level(frame.lidar)
    level_from_ego = invert(ego_from_level)
    points = transform_cloud(
        level_from_ego @ frame.lidar.sensor.ego_from_sensor, frame.lidar.points
    )
    cloud = f"{number:06d}.bin"
    write_atomically(root / POINTS / cloud, points.astype("<f4").tobytes())
    images = {
        image.sensor.name: _write_image(root, number, image, ego_from_level)
        for image in frame.cameras
        if image.encoded and image.sensor.camera_matrix is not None
    }
    boxes = frame.boxes if frame.boxes is not None else Boxes.empty()
    return {
        "sample_idx": number,
        "token": str(frame.key),
        "timestamp": frame.key.timestamp_ns / 1e9,
        "ego2global": frame.global_from_ego.tolist(),
        "lidar_points": {
            "lidar_path": cloud,
            "num_pts_feats": _NUM_FEATURES,
            "lidar2ego": ego_from_level.tolist(),
        },
        "images": images,
        "instances": _instances(boxes, points, level_from_ego, label_of),
    }


def _level(sweep: LidarSweep) -> NDArray[np.float64]:
    """Return the (4, 4) place of the level frame: the lidar's, without its turn."""
    return make_transform(np.eye(3), sweep.sensor.ego_from_sensor[:3, 3])


def _write_image(
    root: Path, number: int, image: CameraImage, ego_from_level: NDArray[np.float64]
) -> dict[str, Any]:
    suffix = "png" if image.encoded.startswith(_PNG) else "jpg"
    path = f"{image.sensor.name}/{number:06d}.{suffix}"
    write_atomically(root / IMAGES / path, image.encoded)
    camera_from_level = invert(image.sensor.ego_from_sensor) @ ego_from_level
    image_from_camera = np.eye(4)
    image_from_camera[:3, :3] = image.sensor.camera_matrix
    return {
        "img_path": path,
        "height": image.height_px,
        "width": image.width_px,
        "cam2img": image_from_camera[:3, :3].tolist(),
        "cam2ego": image.sensor.ego_from_sensor.tolist(),
        "lidar2cam": camera_from_level.tolist(),
        "lidar2img": (image_from_camera @ camera_from_level).tolist(),
    }


def _instances(
    boxes: Boxes,
    points: NDArray[np.float32],
    level_from_ego: NDArray[np.float64],
    label_of: Mapping[str, int],
) -> list[dict[str, Any]]:
    unknown = sorted(set(boxes.category) - label_of.keys())
    if unknown:
        raise DataError(
            f"categories {', '.join(unknown)} are none of {', '.join(label_of)}; name them among "
            "the classes, or select the other boxes of each frame before"
        )
    rows_7 = boxes.as_7()
    rows_7[:, :3] += level_from_ego[:3, 3]
    counted = count_points_in_boxes(points, rows_7)
    velocity = np.nan_to_num(boxes.velocity_mps)
    corners = np.nan_to_num(boxes.box2d_px)
    return [
        {
            "bbox_3d": rows_7[row].tolist(),
            "bbox_3d_isvalid": bool(counted[row] > 0),
            "bbox_label_3d": label_of[boxes.category[row]],
            "bbox": corners[row].tolist(),
            "bbox_label": label_of[boxes.category[row]],
            "num_lidar_pts": int(counted[row]),
            "num_radar_pts": 0,
            "velocity": velocity[row].tolist(),
            "track_id": str(boxes.track_id[row]),
        }
        for row in range(len(boxes))
    ]

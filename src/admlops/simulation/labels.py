"""The truth about a simulated frame: boxes, what hides them, and where the image is ignored."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.camera import project_boxes, project_points
from admlops.geometry.pose import invert, transform_points, wrap_angle
from admlops.simulation.raycast import Hits
from admlops.simulation.scene import Scene
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor

_MAX_TRUNCATION = 0.85
_VISIBLE_SHARES = (0.70, 0.35)
_MIN_VISIBLE_SHARE = 0.06
_GRID = np.stack(
    np.meshgrid(np.linspace(-0.5, 0.5, 7), np.linspace(-0.5, 0.5, 5), np.linspace(-0.5, 0.5, 3)),
    axis=-1,
).reshape(-1, 3)


@dataclass(frozen=True, slots=True)
class Truth:
    """What an annotator would deliver for a frame.

    Attributes:
        boxes: the labels, in the ego frame.
        ignore_regions_px: (M, 4) places of objects too far or too hidden to be labelled.
    """

    boxes: Boxes
    ignore_regions_px: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class View:
    """The objects of a scene as one frame sees them.

    Attributes:
        boxes_7: (N, 7) boxes of all objects in the ego frame, statics included.
        velocity_mps: (N, 2) over ground, in ego axes.
        hits: what the lidar's rays met.
        points_in_ego: (P, 4) what the lidar reported.
    """

    boxes_7: NDArray[np.float64]
    velocity_mps: NDArray[np.float64]
    hits: Hits
    points_in_ego: NDArray[np.float32]


def label_view(
    scene: Scene,
    view: View,
    camera: CalibratedSensor,
    image_size_px: tuple[int, int],
    min_points: int,
) -> Truth:
    """Return labels of the objects that the camera sees, as KITTI's annotators did."""
    category = np.array([track.category for track in scene.tracks], dtype=object)
    ahead = (category != "") & (view.boxes_7[:, 0] > 0.0) & (view.hits.num_alone > 0)
    chosen = np.flatnonzero(ahead)
    boxes_7 = view.boxes_7[chosen]
    assert camera.camera_matrix is not None  # noqa: S101 - a camera has a matrix
    matrix = camera.camera_matrix
    box2d = project_boxes(boxes_7, camera.ego_from_sensor, matrix, image_size_px)
    truncation = _truncation(boxes_7, camera, image_size_px)
    seen = np.isfinite(box2d[:, 0]) & (truncation <= _MAX_TRUNCATION)
    num_points = count_points_in_boxes(view.points_in_ego, boxes_7)
    num_hits = np.bincount(
        view.hits.owner[view.hits.owner >= 0], minlength=len(view.hits.num_alone)
    )
    visible = num_hits[chosen] / view.hits.num_alone[chosen]
    is_label = seen & (num_points >= min_points) & (visible >= _MIN_VISIBLE_SHARE)
    kept = chosen[is_label]
    boxes = Boxes.make(
        view.boxes_7[kept, :3],
        view.boxes_7[kept, 3:6],
        view.boxes_7[kept, 6],
        category[kept],
        track_id=np.array([f"{scene.name}-{index}" for index in kept], dtype=object),
        num_points=num_points[is_label],
        occlusion=_occlusion(visible[is_label]),
        truncation=np.round(truncation[is_label], 2),
        box2d_px=box2d[is_label],
        velocity_mps=view.velocity_mps[kept],
    )
    is_ignored = np.isfinite(box2d[:, 0]) & ~is_label & (num_hits[chosen] > 0)
    return Truth(boxes, box2d[is_ignored])


def image_labels(boxes: Boxes, camera: str) -> Boxes2d:
    """Return what an annotator would draw into the image for labelled boxes: whole objects."""
    seen = boxes.select(np.flatnonzero(np.isfinite(boxes.box2d_px).all(axis=1)))
    return Boxes2d.make(
        seen.box2d_px,
        seen.category,
        camera=np.full(len(seen), camera, dtype=object),
        track_id=seen.track_id,
        occlusion=seen.occlusion,
        truncation=seen.truncation,
    )


def _occlusion(visible_share: NDArray[np.float64]) -> NDArray[np.int64]:
    fully, partly = _VISIBLE_SHARES
    return np.where(visible_share >= fully, 0, np.where(visible_share >= partly, 1, 2))


def _truncation(
    boxes_7: NDArray[np.float64], camera: CalibratedSensor, image_size_px: tuple[int, int]
) -> NDArray[np.float64]:
    """Return (N,) shares of a grid of points in each box that lie outside the image."""
    assert camera.camera_matrix is not None  # noqa: S101 - a camera has a matrix
    local = _GRID * boxes_7[:, None, 3:6]
    cosine, sine = np.cos(boxes_7[:, 6])[:, None], np.sin(boxes_7[:, 6])[:, None]
    x = local[..., 0] * cosine - local[..., 1] * sine
    y = local[..., 0] * sine + local[..., 1] * cosine
    points = np.stack([x, y, local[..., 2]], axis=-1) + boxes_7[:, None, :3]
    in_camera = transform_points(invert(camera.ego_from_sensor), points.reshape(-1, 3))
    pixels, _ = project_points(in_camera, camera.camera_matrix)
    width, height = image_size_px
    with np.errstate(invalid="ignore"):
        inside = (pixels >= 0).all(axis=1) & (pixels <= [width - 1, height - 1]).all(axis=1)
    return 1.0 - inside.reshape(len(boxes_7), -1).mean(axis=1) if len(boxes_7) else np.empty(0)


def boxes_of(
    scene: Scene,
    positions_m: NDArray[np.float64],
    yaw_rad: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (N, 7) boxes of objects that stand at (N, 3) positions."""
    size = np.array([track.size_m for track in scene.tracks]).reshape(-1, 3)
    center = positions_m + np.column_stack([np.zeros((len(size), 2)), size[:, 2] / 2])
    return np.column_stack([center, size, wrap_angle(yaw_rad)])

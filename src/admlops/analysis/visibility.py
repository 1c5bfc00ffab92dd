"""How many cameras a labelled box is in view of, by projection: occlusion is not looked at."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from admlops.analysis.histogram import Histogram, make_histogram
from admlops.geometry.camera import project_boxes
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CameraImage, Frame

_LABELS = ("none", "1", "2", "3+", "no camera")
_NO_CAMERA = len(_LABELS) - 1
_CHUNK_FRAMES = 256


def count_views(dataset: Dataset) -> Histogram:
    """Return boxes by the number of cameras whose image they reach into, one series per category.

    Distortion is left out of account, which matters at the rims of images alone.

    Raises:
        DataError: the dataset cannot be read.
    """
    rows = dataset.rows_where("num_boxes > 0")
    counts: Counter[tuple[str, int]] = Counter()
    for start in range(0, len(rows), _CHUNK_FRAMES):
        frames = dataset.take(rows[start : start + _CHUNK_FRAMES], lidar=False)
        for boxes, views in zip(_boxes(frames), views_of_boxes(frames), strict=True):
            bins = np.where(views < 0, _NO_CAMERA, np.minimum(views, _NO_CAMERA - 1))
            counts.update(zip(boxes.category.tolist(), bins.tolist(), strict=True))
    table = pa.table(
        {
            "bin": pa.array([place for _, place in counts], pa.int64()),
            "series": pa.array([category for category, _ in counts], pa.string()),
            "n": pa.array(list(counts.values()), pa.int64()),
        }
    )
    title, unit = "Boxes by cameras that they are in view of", "cameras of the frame"
    return make_histogram("camera_views", title, unit, _LABELS, table)


def views_of_boxes(frames: Sequence[Frame]) -> list[NDArray[np.int64]]:
    """Return for each frame (N,) how many cameras each of its boxes is in view of.

    -1 where the frame has no camera whose calibration is known.
    """
    all_boxes = _boxes(frames)
    views = [np.full(len(boxes), -1, np.int64) for boxes in all_boxes]
    alike: dict[bytes, list[tuple[int, CameraImage]]] = {}
    for number, frame in enumerate(frames):
        for image in frame.cameras:
            if image.sensor.camera_matrix is not None and image.width_px and image.height_px:
                alike.setdefault(_calibration(image), []).append((number, image))
                views[number] = np.maximum(views[number], 0)
    for group in alike.values():
        image = group[0][1]
        numbers = [number for number, _ in group]
        boxes_7 = np.concatenate([all_boxes[number].as_7() for number in numbers])
        size_px = (image.width_px, image.height_px)
        matrix = np.asarray(image.sensor.camera_matrix)
        seen = project_boxes(boxes_7, image.sensor.ego_from_sensor, matrix, size_px)
        ends = np.cumsum([len(all_boxes[number]) for number in numbers])
        is_seen = np.split(~np.isnan(seen[:, 0]), ends[:-1])
        for number, own in zip(numbers, is_seen, strict=True):
            views[number] += own
    return views


def _boxes(frames: Sequence[Frame]) -> list[Boxes]:
    return [frame.boxes if frame.boxes is not None else Boxes.empty() for frame in frames]


def _calibration(image: CameraImage) -> bytes:
    """Return what makes boxes appear in the same pixels: frames of one drive share it."""
    size_px = np.array([image.width_px, image.height_px])
    parts = (image.sensor.ego_from_sensor, np.asarray(image.sensor.camera_matrix), size_px)
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)

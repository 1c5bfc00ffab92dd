"""Labels of a dataset in the lake and predictions of its frames, chunk by chunk."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from pyarrow import ArrowException, parquet

from admlops.errors import DataError
from admlops.evaluation.chunks import Chunk
from admlops.evaluation.flat_boxes import DONT_CARE, FlatBoxes
from admlops.lake.key_index import KeyIndex
from admlops.lake.predictions import iterate_predictions
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame, FrameKey

Predicted = tuple[FrameKey, Boxes]


def read_dataset_chunks(dataset: Dataset, predictions: Path, chunk_frames: int) -> Iterator[Chunk]:
    """Yield the labels of a dataset and a Parquet file's predictions of its frames.

    Where all labels of a chunk have 2D boxes, they are those of a camera's view: predictions that
    this camera does not see are left out, the others get the 2D box of their projection.
    Frames without labels are left out.

    Raises:
        DataError: a prediction is of no frame of the dataset, or of one that came before.
    """
    index = KeyIndex.of_table(dataset.query("SELECT log, scene, timestamp_ns FROM frames"))
    is_free = np.ones(dataset.num_frames, dtype=np.bool_)
    items = iterate_predictions(predictions)
    while batch := list(islice(items, chunk_frames)):
        rows = index.rows_of([key for key, _ in batch])
        for row, (key, _) in zip(rows, batch, strict=True):
            if row < 0 or not is_free[row]:
                raise DataError(
                    f"{predictions}: frame {key} is not in {dataset.reference}, or is there twice; "
                    "predict on the dataset version that is evaluated"
                )
            is_free[row] = False
        chunk = _pair(dataset.take(rows, lidar=False, camera=False), batch)
        unscored = chunk.predictions.first_unscored()
        if unscored is not None:
            raise DataError(f"{predictions}: a box of frame {unscored} has no score; predict again")
        yield chunk


def count_predictions(predictions: Path) -> int:
    """Return the number of frames in a file of predictions.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return int(parquet.read_metadata(predictions).num_rows)
    except (OSError, ArrowException) as error:
        raise DataError(f"{predictions}: cannot be read ({error}); run predict first") from error


def _pair(frames: list[Frame], predicted: list[Predicted]) -> Chunk:
    """Return the labelled frames with their predictions."""
    chosen = [
        (frame, frame.boxes, boxes)
        for frame, (_, boxes) in zip(frames, predicted, strict=True)
        if frame.boxes is not None
    ]
    labels = [boxes for _, boxes, _ in chosen]
    in_view = all(not np.isnan(boxes.box2d_px).any() for boxes in labels)
    names = [str(frame.key) for frame, _, _ in chosen]
    predictions = [_seen(frame, boxes) if in_view else boxes for frame, _, boxes in chosen]
    with_regions = [_with_regions(frame, boxes) for frame, boxes, _ in chosen]
    return Chunk(
        frames=tuple(frame.key for frame, _, _ in chosen),
        tags=tuple(frame.tags for frame, _, _ in chosen),
        labels=FlatBoxes.from_frames(names, with_regions),
        predictions=FlatBoxes.from_frames(names, predictions),
    )


def _seen(frame: Frame, boxes: Boxes) -> Boxes:
    """Return the boxes that the frame's camera sees, each with a 2D box."""
    camera = frame.camera
    if camera is None or camera.sensor.camera_matrix is None or len(boxes) == 0:
        return boxes
    projected = camera.places_of(boxes.as_7())
    given = np.where(np.isnan(boxes.box2d_px), projected, boxes.box2d_px)
    return boxes.replace(box2d_px=given).select(~np.isnan(projected[:, 0]))


def _with_regions(frame: Frame, boxes: Boxes) -> Boxes:
    """Return the labels and, as boxes without extent in space, the image's ignore regions."""
    regions = frame.camera.ignore_regions_px if frame.camera is not None else np.empty((0, 4))
    if len(regions) == 0:
        return boxes
    nowhere = np.full((len(regions), 3), -1000.0)
    ignored = Boxes.make(
        nowhere,
        np.zeros_like(nowhere),
        np.zeros(len(regions)),
        [DONT_CARE] * len(regions),
        box2d_px=regions,
    )
    return Boxes.concatenate([boxes, ignored])

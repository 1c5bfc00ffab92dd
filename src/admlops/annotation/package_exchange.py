"""From a label request to a package, and from a package's delivery to labels of the dataset."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from admlops.annotation.acceptance_images import cameras_by_name, with_own_cameras
from admlops.annotation.delivery import Delivery
from admlops.annotation.gold import (
    PackageKey,
    PackedFrame,
    choose_gold,
    number_of_gold_frames,
    pack_frames,
    prelabels_of,
)
from admlops.annotation.labelling_rules import Shape
from admlops.annotation.package import (
    PackageContents,
    PackageManifest,
    package_id_of,
    write_package,
)
from admlops.errors import DataError
from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.camera import project_boxes
from admlops.lake.relabelling import NewLabels
from admlops.lake.store import Dataset
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame, FrameKey
from admlops.structures.label_request import LabelRequest

TableT = TypeVar("TableT", bound=BoxTable)

_LABELLED: Mapping[Shape, str] = {"space_box": "num_boxes > 0", "image_box": "num_boxes_2d > 0"}
"""What a frame meets whose labels of a shape are known."""


@dataclass(frozen=True, slots=True)
class ExchangeFolder:
    """Where a package goes out and its delivery comes in.

    Attributes:
        root: folder of the package's own.
    """

    root: Path

    @property
    def package(self) -> Path:
        """What the vendor gets."""
        return self.root / "package"

    @property
    def archive(self) -> Path:
        """The same as one file."""
        return self.root / "package.zip"

    @property
    def delivery(self) -> Path:
        """Where the vendor puts the labels."""
        return self.root / "delivery"

    @property
    def ours(self) -> Path:
        """What the vendor never gets: which frames are what."""
        return self.root / "ours"


@dataclass(frozen=True, slots=True)
class PackagePlan:
    """What goes into packages.

    Attributes:
        contents: definition, guideline, formats.
        gold: SQL condition on `frames` that frames with known labels meet.
        gold_share: share of a package's frames that are gold.
        predictions: boxes to start from; empty for none.
        cameras: whether images are sent.
    """

    contents: PackageContents
    gold: str
    gold_share: float
    predictions: Mapping[FrameKey, Boxes]
    cameras: bool = True


def make_key(dataset: Dataset, request: LabelRequest, plan: PackagePlan) -> PackageKey:
    """Return which frames a package for the request holds.

    Equal requests of equal datasets give equal packages, wherever the dataset is.

    Raises:
        DataError: a requested frame is not in the dataset, or too few can be gold.
    """
    keys = dataset.keys()
    missing = sorted(set(request.keys) - set(keys))
    if missing:
        raise DataError(
            f"{dataset.reference}: {len(missing)} of {len(request.keys)} requested frames are not "
            f"in the dataset, for example {missing[0]}; request frames of this dataset"
        )
    definition = plan.contents.definition
    content = {
        "request": request.request_id,
        "dataset": dataset.digest,
        "definition": definition.to_json_dict(),
        "gold": [plan.gold, plan.gold_share],
        "start": sorted(map(str, plan.predictions)),
        "layout": [plan.contents.cloud_format, plan.cameras, plan.contents.guideline_id],
    }
    package_id = package_id_of(content)
    count = number_of_gold_frames(len(request.keys), plan.gold_share)
    gold: list[FrameKey] = []
    if count:
        labelled = " AND ".join(_LABELLED[shape] for shape in definition.shapes)
        rows = dataset.rows_where(f"({plan.gold}) AND {labelled}")
        wanted = set(request.keys)
        candidates = [keys[row] for row in rows.tolist() if keys[row] not in wanted]
        gold = choose_gold(candidates, count, package_id)
    return PackageKey(
        package_id=package_id,
        request_id=request.request_id,
        dataset=dataset.reference,
        definition=definition.title,
        frames=tuple(pack_frames(request.keys, gold, package_id)),
    )


def send_package(
    dataset: Dataset, key: PackageKey, plan: PackagePlan, folder: ExchangeFolder
) -> PackageManifest:
    """Write a package and its key; what is there already is kept."""
    key.write(folder.ours)
    frames = (
        (packed, frame, prelabels_of(packed, plan.predictions, frame.boxes))
        for packed, frame in frames_of(dataset, key.frames, camera=plan.cameras)
    )
    return write_package(folder.package, key, frames, plan.contents)


def frames_of(
    dataset: Dataset, packed: Sequence[PackedFrame], *, camera: bool = False
) -> Iterator[tuple[PackedFrame, Frame]]:
    """Yield packed frames with what the dataset holds of them, a few in memory at a time.

    Raises:
        DataError: a frame is not in the dataset.
    """
    where = {key: row for row, key in enumerate(dataset.keys())}
    missing = [item for item in packed if item.key not in where]
    if missing:
        raise DataError(f"{dataset.reference}: frame {missing[0].key} of a package is not in it")
    rows = np.array([where[item.key] for item in packed], dtype=np.int64)
    frames = dataset.iterate(rows, camera=camera, other_cameras=camera)
    yield from zip(packed, frames, strict=True)


def delivered_labels(dataset: Dataset, key: PackageKey, delivery: Delivery) -> NewLabels:
    """Return the labels of the requested frames as the dataset holds labels.

    Tracks get names that no other package's have; points are counted, and boxes in the front image
    that were not delivered are projected.
    """
    boxes: dict[FrameKey, Boxes] = {}
    boxes_2d: dict[FrameKey, Boxes2d] = {}
    for packed, frame in frames_of(dataset, key.requested):
        prefix = f"{key.package_id}-{packed.alias_key.scene}-"
        in_space = delivery.boxes.get(packed.frame_id)
        in_images = delivery.boxes_2d.get(packed.frame_id)
        if in_space is not None:
            boxes[packed.key] = complete_boxes(_with_tracks(in_space, prefix), frame)
        if in_images is not None:
            named = with_own_cameras(_with_tracks(in_images, prefix), frame)
            boxes_2d[packed.key] = named.select(np.isin(named.camera, list(cameras_by_name(frame))))
    return NewLabels(boxes, boxes_2d)


def _with_tracks(boxes: TableT, prefix: str) -> TableT:
    tracks = [f"{prefix}{track}" if track else "" for track in boxes.track_id]
    return boxes.replace(track_id=np.array(tracks, dtype=object).reshape(-1))


def complete_boxes(boxes: Boxes, frame: Frame) -> Boxes:
    """Return boxes with points counted, and with projections where none are known."""
    changes = {}
    if frame.lidar is not None:
        changes["num_points"] = count_points_in_boxes(frame.points_in_ego(), boxes.as_7())
    camera = frame.camera
    if camera is not None and camera.sensor.camera_matrix is not None:
        size_px = (camera.width_px, camera.height_px)
        sensor = camera.sensor
        projected = project_boxes(
            boxes.as_7(), sensor.ego_from_sensor, camera.sensor.camera_matrix, size_px
        )
        is_absent = np.isnan(boxes.box2d_px).all(axis=1, keepdims=True)
        changes["box2d_px"] = np.where(is_absent, projected, boxes.box2d_px)
    return boxes.replace(**changes)

"""Examples with their pictures, their numbers and where they are from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.examples import Example
from admlops.annotation.image_examples import ONLY_IN_IMAGES, ImageExample
from admlops.lake.query import quoted
from admlops.lake.store import Dataset
from admlops.reporting.example_pictures import draw_example
from admlops.reporting.image_example_pictures import camera_of, draw_image_example, labels_in
from admlops.structures.frame import CameraImage, Frame

OCCLUSION_WORDS = {-1: "not known", 0: "visible", 1: "partly", 2: "largely", 3: "not judged"}


@dataclass(frozen=True, slots=True)
class ShownExample:
    """An example with its picture.

    Attributes:
        example: what it shows.
        picture: data URI.
        facts: the box in numbers.
        source: which frame it is from.
    """

    example: Example | ImageExample
    picture: str
    facts: str
    source: str


@dataclass(frozen=True, slots=True)
class ImageSizes:
    """How large boxes of a category are in images.

    Attributes:
        num_boxes: how many there are.
        width_px: 10 %, median and 90 % of the widths.
        height_px: likewise.
    """

    num_boxes: int
    width_px: tuple[float, float, float]
    height_px: tuple[float, float, float]


def show_in_space(dataset: Dataset, example: Example) -> ShownExample:
    """Return an example with its picture from above, from the side, and in the best image."""
    (frame,) = dataset.take([example.row], lidar=True, camera=True, other_cameras=True)
    if frame.boxes is None:
        raise ValueError(f"frame {frame.key} has no labels")
    apart = np.abs(frame.boxes.center_m - np.array(example.center_m)).sum(axis=1)
    index = int(apart.argmin())
    return ShownExample(example, draw_example(frame, index), _facts(frame, index), _source(frame))


def show_in_images(dataset: Dataset, examples: Sequence[ImageExample]) -> list[ShownExample]:
    """Return examples with their pictures; those whose image the dataset lacks are left out."""
    shown = []
    for example in examples:
        (frame,) = dataset.take([example.row], lidar=False, camera=True, other_cameras=True)
        camera = camera_of(frame, example.camera)
        if camera is not None:
            picture = draw_image_example(frame, camera, example)
            facts = _image_facts(frame, camera, example)
            shown.append(ShownExample(example, picture, facts, _source(frame)))
    return shown


def measure_image_sizes(dataset: Dataset, definition: DatasetDefinition) -> dict[str, ImageSizes]:
    """Return sizes in images by category, of frames without boxes in space."""
    names = ", ".join(
        f"({quoted(source)}, {quoted(name)})"
        for source, name in definition.names_by_source().items()
    )
    sql = (
        "SELECT ours.name AS category, count(*) AS num_boxes, "
        "quantile_cont(right_px - left_px, [0.1, 0.5, 0.9]) AS width_px, "
        "quantile_cont(bottom_px - top_px, [0.1, 0.5, 0.9]) AS height_px FROM boxes_2d "
        "JOIN frames USING (log, scene, timestamp_ns) "
        f"JOIN (VALUES {names}) AS ours(source, name) ON category = ours.source "
        f"WHERE {ONLY_IN_IMAGES} GROUP BY 1 ORDER BY 1"
    )
    return {
        row["category"]: ImageSizes(row["num_boxes"], row["width_px"], row["height_px"])
        for row in dataset.query(sql).to_pylist()
    }


def _source(frame: Frame) -> str:
    tags = f", {', '.join(frame.tags)}" if frame.tags else ""
    return f"{frame.key.log}/{frame.key.scene}, frame {frame.frame_id}{tags}"


def _facts(frame: Frame, index: int) -> str:
    boxes = frame.boxes
    if boxes is None:
        return ""
    length_m, width_m, height_m = boxes.size_m[index]
    range_m = np.hypot(*boxes.center_m[index, :2])
    facts = [f"{range_m:.0f} m away", f"{length_m:.1f} x {width_m:.1f} x {height_m:.1f} m"]
    if boxes.num_points[index] >= 0:
        facts.insert(1, f"{boxes.num_points[index]} points")
    return ", ".join(facts + _hidden(int(boxes.occlusion[index]), float(boxes.truncation[index])))


def _image_facts(frame: Frame, camera: CameraImage, example: ImageExample) -> str:
    left, top, right, bottom = example.box2d_px
    facts = [f"{right - left:.0f} x {bottom - top:.0f} px"]
    boxes = labels_in(frame, camera)
    index = int(np.abs(boxes.box2d_px - np.array(example.box2d_px)).sum(axis=1).argmin())
    facts += _hidden(int(boxes.occlusion[index]), float(boxes.truncation[index]))
    num_others = len(boxes) - 1
    facts.append(f"{num_others} other {'box' if num_others == 1 else 'boxes'} in the image")
    return ", ".join(facts)


def _hidden(occlusion: int, truncation: float) -> list[str]:
    facts = []
    if occlusion > 0:
        facts.append(f"{OCCLUSION_WORDS.get(occlusion, 'not known')} occluded")
    if truncation > 0:
        facts.append(f"{truncation:.0%} outside the image")
    return facts

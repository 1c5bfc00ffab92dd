"""BDD100K: labels in images (det_20) and in videos (MOT), with weather, scene and time of day.

What is said of frames becomes tags ("weather:clear", "scene:highway", "time:night"; "rain" and
"night" also as such), what is said of boxes becomes attributes. Crowds are ignore regions.
Source: https://doc.bdd100k.com/format.html.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.box_details import attributes_text
from admlops.formats.json_file import read_json, split_in_name
from admlops.formats.reading import FrameReading
from admlops.formats.source import CategoryTable, ReadOptions, ReadResult
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey

CAMERA = CalibratedSensor("camera_front", "camera", np.eye(4))
"""Nothing is known of the camera."""
SIZE_PX = (1280, 720)
"""Of all images of the dataset."""
CATEGORIES = (
    "bicycle",
    "bus",
    "car",
    "motorcycle",
    "other person",
    "other vehicle",
    "pedestrian",
    "rider",
    "traffic light",
    "traffic sign",
    "trailer",
    "train",
    "truck",
)
VIDEO_NS_PER_FRAME = 200_000_000
"""Videos are labelled five times a second."""
_TAGS = {"weather": "weather", "scene": "scene", "timeofday": "time"}
_CONDITIONS = {
    "weather:rainy": "rain",
    "weather:snowy": "snow",
    "weather:foggy": "fog",
    "time:night": "night",
}
_EDGES = ("x1", "y1", "x2", "y2")


def looks_like(root: Path) -> bool:
    """Return whether a file, or one below `labels`, holds frames of BDD100K."""
    for file in _files(root):
        try:
            first = next(_frames(read_json(file)), None)
        except DataError:
            continue
        if first is not None and _is_frame(first):
            return True
    return False


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix == ".json" else []
    return sorted([*root.glob("*.json"), *root.glob("labels/**/*.json")])


def _frames(content: Any) -> Iterator[Any]:  # noqa: ANN401 - any JSON
    """Yield the frames of a file: a list of them, or an object that has them."""
    frames = content.get("frames") if isinstance(content, dict) else content
    yield from frames if isinstance(frames, list) else ()


def _is_frame(item: object) -> bool:
    """Return whether an item is a frame of labels; predictions carry scores."""
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        return False
    labels = item.get("labels")
    if labels is None:
        return "attributes" in item or "videoName" in item
    return isinstance(labels, list) and not any(
        isinstance(label, dict) and "score" in label for label in labels
    )


def open_folder(root: Path, options: ReadOptions) -> "Bdd100kSource":
    """List the frames of a file of labels, or of those in a folder; predictions are passed over.

    Raises:
        DataError: there is none, or one is no JSON.
    """
    return Bdd100kSource(root, options)


@dataclass(frozen=True, slots=True)
class _Listed:
    """One frame as it is written."""

    file: Path
    frame: Mapping[str, Any]
    key: FrameKey


class Bdd100kSource:
    """Frames of BDD100K by number."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.root = root
        self.findings: list[Finding] = []
        self.num_refused = 0
        self._categories = CategoryTable({name: name for name in CATEGORIES} | options.categories)
        self._listed: list[_Listed] = []
        seen: set[FrameKey] = set()
        for file in _files(root):
            frames = list(_frames(read_json(file)))
            if frames and not any(map(_is_frame, frames)):
                continue
            for number, frame in enumerate(frames):
                self._list(file, number, frame, seen)
        if not self._listed and not self.num_refused:
            raise DataError(f"{root}: no file of BDD100K labels")
        if not self._image_folder().is_dir():
            self.findings.append(find("READ019", root.name, "no folder of images"))

    def _list(self, file: Path, number: int, frame: object, seen: set[FrameKey]) -> None:
        if not isinstance(frame, dict) or not _is_frame(frame):
            self._refuse("READ006", file, f"frame {number}: {frame!r:.80}")
            return
        key = _key(frame)
        if key in seen:
            self._refuse("READ008", file, f"a second frame {key}")
            return
        seen.add(key)
        self._listed.append(_Listed(file, frame, key))

    def _refuse(self, rule_id: str, file: Path, what: str) -> None:
        self.findings.append(find(rule_id, file.name, what))
        self.num_refused += 1

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self._listed)

    def read(self, index: int) -> ReadResult:
        """Read one frame with its boxes; one with an error is left out."""
        listed = self._listed[index]
        frame, reading = listed.frame, FrameReading(self.root)
        name = Path(frame["name"])
        if name.is_absolute() or ".." in name.parts:
            reading.note("READ006", listed.file, f"the name {name} leads out of the images' folder")
            return reading.result(None)
        folder = self._image_folder()
        video = folder / str(frame.get("videoName", ""))
        path = (video if video.is_dir() else folder) / name
        camera = reading.image_or_size(path, (0, 0), CAMERA)
        labels = [item for item in frame.get("labels") or [] if isinstance(item, dict)]
        try:
            found = _boxes([item for item in labels if not _is_crowd(item)])
            crowds = _corners([item for item in labels if _is_crowd(item)])
        except ValueError as error:
            reading.note("READ006", listed.file, f"{name}: {error}")
            return reading.result(None)
        boxes_2d = reading.boxes_2d(found, self._categories, f"{listed.file.name} {name}")
        if camera is None:
            return reading.result(None)
        if camera.width_px == 0:
            camera = replace(camera, width_px=SIZE_PX[0], height_px=SIZE_PX[1])
        return reading.result(
            Frame(
                key=listed.key,
                frame_id=str(name),
                global_from_ego=np.eye(4),
                camera=replace(camera, ignore_regions_px=crowds),
                boxes_2d=None if frame.get("labels") is None else boxes_2d,
                tags=_tags(frame.get("attributes") or {}),
                split=split_in_name(listed.file),
                source=str(self.root),
            )
        )

    def _image_folder(self) -> Path:
        base = self.root.parent if self.root.is_file() else self.root
        return base / "images"


def _key(frame: Mapping[str, Any]) -> FrameKey:
    video, index = frame.get("videoName"), frame.get("frameIndex")
    if isinstance(video, str) and isinstance(index, int):
        return FrameKey("bdd100k", video, index * VIDEO_NS_PER_FRAME)
    return FrameKey("bdd100k", Path(frame["name"]).stem, 0)


def _is_crowd(label: Mapping[str, Any]) -> bool:
    attributes = label.get("attributes")
    return isinstance(attributes, dict) and attributes.get("crowd") is True


def _tags(attributes: object) -> tuple[str, ...]:
    if not isinstance(attributes, dict):
        return ()
    named = {f"{tag}:{attributes[name]}" for name, tag in _TAGS.items() if attributes.get(name)}
    return tuple(sorted(named | {_CONDITIONS[tag] for tag in named if tag in _CONDITIONS}))


def _boxes(labels: list[Mapping[str, Any]]) -> Boxes2d:
    details = [label.get("attributes") for label in labels]
    flags = [item if isinstance(item, dict) else {} for item in details]
    occluded = [item.get("occluded") for item in flags]
    return Boxes2d.make(
        _corners(labels),
        [str(label.get("category")) for label in labels],
        track_id=np.array([str(label.get("id", "")) for label in labels], dtype=object),
        occlusion=np.array(
            [-1 if item is None else int(bool(item)) for item in occluded], np.int64
        ),
        truncation=np.array([0.0 if item.get("truncated") is False else np.nan for item in flags]),
        attributes=np.array([attributes_text(item) for item in flags], dtype=object),
    )


def _corners(labels: list[Mapping[str, Any]]) -> NDArray[np.float64]:
    rows = []
    for label in labels:
        box = label.get("box2d")
        if not isinstance(box, dict) or not all(_is_number(box.get(edge)) for edge in _EDGES):
            raise ValueError(f"label {label.get('id')!r:.40} has no box2d of four numbers")
        rows.append([float(box[edge]) for edge in _EDGES])
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

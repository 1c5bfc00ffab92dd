"""BDD100K: labels in images (det_20) and in videos (MOT), with weather, scene and time of day.

What is said of frames becomes tags ("weather:clear", "scene:highway", "time:night"; "rain" and
"night" also as such), what is said of boxes becomes attributes. Crowds are ignore regions.
Source: https://doc.bdd100k.com/format.html.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.box_details import attributes_text
from admlops.formats.json_file import split_in_name
from admlops.formats.json_stream import iterate_items, read_items
from admlops.formats.openlabel.reader import is_openlabel
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
_MEMBERS = ("", "frames")
"""Where a file has its frames: it is a list of them, or an object that has one."""
_KINDS = ("100k", "track", "10k", "seg_track_20")
"""Folders of images as the publisher has them."""
_MAX_PX = 1e6


def looks_like(root: Path) -> bool:
    """Return whether a file, or one below `labels`, holds frames of BDD100K."""
    for file in _files(root):
        if is_openlabel(file):
            continue  # its one member would be read through to the end
        with suppress(DataError):
            first = next(iterate_items(file), None)
            if first is not None and first.member in _MEMBERS and _is_frame(first.value):
                return True
    return False


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix == ".json" else []
    return sorted([*root.glob("*.json"), *root.glob("labels/**/*.json")])


def _is_frame(item: object) -> bool:
    """Return whether an item is a frame of labels; predictions carry scores."""
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        return False
    labels = item.get("labels")
    if not isinstance(item.get("videoName", ""), (str, type(None))):
        return False
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
    """One frame: where in a file it is written, so that memory stays small; and its key."""

    file: Path
    offset: int
    size: int
    key: FrameKey


class Bdd100kSource:
    """Frames of BDD100K by number."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.root = root
        self.findings: list[Finding] = []
        self.num_refused = 0
        self._categories = CategoryTable({name: name for name in CATEGORIES} | options.categories)
        self._listed: list[_Listed] = []
        self._images = (root.parent if root.is_file() else root) / "images"
        seen: set[FrameKey] = set()
        for file in _files(root):
            self._list(file, seen)
        if not self._listed and not self.num_refused:
            raise DataError(f"{root}: no file of BDD100K labels")
        if not self._images.is_dir():
            self.findings.append(find("READ019", root.name, "no folder of images"))

    def _list(self, file: Path, seen: set[FrameKey]) -> None:
        """Add the frames of a file, unless it holds other things alone."""
        refused: list[tuple[str, str]] = []
        num_listed = len(self._listed)
        for number, item in enumerate(iterate_items(file)):
            if item.member not in _MEMBERS:
                continue
            key = _key(item.value) if _is_frame(item.value) else None
            if key is None:
                refused.append(("READ006", f"frame {number}: {item.value!r:.80}"))
            elif key in seen:
                refused.append(("READ008", f"a second frame {key}"))
            else:
                seen.add(key)
                self._listed.append(_Listed(file, item.offset, item.size, key))
        if len(self._listed) == num_listed and all(rule_id == "READ006" for rule_id, _ in refused):
            return
        self.findings += [find(rule_id, file.name, what) for rule_id, what in refused]
        self.num_refused += len(refused)

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self._listed)

    def read(self, index: int) -> ReadResult:
        """Read one frame with its boxes; one with an error is left out."""
        listed, reading = self._listed[index], FrameReading(self.root)
        try:
            (frame,) = read_items(listed.file, [(listed.offset, listed.size)])
            if not _is_frame(frame):
                raise DataError(f"{listed.file}: changed while it was read; read it again")
        except DataError as error:
            reading.note("READ006", listed.file, str(error))
            return reading.result(None)
        name = frame["name"]
        path = self._image_path(listed, frame)
        if path is None:
            reading.note("READ006", listed.file, f"the name {name} leads out of the images' folder")
            return reading.result(None)
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
                frame_id=name,
                global_from_ego=np.eye(4),
                camera=replace(camera, ignore_regions_px=crowds),
                boxes_2d=None if frame.get("labels") is None else boxes_2d,
                tags=_tags(frame.get("attributes") or {}),
                split=_split(listed.file),
                source=str(self.root),
            )
        )

    def _image_path(self, listed: _Listed, frame: Mapping[str, Any]) -> Path | None:
        """Return where a frame's image is; None where its name leads elsewhere.

        Images lie in the folder itself, or as the publisher has them: in `100k/train`, or in
        `track/train` by video.
        """
        name, video = PurePosixPath(frame["name"]), PurePosixPath(frame.get("videoName") or "")
        if any(path.is_absolute() or ".." in path.parts for path in (name, video)):
            return None
        split = _split(listed.file)
        folders = [self._images / kind / split for kind in _KINDS] if split else []
        places = [folder / rest for folder in (self._images, *folders) for rest in (video, "")]
        paths = [place / name for place in places]
        try:
            there = (path for path in paths if path.is_file())
            return next(there, self._images / name)
        except ValueError:
            return self._images / name  # no file can have this name, which a finding will say


def _split(file: Path) -> str:
    """Return the split that the name of a file or of its folder names."""
    return split_in_name(file) or split_in_name(file.parent)


def _key(frame: Mapping[str, Any]) -> FrameKey | None:
    """Return a frame's key; None where it has no number or name that one can be made of."""
    video, index = frame.get("videoName"), frame.get("frameIndex")
    if not isinstance(video, str) or not isinstance(index, int):
        return FrameKey("bdd100k", PurePosixPath(frame["name"]).stem, 0)
    if not 0 <= index < 1 << 32:
        return None
    return FrameKey("bdd100k", video, index * VIDEO_NS_PER_FRAME)


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
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -_MAX_PX < value < _MAX_PX

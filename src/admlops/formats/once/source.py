"""ONCE: sequences of a roof lidar and seven cameras, a part of them labelled.

Frames are those that sequence files list. Reflectivity is taken as a byte's value, 0 to 255: the
publisher does not say. Images keep the lens that the calibration states.
Source: Mao et al., "One Million Scenes for Autonomous Driving: ONCE Dataset", NeurIPS Datasets and
Benchmarks 2021, and https://once-for-auto-driving.github.io/documentation.html.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.json_file import read_json
from admlops.formats.once.sequence import (
    CAMERAS,
    CATEGORIES,
    LIDAR,
    BrokenSequenceError,
    parse_cameras,
    parse_labels,
    parse_pose,
)
from admlops.formats.reading import FrameReading, Latest
from admlops.formats.source import CategoryTable, ReadOptions, ReadResult
from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.pose import transform_cloud
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.finding import Finding
from admlops.structures.frame import CameraImage, Frame, FrameKey, LidarSweep

SPLITS: Mapping[str, str] = {
    "train": "train",
    "val": "val",
    "test": "test",
    "raw": "pool",
    "raw_small": "pool",
    "raw_medium": "pool",
    "raw_large": "pool",
}
"""Our split of each list below ``ImageSets``; without lists a sequence has none."""
FRONT = "cam01"
NS_PER_MS = 1_000_000
MAX_REFLECTIVITY = 255.0
_CONDITIONS = {"time:night": "night", "weather:rainy": "rain", "weather:foggy": "fog"}


def looks_like(root: Path) -> bool:
    """Return whether a folder is laid out as this format."""
    return any(root.glob("data/*/lidar_roof"))


def open_folder(root: Path, options: ReadOptions) -> "OnceSource":
    """List the frames of all sequences.

    Raises:
        DataError: the folder holds no sequence.
    """
    return OnceSource(root, options)


@dataclass(frozen=True, slots=True)
class _Listed:
    """One frame as a sequence file lists it: where in the list, and its name."""

    sequence: str
    place: int
    name: str


class OnceSource:
    """Frames of ONCE sequences by number."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.root = root
        self.findings: list[Finding] = []
        self.num_refused = 0  # a sequence without a list counts as one
        self._options = options
        self._categories = CategoryTable({**CATEGORIES, **options.categories})
        self._listed: list[_Listed] = []
        self._splits = self._read_splits()
        folders = sorted(path.parent for path in root.glob("data/*/lidar_roof"))
        if not folders:
            raise DataError(f"{root}: no ONCE sequence; no folder below 'data' has 'lidar_roof'")
        for folder in folders:
            self._list(folder)
        self._sequence = Latest(self._read_sequence)

    def _read_splits(self) -> dict[str, str]:
        splits: dict[str, str] = {}
        for name, split in SPLITS.items():
            file = self.root / "ImageSets" / f"{name}.txt"
            if file.is_file():
                names = file.read_text(errors="replace").split()
                splits |= dict.fromkeys(names, split)
        return splits

    def _list(self, folder: Path) -> None:
        """Add the frames of a sequence, and note lidar files that it does not list."""
        file = folder / f"{folder.name}.json"
        where = str(file.relative_to(self.root))
        try:
            frames = _frames_of(read_json(file, slim=_only_names))
        except (DataError, BrokenSequenceError) as error:
            rule_id = "READ006" if file.is_file() else "READ001"
            self._refuse(rule_id, where, str(error))
            return
        seen: set[str] = set()
        for place, frame in enumerate(frames):
            name = str(frame.get("frame_id", ""))
            if not re.fullmatch("[0-9]{1,13}", name) or not int(name):
                self._refuse("READ012", where, f"frame {place} is named {name!r:.40}, no time")
            elif name in seen:
                self._refuse("READ008", where, f"frame {name} is listed twice")
            else:
                seen.add(name)
                self._listed.append(_Listed(folder.name, place, name))
        stored = {path.stem for path in (folder / "lidar_roof").glob("*.bin")}
        if stored - seen:
            what = f"{len(stored - seen)} lidar files are not listed, first {min(stored - seen)}"
            self.findings.append(find("READ014", where, what))

    def _refuse(self, rule_id: str, where: str, what: str) -> None:
        self.findings.append(find(rule_id, where, what))
        self.num_refused += 1

    def __len__(self) -> int:
        """Return how many frames are listed."""
        return len(self._listed)

    def read(self, index: int) -> ReadResult:
        """Read one frame; one with an error is left out, with the reason."""
        listed = self._listed[index]
        folder = self.root / "data" / listed.sequence
        reading = FrameReading(self.root)
        points = _read_points(folder / "lidar_roof" / f"{listed.name}.bin", reading)
        where = folder / f"{listed.sequence}.json"
        try:
            content = self._sequence(listed.sequence)
            frame = _frames_of(content)[listed.place]
            pose = parse_pose(frame.get("pose"))
        except (DataError, BrokenSequenceError, IndexError) as error:
            reading.note("READ012", where, f"frame {listed.name}: {error}")
            return reading.result(None)
        if points is None:
            return reading.result(None)
        boxes, boxes_2d = self._labels(frame, points, where, listed.name, reading)
        images = self._images(folder, listed.name, content.get("calib"), reading)
        front = images.get(FRONT)
        return reading.result(
            Frame(
                key=FrameKey("once", listed.sequence, int(listed.name) * NS_PER_MS),
                frame_id=f"{listed.sequence}/{listed.name}",
                global_from_ego=pose,
                lidar=LidarSweep(LIDAR, points),
                camera=front,
                boxes=boxes,
                tags=_tags(content.get("meta_info")),
                split=self._splits.get(listed.sequence, ""),
                source=str(self.root),
                other_cameras=tuple(image for name, image in images.items() if name != FRONT),
                boxes_2d=boxes_2d,
            )
        )

    def _read_sequence(self, name: str) -> dict[str, Any]:
        content = read_json(self.root / "data" / name / f"{name}.json")
        if not isinstance(content, dict):
            raise BrokenSequenceError("the file holds no object")
        return content

    def _labels(
        self,
        frame: Mapping[str, Any],
        points: NDArray[np.float32],
        where: Path,
        name: str,
        reading: FrameReading,
    ) -> tuple[Boxes | None, Boxes2d | None]:
        if frame.get("annos") is None:
            return None, None
        try:
            labels = parse_labels(frame["annos"])
        except BrokenSequenceError as error:
            reading.note("READ006", where, f"frame {name}: {error}")
            return None, None
        place = f"{where.name} frame {name}"
        boxes = reading.boxes(labels.boxes, self._categories, place)
        cameras = {CAMERAS[camera] for camera in self._wanted()}
        is_wanted = [camera in cameras for camera in labels.boxes_2d.camera]
        own = labels.boxes_2d.select(np.array(is_wanted, dtype=np.bool_))
        boxes_2d = reading.boxes_2d(own, self._categories, place)
        if boxes is None:
            return None, None
        in_ego = transform_cloud(LIDAR.ego_from_sensor, points)
        counted = count_points_in_boxes(in_ego, boxes.as_7())
        return boxes.replace(num_points=counted), boxes_2d

    def _wanted(self) -> list[str]:
        return {"all": list(CAMERAS), "front": [FRONT], "none": []}[self._options.cameras]

    def _images(
        self, folder: Path, name: str, calibration: object, reading: FrameReading
    ) -> dict[str, CameraImage]:
        """Return the images of the cameras whose folders are there."""
        wanted = [camera for camera in self._wanted() if (folder / camera).is_dir()]
        if not wanted:
            return {}
        try:
            sensors = parse_cameras(calibration)
        except BrokenSequenceError as error:
            reading.note("READ005", folder / f"{folder.name}.json", str(error))
            return {}
        images = {}
        for camera in wanted:
            if camera not in sensors:
                reading.note("READ005", folder / f"{folder.name}.json", f"nothing about {camera}")
                continue
            image = reading.image(folder / camera / f"{name}.jpg", sensors[camera])
            if image is not None:
                images[camera] = image
        return images


def _only_names(item: dict[str, Any]) -> dict[str, Any]:
    """Return what of an object of a sequence file is needed to list its frames."""
    return {name: item[name] for name in ("frames", "frame_id") if name in item}


def _frames_of(content: object) -> list[dict[str, Any]]:
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not all(isinstance(item, dict) for item in frames):
        raise BrokenSequenceError("the file lists no frames")
    return frames


def _read_points(file: Path, reading: FrameReading) -> NDArray[np.float32] | None:
    points = reading.cloud(file)
    if points is None:
        return None
    return points * np.array([1.0, 1.0, 1.0, 1.0 / MAX_REFLECTIVITY], dtype=np.float32)


def _tags(about: object) -> tuple[str, ...]:
    said = about if isinstance(about, dict) else {}
    named = {"weather": said.get("weather"), "time": said.get("period")}
    tags = {f"{name}:{text}" for name, text in named.items() if isinstance(text, str) and text}
    return tuple(sorted(tags | {_CONDITIONS[tag] for tag in tags if tag in _CONDITIONS}))

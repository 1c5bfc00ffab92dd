"""Reads frames of the KITTI object format; what is wrong becomes a finding, never an exception."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.image_file import image_size_px
from admlops.formats.kitti.calibration import KittiCalibration
from admlops.formats.kitti.folder import FrameFiles
from admlops.formats.kitti.labels import LabelTable, parse_labels
from admlops.formats.source import CategoryTable, Mapped, ReadOptions, ReadResult
from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.camera import project_boxes
from admlops.structures.boxes import Boxes
from admlops.structures.finding import Finding
from admlops.structures.frame import CameraImage, Frame, LidarSweep

CATEGORIES: Mapping[str, str] = MappingProxyType(
    {
        name: name
        for name in (
            "car",
            "van",
            "truck",
            "pedestrian",
            "person_sitting",
            "cyclist",
            "tram",
            "misc",
        )
    }
)
"""KITTI's types in lower case, and our category of each."""


def type_name(written: str) -> str:
    """Return a type as our tables call it, of "Van" or "Person (sitting)"."""
    return written.lower().replace(" (", "_").rstrip(")")


def category_table(options: ReadOptions, also: Mapping[str, str] | None = None) -> CategoryTable:
    """Return KITTI's categories, others of a format, and over both those of the config."""
    own = {type_name(written): ours for written, ours in options.categories.items()}
    return CategoryTable({**CATEGORIES, **(also or {}), **own})


MAX_COORDINATE_M = 500.0
_IGNORED = "dontcare"
_PIXEL_MARGIN = 2.0
_MIN_AGREEMENT = 0.4
_MIN_HEIGHT_PX = 25.0


def read_frame(files: FrameFiles, categories: CategoryTable) -> ReadResult:
    """Read one frame; a frame with an error is left out, with the reason."""
    read = _FrameReader(files, categories)
    frame = read.frame()
    findings = tuple(read.findings)
    if frame is None or any(finding.rule.severity == "error" for finding in findings):
        return ReadResult(None, findings)
    return ReadResult(frame, findings, read.mapped)


class _FrameReader:
    """Reads the files of one frame and collects what is wrong with them."""

    def __init__(self, files: FrameFiles, categories: CategoryTable) -> None:
        self.files = files
        self.categories = categories
        self.findings: list[Finding] = []
        self.mapped: Mapped = Counter()
        self.kept = np.empty(0, dtype=np.bool_)

    def frame(self) -> Frame | None:
        files = self.files
        calibration = self._calibration()
        points = self._points()
        encoded = self._bytes("image_2", ".png") if files.has_images else b""
        table = self._labels() if files.has_labels else None
        labels_failed = files.has_labels and table is None
        if calibration is None or points is None or encoded is None or labels_failed:
            return None
        size_px = self._image_size(encoded, calibration, table)
        lidar = LidarSweep(calibration.lidar, points)
        boxes, regions = self._boxes(table)
        note = files.note()
        frame = Frame(
            key=files.key,
            frame_id=files.frame_id,
            global_from_ego=np.eye(4) if note is None else note.pose,
            lidar=lidar,
            camera=CameraImage(calibration.camera, encoded, *size_px, regions),
            tags=() if note is None else note.tags,
            split=files.split if files.has_labels or note is None else note.split or "pool",
            source=str(files.folder.parent),
        )
        if boxes is None:
            return frame
        num_points = count_points_in_boxes(frame.points_in_ego(), boxes.as_7())
        boxes = boxes.replace(num_points=num_points)
        self._check_agreement(boxes, calibration, size_px)
        return replace(frame, boxes=boxes if note is None else note.complete(boxes, self.kept))

    def _found(self, rule_id: str, kind: str, what: str) -> None:
        where = f"{self.files.folder.name}/{kind}/{self.files.frame_id}"
        self.findings.append(find(rule_id, where, what))

    def _bytes(self, kind: str, suffix: str) -> bytes | None:
        try:
            return self.files.path(kind, suffix).read_bytes()
        except OSError as error:
            self._found("KITTI001", kind, f"cannot be read ({error.strerror})")
            return None

    def _check_line_ends(self, kind: str, content: bytes) -> None:
        num_windows = content.count(b"\r\n")
        num_unix = content.count(b"\n") - num_windows
        num_old = content.count(b"\r") - num_windows
        if sum(count > 0 for count in (num_windows, num_unix, num_old)) > 1:
            what = f"{num_unix} LF, {num_windows} CR LF and {num_old} CR line ends"
            self._found("KITTI009", kind, what)

    def _calibration(self) -> KittiCalibration | None:
        content = self._bytes("calib", ".txt")
        if content is None:
            return None
        try:
            calibration = KittiCalibration.parse(content)
        except ValueError as error:
            self._found("KITTI005", "calib", str(error))
            return None
        self._check_line_ends("calib", content)
        return calibration

    def _points(self) -> NDArray[np.float32] | None:
        content = self._bytes("velodyne", ".bin")
        if content is None:
            return None
        if len(content) == 0 or len(content) % 16:
            self._found("KITTI002", "velodyne", f"{len(content)} bytes")
            return None
        points = np.frombuffer(content, dtype="<f4").reshape(-1, 4)
        largest = np.abs(points[:, :3]).max()
        if not np.isfinite(largest) or not np.isfinite(points[:, 3]).all():
            num_bad = int((~np.isfinite(points)).any(axis=1).sum())
            self._found("KITTI003", "velodyne", f"{num_bad} of {len(points)} points are not finite")
            return None
        if largest > MAX_COORDINATE_M:
            num_bad = int((np.abs(points[:, :3]) > MAX_COORDINATE_M).any(axis=1).sum())
            what = f"{num_bad} of {len(points)} points beyond {MAX_COORDINATE_M:.0f} m"
            self._found("KITTI004", "velodyne", f"{what}, the farthest at {largest:.4g} m")
            return None
        return points

    def _image_size(
        self, encoded: bytes, calibration: KittiCalibration, table: LabelTable | None
    ) -> tuple[int, int]:
        """Return width and height, or zeros where the folder has no images."""
        if not self.files.has_images:
            return 0, 0
        try:
            width, height = image_size_px(encoded)
        except ValueError as error:
            self._found("KITTI007", "image_2", f"{error} ({len(encoded)} bytes)")
            return 0, 0
        centre = calibration.p2[:2, 2] / [width, height]
        if (np.abs(centre - 0.5) > 0.25).any():
            x, y = calibration.p2[:2, 2]
            what = f"{width} x {height} px, but the calibration's centre is at {x:.0f}, {y:.0f}"
            self._found("KITTI007", "image_2", what)
        elif table is not None and len(table):
            right, bottom = table.box2d_px[:, 2:].max(axis=0)
            if right > width + _PIXEL_MARGIN or bottom > height + _PIXEL_MARGIN:
                what = f"{width} x {height} px, but a label reaches to {right:.0f}, {bottom:.0f}"
                self._found("KITTI007", "image_2", what)
        return width, height

    def _labels(self) -> LabelTable | None:
        content = self._bytes("label_2", ".txt")
        if content is None:
            return None
        try:
            table = parse_labels([content], [self.files.frame_id])
        except DataError as error:
            self._found("KITTI006", "label_2", str(error))
            return None
        self._check_line_ends("label_2", content)
        return table

    def _boxes(self, table: LabelTable | None) -> tuple[Boxes | None, NDArray[np.float64]]:
        """Return the labelled boxes and the (M, 4) ignore regions."""
        if table is None:
            return None, np.empty((0, 4))
        names = np.array([table.type_names[index] for index in table.type_index], dtype=object)
        is_box = names != _IGNORED
        unknown = self.categories.unknown(names[is_box])
        if unknown:
            known = ", ".join(self.categories.names)
            what = f"{', '.join(map(repr, unknown))}; known are {known}"
            self._found("KITTI010", "label_2", what)
            return None, np.empty((0, 4))
        rows_7 = table.as_7()[is_box]
        if not (np.isfinite(rows_7).all() and (rows_7[:, 3:6] > 0).all()):
            first = int(np.flatnonzero(~(rows_7[:, 3:6] > 0).all(axis=1))[0])
            self._found("KITTI011", "label_2", f"box {first} has sizes {rows_7[first, 3:6]}")
        truncation = table.truncation[is_box]
        box2d = table.box2d_px[is_box].copy()
        box2d[(box2d == -1).all(axis=1)] = np.nan
        categories, self.kept, self.mapped = self.categories.apply(names[is_box])
        kept = self.kept
        boxes = Boxes.make(
            rows_7[kept, :3],
            rows_7[kept, 3:6],
            rows_7[kept, 6],
            categories,
            occlusion=table.occlusion[is_box][kept],
            truncation=np.where(truncation < 0, np.nan, truncation)[kept],
            box2d_px=box2d[kept],
        )
        return boxes, table.box2d_px[~is_box].copy()

    def _check_agreement(
        self, boxes: Boxes, calibration: KittiCalibration, size_px: tuple[int, int]
    ) -> None:
        """Compare projected and labelled 2D boxes where nothing hides or cuts the object."""
        height_px = boxes.box2d_px[:, 3] - boxes.box2d_px[:, 1]
        is_clear = (boxes.occlusion == 0) & (boxes.truncation == 0) & (height_px > _MIN_HEIGHT_PX)
        rows = np.flatnonzero(is_clear)
        if size_px == (0, 0) or len(rows) == 0:
            return
        camera = calibration.camera
        projected = project_boxes(
            boxes.as_7()[rows], camera.ego_from_sensor, calibration.p2[:, :3], size_px
        )
        for row, overlap in zip(rows, iou_2d(projected, boxes.box2d_px[rows]), strict=True):
            if not overlap >= _MIN_AGREEMENT:
                what = f"box {row} ({boxes.category[row]}): overlap {overlap:.2f}"
                self._found("KITTI012", "label_2", what)


def iou_2d(first_px: NDArray[np.float64], second_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N,) intersection over union of (N, 4) pairs; NaN where a box is absent."""
    low = np.maximum(first_px[:, :2], second_px[:, :2])
    high = np.minimum(first_px[:, 2:], second_px[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = [(box[:, 2:] - box[:, :2]).prod(axis=1) for box in (first_px, second_px)]
    return shared / (areas[0] + areas[1] - shared)

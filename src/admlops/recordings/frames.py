"""Makes frames of a recording: sweeps merged and compensated, with the images of their time."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.reading import MAX_COORDINATE_M
from admlops.formats.source import ReadResult
from admlops.geometry.pose import invert, transform_cloud
from admlops.geometry.trajectory import Trajectory, compensate_motion
from admlops.recordings.events import ImageEvent, LidarEvent
from admlops.recordings.images import encode_image
from admlops.recordings.index import RecordingIndex
from admlops.recordings.messages import Place
from admlops.recordings.point_cloud import decode_cloud
from admlops.recordings.recording import Recording, recording_name
from admlops.recordings.rig import MERGED_LIDAR, Rig
from admlops.recordings.synchronization import NO_PARTNER, match_nearest, number_scenes
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

_MAX_OVERHANG_NS = 10_000_000
"""At the ends of a log the pose may be missing for so long: the nearest one is taken."""


@dataclass(frozen=True, slots=True)
class FramePlan:
    """Which messages become which frame.

    Attributes:
        times_ns: (F,) int64, strictly rising.
        scenes: (F,) scene numbers.
        rows: (F,) rows of each sensor's index, -1 where it has no partner.
        num_trimmed: sweeps at the ends of the log, before the first pose or after the last.
        num_unposed: frames in a gap of the poses; they are refused when they are read.
    """

    times_ns: NDArray[np.int64]
    scenes: NDArray[np.int64]
    rows: Mapping[str, NDArray[np.int64]]
    num_trimmed: int
    num_unposed: int = 0

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.times_ns)


def plan_frames(index: RecordingIndex, rig: Rig) -> FramePlan:
    """Return which sweeps become frames, and their partners of the other sensors."""
    config = index.config
    main = config.lidars[0].sensor if config.lidars else ""
    if main not in index.sensors or main not in rig.sensors:
        empty = np.empty(0, dtype=np.int64)
        return FramePlan(empty, empty, {}, 0)
    stamps = index.sensors[main].stamp_ns
    tolerance_ns = round(config.sync_tolerance_s * 1e9)
    rows = {
        name: match_nearest(stamps, index.sensors[name].stamp_ns, tolerance_ns)
        for name in rig.sensors
        if name != main
    }
    _, chosen = np.unique(stamps, return_index=True)
    kept = chosen[_has_pose(stamps[chosen], index, rig, main)]
    num_trimmed = len(chosen) - len(kept)
    kept = kept[:: config.frame_stride]
    times_ns = stamps[kept]
    return FramePlan(
        times_ns=times_ns,
        scenes=number_scenes(times_ns, config.scene_length_s, config.limits.max_gap_s),
        rows={main: kept.astype(np.int64)} | {name: row[kept] for name, row in rows.items()},
        num_trimmed=num_trimmed,
        num_unposed=int((~has_pose(rig.way, times_ns, config.max_pose_gap_s)).sum()),
    )


def has_pose(way: Trajectory, times_ns: NDArray[np.int64], max_gap_s: float) -> NDArray[np.bool_]:
    """Return for each time whether a pose is known, or the vehicle's way is not known at all."""
    if len(way) == 0:
        return np.ones(len(times_ns), dtype=np.bool_)
    inside = np.clip(times_ns, way.times_ns[0], way.times_ns[-1])
    return way.covers(inside, round(max_gap_s * 1e9))


def _has_pose(
    stamps: NDArray[np.int64], index: RecordingIndex, rig: Rig, main: str
) -> NDArray[np.bool_]:
    """Return which sweeps lie between the first and the last pose; all where there is none."""
    if len(rig.way) == 0:
        return np.ones(len(stamps), dtype=np.bool_)
    layout = index.layouts[main]
    is_moved = index.config.motion_compensation
    start_ns, end_ns = (min(layout.start_ns, 0), max(layout.end_ns, 0)) if is_moved else (0, 0)
    first, last = rig.way.times_ns[0] - _MAX_OVERHANG_NS, rig.way.times_ns[-1] + _MAX_OVERHANG_NS
    inside: NDArray[np.bool_] = (stamps + start_ns >= first) & (stamps + end_ns <= last)
    return inside


class FrameBuilder:
    """Reads the messages of a frame again and makes the frame."""

    def __init__(
        self, recording: Recording, index: RecordingIndex, rig: Rig, plan: FramePlan
    ) -> None:
        """Take a planned recording."""
        self.recording = recording
        self.index = index
        self.rig = rig
        self.plan = plan
        self._lidars = [item.sensor for item in index.config.lidars if item.sensor in rig.sensors]
        self._cameras = [item.sensor for item in index.config.cameras if item.sensor in rig.sensors]

    @property
    def tags(self) -> tuple[str, ...]:
        """Conditions under which the recording was made, sorted."""
        return self.index.config.tags_of(self.recording.name, recording_name(self.recording.path))

    def numbers_by_place(self) -> dict[Place, int]:
        """Return the number of the frame that each sweep of the main lidar becomes."""
        if not self._lidars or not len(self.plan):
            return {}
        name = self._lidars[0]
        places = self.index.sensors[name].place[self.plan.rows[name]].tolist()
        return {Place(*place): number for number, place in enumerate(places)}

    def sweep(self, number: int) -> LidarSweep:
        """Return the lidars' points of a frame alone.

        Raises:
            DataError: they cannot be read, or the vehicle's pose is not known.
        """
        time_ns = int(self.plan.times_ns[number])
        self._check_pose(time_ns)
        return self._sweep(number, time_ns)

    def build(self, number: int) -> ReadResult:
        """Return a frame, or why there is none."""
        time_ns = int(self.plan.times_ns[number])
        key = FrameKey(self.recording.name, f"{self.plan.scenes[number]:03d}", time_ns)
        findings: list[Finding] = []
        sweep, images = None, []
        try:
            sweep = self.sweep(number)
        except _RefusedError as error:
            findings.append(find(error.rule_id, str(key), str(error)))
        for name in self._cameras:
            row = int(self.plan.rows[name][number])
            if row == NO_PARTNER:
                continue
            try:
                images.append(self._image(name, row, time_ns))
            except DataError as error:
                findings.append(find("REC020", f"{key} {name}", str(error)))
        if findings or sweep is None:
            return ReadResult(None, tuple(findings))
        front = self._cameras[0] if self._cameras else ""
        has_front = bool(images) and images[0].sensor.name == front
        frame = Frame(
            key=key,
            frame_id=f"{self.plan.rows[self._lidars[0]][number]:06d}",
            global_from_ego=self.rig.way.at(time_ns) if len(self.rig.way) else np.eye(4),
            lidar=sweep,
            camera=images[0] if has_front else None,
            other_cameras=tuple(images[1:] if has_front else images),
            tags=self.tags,
            source=str(self.recording.path),
        )
        return ReadResult(frame)

    def _check_pose(self, time_ns: int) -> None:
        gap_s = self.index.config.max_pose_gap_s
        if not has_pose(self.rig.way, np.array([time_ns]), gap_s)[0]:
            raise _RefusedError("REC017", f"no pose within {gap_s:g} s")

    def _sweep(self, number: int, time_ns: int) -> LidarSweep:
        """Return the lidars' points at the frame's time, of several lidars in the ego frame."""
        parts = []
        for name in self._lidars:
            row = int(self.plan.rows[name][number])
            if row != NO_PARTNER:
                parts.append(self._points(name, row, time_ns))
        main = self.rig.sensors[self._lidars[0]]
        if len(self._lidars) > 1:
            sensor = CalibratedSensor(MERGED_LIDAR, "lidar", np.eye(4))
            points = np.concatenate(parts)
        else:
            sensor = main
            points = transform_cloud(invert(main.ego_from_sensor), parts[0])
        if len(points) == 0:
            raise _RefusedError("REC019", "no point with finite coordinates")
        return LidarSweep(sensor, points)

    def _points(self, name: str, row: int, time_ns: int) -> NDArray[np.float32]:
        """Return (N, 4) points of one sweep in the ego frame at the frame's time."""
        config = next(item for item in self.index.config.lidars if item.sensor == name)
        layout = self.index.layouts[name]
        try:
            event = self.index.sensors[name].read(self.recording, row, name)
            if not isinstance(event, LidarEvent):
                raise DataError(f"the recording has changed: no cloud of {name!r}")
            cloud = decode_cloud(event.raw, event.stamp_ns, config.time_unit)
        except DataError as error:
            raise _RefusedError("REC019", f"{name}: {error}") from error
        points = cloud.points
        _require_reach(points, name)
        points[:, 3] = np.clip(points[:, 3] / np.float32(layout.intensity_scale), 0.0, 1.0)
        points = transform_cloud(self.rig.sensors[name].ego_from_sensor, points)
        if not self.index.config.motion_compensation or len(self.rig.way) == 0 or not len(points):
            return points
        stamp_ns = int(self.index.sensors[name].stamp_ns[row])
        offset_ns = np.zeros(len(points), np.int64) if cloud.offset_ns is None else cloud.offset_ns
        return self._compensate(points, stamp_ns + offset_ns, time_ns)

    def _compensate(
        self, points: NDArray[np.float32], times_ns: NDArray[np.int64], time_ns: int
    ) -> NDArray[np.float32]:
        way = self.rig.way
        first, last = int(way.times_ns[0]), int(way.times_ns[-1])
        ends = np.clip([times_ns.min(), times_ns.max()], first, last)
        part = way.between(int(ends[0]), int(ends[1]))
        max_gap_ns = round(self.index.config.max_pose_gap_s * 1e9)
        if np.diff(part.times_ns).max(initial=0) > max_gap_ns:
            raise _RefusedError("REC017", "the poses have a gap within the sweep")
        ego_from_global = invert(way.at(time_ns))
        return compensate_motion(points, times_ns, part.seen_from(ego_from_global))

    def _image(self, name: str, row: int, time_ns: int) -> CameraImage:
        """Return an image; its camera is placed where it was, seen from the ego at frame time."""
        sensor = self.rig.sensors[name]
        event = self.index.sensors[name].read(self.recording, row, name)
        if not isinstance(event, ImageEvent):
            raise DataError(f"the recording has changed: no image of {name!r}")
        encoded, width_px, height_px = encode_image(event)
        calibration = self.index.calibrations[name]
        size_px = (calibration.width_px, calibration.height_px)
        if size_px not in ((0, 0), (width_px, height_px)):
            raise DataError(f"{width_px} x {height_px} pixels, calibrated for {size_px}")
        if self.index.config.motion_compensation and len(self.rig.way):
            stamp_ns = int(self.index.sensors[name].stamp_ns[row])
            ego_from_moved = invert(self.rig.way.at(time_ns)) @ self.rig.way.at(stamp_ns)
            sensor = CalibratedSensor(
                sensor.name,
                sensor.modality,
                ego_from_moved @ sensor.ego_from_sensor,
                sensor.camera_matrix,
                sensor.distortion,
            )
        return CameraImage(sensor, encoded, width_px, height_px)


def _require_reach(points: NDArray[np.float32], name: str) -> None:
    is_far = (np.abs(points[:, :3]) > MAX_COORDINATE_M).any(axis=1)
    if is_far.any():
        what = f"{int(is_far.sum())} of {len(points)} points beyond {MAX_COORDINATE_M:.0f} m"
        raise _RefusedError("READ004", f"{name}: {what}")


class _RefusedError(DataError):
    """A frame cannot be made; `rule_id` says by which rule."""

    def __init__(self, rule_id: str, what: str) -> None:
        super().__init__(what)
        self.rule_id = rule_id

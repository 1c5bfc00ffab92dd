"""What an Argoverse 2 log says beside its sensor data: calibration, poses and boxes.

Argoverse's vehicle frame has its origin in the middle of the rear axle, about 33 cm over the road;
our ego frame lies below it on the road. Images are rectified: the coefficients beside the focal
lengths are of the lens before that, and are passed over, as the publisher's own code does.
Source: the maintainers in issues 286 of argoverse-api (height), 219 and 226 of av2-api (lens).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from admlops.formats.argoverse2.tables import POSE, SIZE, Columns, parse_table, transforms_of
from admlops.formats.reading import FrameReading
from admlops.geometry.pose import invert, make_transform
from admlops.structures.boxes import Boxes
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor

FRONT = "ring_front_center"
AXLE_HEIGHT_M = 0.33
"""Of Argoverse's origin over the road."""
EGO_FROM_VEHICLE = make_transform(np.eye(3), [0.0, 0.0, AXLE_HEIGHT_M])
_POSES = dict.fromkeys(POSE, float)
_LENS = ("fx_px", "fy_px", "cx_px", "cy_px")


@dataclass(frozen=True, slots=True)
class Log:
    """The tables of one log; None where one cannot be read.

    Attributes:
        cameras: calibration by name.
        city_from_ego: pose by time.
        boxes: by time, categories as written; None where the log has no annotations.
        findings: what is wrong.
    """

    cameras: Mapping[str, CalibratedSensor] | None
    city_from_ego: Mapping[int, NDArray[np.float64]] | None
    boxes: Mapping[int, Boxes] | None
    findings: tuple[Finding, ...]


def read_log(folder: Path, root: Path) -> Log:
    """Read the tables of a log."""
    reading = FrameReading(root)
    annotations = folder / "annotations.feather"
    poses = _table(
        folder / "city_SE3_egovehicle.feather", {"timestamp_ns": int, **_POSES}, "READ012", reading
    )
    labels = None
    if annotations.is_file():
        kinds = {
            "timestamp_ns": int,
            "track_uuid": str,
            "category": str,
            "num_interior_pts": int,
            **dict.fromkeys(SIZE, float),
            **_POSES,
        }
        labels = _table(annotations, kinds, "READ006", reading)
    log_poses = None
    if poses is not None:
        transforms = _transforms(poses, folder / "city_SE3_egovehicle.feather", reading, "READ012")
        times = poses["timestamp_ns"].tolist()
        if transforms is not None:
            city_from_ego = transforms @ invert(EGO_FROM_VEHICLE)
            log_poses = dict(zip(times, city_from_ego, strict=True))
    return Log(
        cameras=_read_cameras(folder / "calibration", reading),
        city_from_ego=log_poses,
        boxes=None if labels is None else _boxes(labels, annotations, reading),
        findings=tuple(reading.findings),
    )


def _table(
    path: Path, kinds: Mapping[str, type], rule_id: str, reading: FrameReading
) -> Columns | None:
    return reading.parsed(path, rule_id, lambda content: parse_table(content, kinds))


def _transforms(
    columns: Columns, path: Path, reading: FrameReading, rule_id: str
) -> NDArray[np.float64] | None:
    try:
        return transforms_of(columns)
    except ValueError as error:
        reading.note(rule_id, path, str(error))
        return None


def _read_cameras(folder: Path, reading: FrameReading) -> Mapping[str, CalibratedSensor] | None:
    place_file, lens_file = folder / "egovehicle_SE3_sensor.feather", folder / "intrinsics.feather"
    places = _table(place_file, {"sensor_name": str, **_POSES}, "READ005", reading)
    lenses = _table(
        lens_file, {"sensor_name": str, **dict.fromkeys(_LENS, float)}, "READ005", reading
    )
    transforms = None if places is None else _transforms(places, place_file, reading, "READ005")
    if places is None or lenses is None or transforms is None:
        return None
    place_of = dict(zip(places["sensor_name"], transforms, strict=True))
    cameras = {}
    for row, name in enumerate(lenses["sensor_name"]):
        fx, fy, cx, cy = (float(lenses[column][row]) for column in _LENS)
        if name not in place_of or fx <= 0 or fy <= 0:
            reading.note("READ005", lens_file, f"camera {name} has no place or no focal length")
            return None
        matrix = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        place = EGO_FROM_VEHICLE @ place_of[name]
        cameras[str(name)] = CalibratedSensor(str(name), "camera", place, matrix)
    return cameras


def _boxes(columns: Columns, path: Path, reading: FrameReading) -> Mapping[int, Boxes] | None:
    """Return the boxes by time; they stand upright, so that yaw says it all."""
    transforms = _transforms(columns, path, reading, "READ006")
    if transforms is None:
        return None
    every = Boxes.make(
        transforms[:, :3, 3] + EGO_FROM_VEHICLE[:3, 3],
        np.column_stack([columns[name] for name in SIZE]).reshape(-1, 3),
        np.arctan2(transforms[:, 1, 0], transforms[:, 0, 0]),
        columns["category"],
        track_id=columns["track_uuid"],
        num_points=columns["num_interior_pts"],
    )
    order = np.argsort(columns["timestamp_ns"], kind="stable")
    times, first = np.unique(columns["timestamp_ns"][order], return_index=True)
    rows = np.split(order, first[1:]) if len(times) else []
    return {int(time): every.select(own) for time, own in zip(times, rows, strict=True)}

"""Frames: all sensor data of one instant, with calibration, pose and, if annotated, boxes."""

import hashlib
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from admlops.geometry.camera import project_boxes
from admlops.geometry.pose import transform_cloud
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d


class FrameKey(NamedTuple):
    """What tells one frame from every other in a dataset."""

    log: str
    scene: str
    timestamp_ns: int

    def __str__(self) -> str:
        """Return the key as it is written in reports."""
        return f"{self.log}/{self.scene}/{self.timestamp_ns}"


@dataclass(frozen=True, slots=True)
class CalibratedSensor:
    """Extrinsics and intrinsics of a sensor on one vehicle.

    Attributes:
        name: for example "lidar_top" or "camera_front".
        modality: "lidar" or "camera".
        ego_from_sensor: (4, 4) float64, rigid. A camera's axes are x right, y down, z forward.
        camera_matrix: (3, 3) float64 pinhole matrix in pixels, None for a lidar.
        distortion: (K,) float64 in OpenCV's order, k1 k2 p1 p2 k3 and so on; empty where the
            images are rectified.
    """

    name: str
    modality: Literal["lidar", "camera"]
    ego_from_sensor: NDArray[np.float64]
    camera_matrix: NDArray[np.float64] | None = None
    distortion: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True)
class LidarSweep:
    """One lidar rotation; of several lidars, what all of them saw, in one sensor frame.

    Attributes:
        sensor: its calibration.
        points: (N, 4) float32, x y z in metres in the sensor frame and intensity in [0, 1].
    """

    sensor: CalibratedSensor
    points: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CameraImage:
    """One camera image, encoded.

    Attributes:
        sensor: its calibration.
        encoded: the bytes of a PNG or JPEG file.
        width_px: image width.
        height_px: image height.
        ignore_regions_px: (M, 4) float64 left top right bottom where nothing was annotated.
    """

    sensor: CalibratedSensor
    encoded: bytes
    width_px: int
    height_px: int
    ignore_regions_px: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))

    def places_of(self, boxes_7: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (N, 4) left top right bottom of (N, 7) boxes, NaN where one is not seen.

        NaN are all where nothing is known of the lens.
        """
        pose, matrix = self.sensor.ego_from_sensor, self.sensor.camera_matrix
        if matrix is None:
            return np.full((len(boxes_7), 4), np.nan)
        return project_boxes(boxes_7, pose, matrix, (self.width_px, self.height_px))


@dataclass(frozen=True, slots=True)
class Frame:
    """All sensor data of one instant.

    Attributes:
        key: log, scene and timestamp.
        frame_id: the name in the source format, for example "000042".
        global_from_ego: (4, 4) float64 pose of the vehicle; identity where the source has none.
        lidar: the sweep, or None.
        camera: the front image (of a data set of images: the only one), or None.
        boxes: the labels in the ego frame; None where no 3D labels were made.
        tags: conditions and notes, sorted, for example ("night", "rain").
        split: "train", "val", "test" or "" where the source names none.
        source: where the frame came from (a path or URI, for provenance).
        other_cameras: images of further cameras.
        boxes_2d: labels that were made in the images; None where none were made.
    """

    key: FrameKey
    frame_id: str
    global_from_ego: NDArray[np.float64]
    lidar: LidarSweep | None = None
    camera: CameraImage | None = None
    boxes: Boxes | None = None
    tags: tuple[str, ...] = ()
    split: str = ""
    source: str = ""
    other_cameras: tuple[CameraImage, ...] = ()
    boxes_2d: Boxes2d | None = None

    @property
    def is_keyframe(self) -> bool:
        """Whether the frame is annotated, in space or in images."""
        return self.boxes is not None or self.boxes_2d is not None

    @property
    def cameras(self) -> tuple[CameraImage, ...]:
        """All images, the front one first."""
        return self.other_cameras if self.camera is None else (self.camera, *self.other_cameras)

    def sensor_digest(self) -> str:
        """Return a SHA-256 over the sensor payloads: what was seen, whatever was labelled."""
        whole = hashlib.sha256()
        if self.lidar is not None:
            whole.update(np.ascontiguousarray(self.lidar.points).tobytes())
        for image in self.cameras:
            whole.update(image.encoded)
        return whole.hexdigest()

    def points_in_ego(self) -> NDArray[np.float32]:
        """Return (N, 4) float32 lidar points x y z intensity in the ego frame.

        Raises:
            ValueError: the frame has no lidar sweep.
        """
        if self.lidar is None:
            raise ValueError(f"frame {self.key} has no lidar sweep")
        return transform_cloud(self.lidar.sensor.ego_from_sensor, self.lidar.points)

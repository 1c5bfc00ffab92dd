"""KITTI's calibration chain: velodyne → reference camera → rectified camera → ego.

The ego frame is the rectified camera-0 frame with permuted axes (x forward, y left, z up), its
origin moved down to the road. Source: Geiger et al., "Vision meets robotics: the KITTI dataset",
2013, equations 4 to 8, and the object development kit's readme.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.formats.kitti.labels import CAMERA_HEIGHT_M
from admlops.geometry.pose import invert, is_rotation, make_transform
from admlops.structures.frame import CalibratedSensor

EGO_FROM_RECTIFIED = make_transform(
    [[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], [0.0, 0.0, CAMERA_HEIGHT_M]
)
"""Boxes of labels move by this transform exactly."""

_SHAPES = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
_OPTIONAL = {"P3": (3, 4), "Tr_imu_to_velo": (3, 4)}
_ALIASES = {"R_rect": "R0_rect", "Tr_velo_cam": "Tr_velo_to_cam", "Tr_imu_velo": "Tr_imu_to_velo"}
"""Names of the rows in KITTI tracking."""
_MAX_NUMBER = 1e9
_MIN_FOCAL_PX = 1e-3


@dataclass(frozen=True, slots=True)
class KittiCalibration:
    """The part of a calibration file that a lidar, the colour cameras and the IMU need.

    Attributes:
        p2: (3, 4) float64, pixels of camera 2 from the rectified camera-0 frame.
        rectified_from_reference: (4, 4) float64, `R0_rect`.
        reference_from_velodyne: (4, 4) float64, `Tr_velo_to_cam`.
        p3: as `p2` of camera 3, or None.
        velodyne_from_imu: (4, 4) float64, `Tr_imu_to_velo`, or None.
    """

    p2: NDArray[np.float64]
    rectified_from_reference: NDArray[np.float64]
    reference_from_velodyne: NDArray[np.float64]
    p3: NDArray[np.float64] | None = None
    velodyne_from_imu: NDArray[np.float64] | None = None

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read the text of a file of KITTI object or tracking; other rows are passed over.

        Raises:
            ValueError: a row is absent, has the wrong number of values, or is no calibration.
        """
        rows: dict[str, NDArray[np.float64]] = {}
        for line in content.decode("ascii", errors="replace").splitlines():
            name, _, values = line.strip().partition(" ")
            name = _ALIASES.get(name.rstrip(":"), name.rstrip(":"))
            if name in _SHAPES or (name in _OPTIONAL and values.strip()):
                rows[name] = _parse_row(name, values)
        missing = [name for name in _SHAPES if name not in rows]
        if missing:
            raise ValueError(f"no row {', '.join(missing)}")
        for name in ("P2", "P3"):
            if name in rows and not _is_pinhole(rows[name][:, :3]):
                raise ValueError(f"{name} is not a pinhole projection")
        for name in ("R0_rect", "Tr_velo_to_cam", "Tr_imu_to_velo"):
            if name in rows and not is_rotation(rows[name][:, :3]):
                raise ValueError(f"{name} holds no rotation")
        return cls(
            rows["P2"],
            make_transform(rows["R0_rect"], np.zeros(3)),
            _as_transform(rows["Tr_velo_to_cam"]),
            rows.get("P3"),
            _as_transform(rows["Tr_imu_to_velo"]) if "Tr_imu_to_velo" in rows else None,
        )

    @classmethod
    def from_sensors(cls, lidar: CalibratedSensor | None, camera: CalibratedSensor | None) -> Self:
        """Return the calibration whose chain gives these sensors back.

        Raises:
            DataError: the camera looks elsewhere than along x, which the format cannot say.
        """
        p2 = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]])
        if camera is not None and camera.camera_matrix is not None:
            camera_from_rectified = invert(camera.ego_from_sensor) @ EGO_FROM_RECTIFIED
            if not np.allclose(camera_from_rectified[:3, :3], np.eye(3), atol=1e-6):
                raise DataError(
                    f"camera {camera.name}: the KITTI format holds only a rectified camera that "
                    "looks along the ego frame's x axis; rectify the image or leave it out"
                )
            p2 = camera.camera_matrix @ camera_from_rectified[:3]
            p2[:, :3] = camera.camera_matrix
        ego_from_lidar = np.eye(4) if lidar is None else lidar.ego_from_sensor
        return cls(p2, np.eye(4), invert(EGO_FROM_RECTIFIED) @ ego_from_lidar)

    @property
    def lidar(self) -> CalibratedSensor:
        """The velodyne."""
        chain = self.rectified_from_reference @ self.reference_from_velodyne
        return CalibratedSensor("lidar_top", "lidar", EGO_FROM_RECTIFIED @ chain)

    @property
    def camera(self) -> CalibratedSensor:
        """Camera 2, the left colour camera; it stands beside camera 0."""
        return _camera("camera_front", self.p2)

    @property
    def right_camera(self) -> CalibratedSensor | None:
        """Camera 3, the right colour camera."""
        return None if self.p3 is None else _camera("camera_front_right", self.p3)

    @property
    def imu_from_ego(self) -> NDArray[np.float64] | None:
        """The (4, 4) transform into the frame of the inertial unit, where it is known."""
        if self.velodyne_from_imu is None:
            return None
        return invert(self.lidar.ego_from_sensor @ self.velodyne_from_imu)

    def to_text(self) -> str:
        """Return a whole calibration file; what is not known (other cameras, IMU) is filled in."""
        rows = {f"P{number}": self.p2 for number in range(4)}
        rows["P3"] = self.p2 if self.p3 is None else self.p3
        rows["R0_rect"] = self.rectified_from_reference[:3, :3]
        rows["Tr_velo_to_cam"] = self.reference_from_velodyne[:3]
        imu = self.velodyne_from_imu
        rows["Tr_imu_to_velo"] = (np.eye(4) if imu is None else imu)[:3]
        return "".join(
            f"{name}: {' '.join(f'{value:.15e}' for value in row.ravel())}\n"
            for name, row in rows.items()
        )


def _is_pinhole(matrix: NDArray[np.float64]) -> bool:
    has_lens = min(matrix[0, 0], matrix[1, 1]) > _MIN_FOCAL_PX and matrix[1, 0] == 0.0
    return bool(has_lens and np.allclose(matrix[2], [0, 0, 1]))


def _camera(name: str, projection: NDArray[np.float64]) -> CalibratedSensor:
    matrix = projection[:, :3].copy()
    camera_from_rectified = make_transform(np.eye(3), np.linalg.solve(matrix, projection[:, 3]))
    ego_from_camera = EGO_FROM_RECTIFIED @ invert(camera_from_rectified)
    return CalibratedSensor(name, "camera", ego_from_camera, matrix)


def _as_transform(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return make_transform(rows[:, :3], rows[:, 3])


def _parse_row(name: str, values: str) -> NDArray[np.float64]:
    shape = (_SHAPES | _OPTIONAL)[name]
    try:
        row = np.array([float(value) for value in values.split()])
    except ValueError:
        raise ValueError(f"{name} holds something that is not a number") from None
    if row.size != shape[0] * shape[1]:
        raise ValueError(f"{name} has {row.size} values, not {shape[0] * shape[1]}")
    if not (np.abs(row) < _MAX_NUMBER).all():
        raise ValueError(f"{name} holds a value that is not finite, or far too large")
    return row.reshape(shape)

"""Sensors of an OpenLABEL frame: streams with their calibration."""

from typing import Any

import numpy as np

from admlops.formats.label_file import BrokenLabelError
from admlops.formats.openlabel.coordinates import CoordinateSystems, numbers
from admlops.formats.openlabel.layout import Json
from admlops.structures.frame import CalibratedSensor, CameraImage, LidarSweep

Sensors = tuple[LidarSweep | None, CameraImage | None, tuple[CameraImage, ...]]


def read_sensors(declared: Json, own: Json, systems: CoordinateSystems, extension: Json) -> Sensors:
    """Return the lidar, the front camera and the other cameras of a frame.

    Args:
        declared: streams of the whole file.
        own: streams of the frame, which may say more.
        systems: where the sensors are.
        extension: what our writer adds.

    Raises:
        BrokenLabelError: a calibration is not as the format says.
    """
    lidar: LidarSweep | None = None
    images: list[CameraImage] = []
    regions = extension.get("ignore_regions_px", {})
    for name in own:
        stream = {**_stream(declared, name), **_stream(own, name)}
        kind = stream.get("type")
        if kind == "lidar" and lidar is None:
            pose = systems.ego_from(name)
            sensor = CalibratedSensor(name, "lidar", np.eye(4) if pose is None else pose)
            lidar = LidarSweep(sensor, np.empty((0, 4), np.float32))
        elif kind == "camera":
            found = regions.get(name, []) if isinstance(regions, dict) else []
            images.append(_image(name, stream, systems, found))
    front = extension.get("front_camera", images[0].sensor.name if images else "")
    camera = next((image for image in images if image.sensor.name == front), None)
    return lidar, camera, tuple(image for image in images if image is not camera)


def _stream(streams: Json, name: str) -> dict[str, Any]:
    stream = streams.get(name, {})
    if not isinstance(stream, dict):
        raise BrokenLabelError(f"stream {name!r:.40} is {stream!r:.40}, expected a JSON object")
    return stream


def _image(name: str, stream: Json, systems: CoordinateSystems, regions: Any) -> CameraImage:  # noqa: ANN401
    properties = stream.get("stream_properties", {})
    pinhole = properties.get("intrinsics_pinhole", {}) if isinstance(properties, dict) else {}
    if not isinstance(pinhole, dict):
        raise BrokenLabelError(f"intrinsics of {name!r:.40} are {pinhole!r:.40}")
    matrix = pinhole.get("camera_matrix")
    distortion = pinhole.get("distortion_coeffs", [])
    count = len(distortion) if isinstance(distortion, list) else 0
    kept = pinhole.get("num_distortion_coeffs", count)
    pose = systems.ego_from(name)
    sensor = CalibratedSensor(
        name=name,
        modality="camera",
        ego_from_sensor=np.eye(4) if pose is None else pose,
        camera_matrix=None
        if matrix is None
        else numbers(matrix, 12, f"camera_matrix of {name!r:.40}").reshape(3, 4)[:, :3].copy(),
        distortion=numbers(distortion, count, f"distortion of {name!r:.40}")[: _whole(kept)],
    )
    if not isinstance(regions, list):
        raise BrokenLabelError(f"ignore regions of {name!r:.40} are {regions!r:.40}")
    rows = [numbers(row, 4, "ignore region") for row in regions]
    return CameraImage(
        sensor=sensor,
        encoded=b"",
        width_px=_whole(pinhole.get("width_px", 0)),
        height_px=_whole(pinhole.get("height_px", 0)),
        ignore_regions_px=np.array(rows, dtype=np.float64).reshape(-1, 4),
    )


def _whole(value: Any) -> int:  # noqa: ANN401 - any JSON value
    if not isinstance(value, int) or not 0 <= value < 2**31:
        raise BrokenLabelError(f"{value!r:.40} is not a number of pixels or coefficients")
    return value

"""Drives whose speeds are given by hand, recorded as ROS 2 messages."""

import io

import numpy as np
from PIL import Image

from admlops.geometry.pose import make_transform
from admlops.recordings import decoding, encoding
from admlops.recordings.recorder import RosRecorder
from admlops.structures.frame import CalibratedSensor, CameraImage

S = 1_000_000_000
START_NS = 1_700_000_000 * S
CAMERA_AXES = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
MATRIX = np.array([[30.0, 0, 24], [0, 30.0, 16], [0, 0, 1]])
MOUNTED = make_transform(CAMERA_AXES, [1.0, 0.0, 1.5])


def picture(seed):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(20, 230, (32, 48), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def write_drive(path, speeds_mps, seed=0, period_s=0.1, bright=None, ahead_ns=0):
    """Record a sweep, an image and five odometries per speed; return the path.

    Args:
        path: the file.
        speeds_mps: one per sweep.
        seed: of points and images.
        period_s: between sweeps.
        bright: x and y in the ego frame of a point of intensity 1, by number of the sweep.
        ahead_ns: by how much the recorder's clock is ahead of the sensors'.
    """
    rng = np.random.default_rng(seed)
    x_m, period_ns = 0.0, round(period_s * S)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        recorder = RosRecorder(file)
        write = recorder.write
        recorder.write = lambda topic, kind, time_ns, data: write(
            topic, kind, time_ns + ahead_ns, data
        )
        mounting = [
            ("base_link", "lidar", make_transform(np.eye(3), [0.0, 0.0, 2.0])),
            ("base_link", "camera", MOUNTED),
        ]
        static = encoding.encode_transforms(START_NS, mounting)
        recorder.write("/tf_static", decoding.TRANSFORMS, START_NS, static)
        for row, speed in enumerate(speeds_mps):
            time_ns = START_NS + row * period_ns
            image = CameraImage(
                CalibratedSensor("camera", "camera", MOUNTED, MATRIX), picture(seed + row), 48, 32
            )
            info = encoding.encode_camera_info(time_ns, "camera", image)
            recorder.write("/camera/camera_info", decoding.CAMERA_INFO, time_ns, info)
            data = encoding.encode_compressed_image(time_ns, "camera", image.encoded)
            recorder.write("/camera/image_rect", decoding.COMPRESSED_IMAGE, time_ns, data)
            table = np.zeros(150, encoding.POINT_DTYPE)
            table["x"], table["y"] = rng.uniform(-30, 30, (2, 150))
            table["z"] = rng.uniform(-1, 1, 150)
            if row in (bright or {}):
                table["x"][0], table["y"][0], table["intensity"][0] = *bright[row], 1
            data = encoding.encode_points(time_ns, "lidar", table)
            recorder.write("/lidar/points", decoding.POINT_CLOUD, time_ns, data)
            for part in range(5):
                stamp = time_ns + part * period_ns // 5
                pose = make_transform(np.eye(3), [x_m, 0, 0])
                twist = np.array([speed, 0, 0, 0, 0, 0])
                data = encoding.encode_odometry(stamp, ("odom", "base_link"), pose, twist)
                recorder.write("/odometry", decoding.ODOMETRY, stamp, data)
                x_m += speed * period_s / 5
        recorder.finish()
    return path

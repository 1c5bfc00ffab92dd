"""Small frames with labels in one image."""

import io

import numpy as np
from PIL import Image

from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey

CAMERA = CalibratedSensor("camera_front", "camera", np.eye(4))


def jpeg(width: int, height: int, shade: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (shade, 90, 90)).save(file, "JPEG")
    return file.getvalue()


def make_frame(number: int, boxes: Boxes2d | None, **changes) -> Frame:
    image = CameraImage(CAMERA, jpeg(64, 48, number), 64, 48, np.array([[1.0, 2, 9, 8]]))
    values = {
        "key": FrameKey("bdd100k", "video", number * 200_000_000),
        "frame_id": f"name-{number}.jpg",
        "global_from_ego": np.eye(4),
        "camera": image,
        "boxes_2d": boxes,
        "split": "train",
    }
    return Frame(**(values | changes))


def make_boxes(
    names: tuple[str, ...] = ("car", "rider"), attributes: tuple[str, ...] = ()
) -> Boxes2d:
    count = len(names)
    corners = np.arange(4 * count).reshape(count, 4) % 5 + np.array([0.5, 1.25, 20, 30])
    texts = np.array(attributes or ("",) * count, dtype=object)
    tracks = np.array([f"t{number}" for number in range(count)], dtype=object)
    return Boxes2d.make(corners, names, attributes=texts, track_id=tracks)

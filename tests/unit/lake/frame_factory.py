"""Small frames for the lake's tests."""

import numpy as np

from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep


def make_boxes(seed: int, count: int) -> Boxes:
    rng = np.random.default_rng(seed)
    return Boxes.make(
        rng.normal(size=(count, 3)),
        rng.random((count, 3)) + 0.5,
        rng.uniform(-3, 3, count),
        ["car", "pedestrian", "cyclist"][seed % 3 :][:1] * count,
        num_points=np.arange(count),
    )


def make_frame(
    index: int, *, num_points: int = 10, labelled: bool = True, scene: str = "scene_0"
) -> Frame:
    rng = np.random.default_rng(index)
    lidar = LidarSweep(
        CalibratedSensor("lidar_top", "lidar", np.diag([1.0, 1.0, 1.0, 1.0])),
        rng.random((num_points, 4), dtype=np.float32),
    )
    camera = CameraImage(
        CalibratedSensor("camera_front", "camera", np.eye(4), np.diag([700.0, 700.0, 1.0])),
        f"png {index}".encode(),
        1242,
        375,
        np.full((index % 3, 4), float(index)),
    )
    return Frame(
        key=FrameKey("log_0", scene, index),
        frame_id=f"{index:06d}",
        global_from_ego=np.eye(4) * 1.0,
        lidar=lidar,
        camera=camera,
        boxes=make_boxes(index, index % 4) if labelled else None,
        tags=("night", "rain") if index % 2 else ("clear",),
        split="train" if labelled else "pool",
        source=f"kitti/{index:06d}",
    )

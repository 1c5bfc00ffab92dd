"""Toy frames for the tests of loading, models and training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from admlops.geometry.boxes import count_points_in_boxes
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

EGO_FROM_LIDAR = np.array(
    [[1.0, 0, 0, -0.27], [0, 1.0, 0, 0], [0, 0, 1.0, 1.73], [0, 0, 0, 1.0]], dtype=np.float64
)
EGO_FROM_CAMERA = np.array(
    [[0, 0, 1.0, 0], [-1.0, 0, 0, 0], [0, -1.0, 0, 1.65], [0, 0, 0, 1.0]], dtype=np.float64
)
CAMERA_MATRIX = np.array([[700.0, 0, 620], [0, 700.0, 187], [0, 0, 1]])
SIZES_M = {"car": (4.2, 1.8, 1.5), "pedestrian": (0.7, 0.7, 1.75), "cyclist": (1.8, 0.6, 1.7)}


def toy_frame(number: int, num_ground: int = 2000, num_boxes: int = 4, split: str = "train"):
    """Return a frame of flat ground and boxes full of points, on a lattice without overlaps."""
    generator = np.random.default_rng(number)
    places = generator.permutation(20)[:num_boxes]
    names = [list(SIZES_M)[i % 3] for i in range(num_boxes)]
    size = np.array([SIZES_M[name] for name in names]).reshape(-1, 3)
    center = np.column_stack([8.0 + 8 * (places // 4), -12.0 + 8 * (places % 4), size[:, 2] / 2])
    yaw = generator.uniform(-np.pi, np.pi, num_boxes)
    ground = generator.uniform([0, -25, -0.05], [50, 25, 0.0], (num_ground, 3))
    parts = [ground]
    for one_center, one_size, one_yaw in zip(center, size, yaw, strict=True):
        local = generator.uniform(-0.49, 0.49, (60, 3)) * one_size
        cosine, sine = np.cos(one_yaw), np.sin(one_yaw)
        turned = local @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
        parts.append(turned + one_center)
    in_ego = np.concatenate(parts)
    points = np.column_stack([in_ego - EGO_FROM_LIDAR[:3, 3], generator.uniform(0, 1, len(in_ego))])
    boxes = Boxes.make(center, size, yaw, names)
    boxes = boxes.replace(num_points=count_points_in_boxes(in_ego, boxes.as_7()))
    return Frame(
        key=FrameKey("toy", "scene", number),
        frame_id=f"{number:06d}",
        global_from_ego=np.eye(4),
        lidar=LidarSweep(
            CalibratedSensor("lidar_top", "lidar", EGO_FROM_LIDAR), points.astype(np.float32)
        ),
        camera=CameraImage(
            CalibratedSensor("camera_front", "camera", EGO_FROM_CAMERA, CAMERA_MATRIX),
            f"toy image {number}".encode(),
            1242,
            375,
        ),
        boxes=boxes,
        split=split,
    )


@pytest.fixture
def make_frame() -> Callable[..., Frame]:
    """Return the function that makes toy frames by number."""
    return toy_frame


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return a lake of six training and two validation frames."""
    folder: Path = tmp_path_factory.mktemp("toy")
    dataset = Dataset.create(str(folder / "lake"), licences=("CC0-1.0",))
    frames = [toy_frame(number) for number in range(6)]
    frames += [toy_frame(number, split="val") for number in (6, 7)]
    dataset.append(frames)
    return dataset

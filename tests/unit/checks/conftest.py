"""A flat street with objects, clean by construction."""

import numpy as np
import pytest

from admlops.detection.presets import pointpillars_kitti
from admlops.geometry.boxes import count_points_in_boxes
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey, LidarSweep

SIZES_M = {
    "car": (3.9, 1.6, 1.56),
    "pedestrian": (0.8, 0.6, 1.73),
    "cyclist": (1.76, 0.6, 1.73),
}
LIDAR_HEIGHT_M = 1.73


def make_frame(seed: int, split: str = "train", scene: str = "") -> Frame:
    """Return a frame with nine objects at random yaws, seen from all sides."""
    random = np.random.default_rng(seed)
    names = np.array(["car", "pedestrian", "cyclist"] * 3, dtype=object)
    size = np.array([SIZES_M[name] for name in names]) * random.uniform(0.95, 1.05, (9, 1))
    place = np.column_stack([random.permutation(9) * 6.0 + 8.0, random.uniform(-18, 18, 9)])
    center = np.column_stack([place, size[:, 2] / 2])
    yaw = random.uniform(-np.pi, np.pi, 9)
    points = np.concatenate([_ground(random), *map(_surface, center, size, yaw, [random] * 9)])
    boxes = Boxes.make(center, size, yaw, names)
    boxes = boxes.replace(num_points=count_points_in_boxes(points, boxes.as_7()))
    boxes = boxes.replace(box2d_px=np.tile([10.0, 20.0, 110.0, 80.0], (9, 1)))
    pose = np.eye(4)
    pose[:2, 3] = [100.0 * seed, 7.0]
    ego_from_lidar = np.eye(4)
    ego_from_lidar[2, 3] = LIDAR_HEIGHT_M
    points[:, 2] -= LIDAR_HEIGHT_M
    sensor = CalibratedSensor("lidar_top", "lidar", ego_from_lidar)
    intensity = random.uniform(0.0, 1.0, (len(points), 1))
    sweep = LidarSweep(sensor, np.hstack([points, intensity]).astype(np.float32))
    key = FrameKey("log", scene or f"scene_{seed}", 100_000_000 * seed)
    return Frame(key, f"{seed:06d}", pose, sweep, boxes=boxes, split=split)


def _ground(random: np.random.Generator) -> np.ndarray:
    count = 12_000
    x, y = random.uniform(-30, 68, count), random.uniform(-35, 35, count)
    return np.column_stack([x, y, random.normal(0.0, 0.02, count)])


def _surface(center, size, yaw, random) -> np.ndarray:
    unit = random.uniform(-0.49, 0.49, (150, 3))
    side = random.integers(0, 3, 150)
    rows = np.arange(150)
    unit[rows, side] = np.where(unit[rows, side] > 0, 0.49, -0.49)
    local = unit[unit[:, 2] > -0.48] * size
    cosine, sine = np.cos(yaw), np.sin(yaw)
    x = local[:, 0] * cosine - local[:, 1] * sine
    y = local[:, 0] * sine + local[:, 1] * cosine
    return np.column_stack([x, y, local[:, 2]]) + center


@pytest.fixture(scope="session")
def frames() -> tuple[Frame, ...]:
    """Return six clean frames of six scenes, four in train and two in val."""
    return tuple(make_frame(seed, "train" if seed < 5 else "val") for seed in range(1, 7))


@pytest.fixture(scope="session")
def detector():
    """Return the paper's detector."""
    return pointpillars_kitti()


@pytest.fixture(scope="session")
def street():
    """Return the function that makes a frame from a seed."""
    return make_frame

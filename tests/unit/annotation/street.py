"""A street by hand: flat ground, four objects full of points, frames half a second apart."""

import numpy as np

from admlops.annotation.gold import PackageKey, PackedFrame
from admlops.geometry.camera import project_boxes
from admlops.geometry.pose import make_transform
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

SIZES_M = {"car": (4.2, 1.8, 1.5), "pedestrian": (0.8, 0.6, 1.7), "van": (5.0, 2.0, 2.2)}
OBJECTS = (
    # category, x and y at the first frame, speed along x, m/s
    ("car", 12.0, 3.0, 6.0),
    ("car", 20.0, -3.0, 6.0),
    ("pedestrian", 26.0, -4.35, 0.0),  # beside the other car at the third frame
    ("van", 30.0, 8.0, 5.0),
)
CAR, OTHER_CAR, PEDESTRIAN, VAN = range(4)
ATTRIBUTES = {"car": '{"motion": "moving"}', "van": '{"motion": "moving"}'}
STEP_S = 0.5
PACKAGE_ID = "package-0123456789abcdef"
COUNT = 5
EGO_FROM_LIDAR = make_transform(np.eye(3), [0.0, 0.0, 1.7])
EGO_FROM_CAMERA = make_transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.0, 0.0, 1.65])
CAMERA_MATRIX = np.array([[700.0, 0, 620.5], [0, 700.0, 172.5], [0, 0, 1]])


def true_boxes(number):
    """Return the objects of a frame as a careful hand delivers them."""
    size = np.array([SIZES_M[name] for name, *_ in OBJECTS])
    x = [at + speed * STEP_S * number for _, at, _, speed in OBJECTS]
    y = [at for _, _, at, _ in OBJECTS]
    names = [name for name, *_ in OBJECTS]
    attributes = [ATTRIBUTES.get(name, '{"posture": "upright"}') for name in names]
    return Boxes.make(
        np.column_stack([x, y, size[:, 2] / 2]),
        size,
        np.zeros(len(names)),
        names,
        track_id=np.array([f"t{row}" for row in range(len(names))], object),
        attributes=np.array(attributes, object),
    )


def cloud(boxes, seed=0):
    """Return points on the ground and on the sides of boxes, in the lidar's frame."""
    random = np.random.default_rng(seed)
    ground = np.column_stack([random.uniform([0, -20], [60, 20], (3000, 2)), np.zeros(3000)])
    parts = [ground + random.normal(0, 0.02, ground.shape)]
    for center, size in zip(boxes.center_m, boxes.size_m, strict=True):
        side = random.integers(0, 4, 150)
        local = random.uniform(-0.48, 0.48, (150, 3))
        local[side == 0, 0], local[side == 1, 0] = -0.48, 0.48
        local[side == 2, 1], local[side == 3, 1] = -0.48, 0.48
        parts.append(local * size + center)
    points = np.concatenate(parts) - EGO_FROM_LIDAR[:3, 3]
    return np.column_stack([points, np.full(len(points), 0.5)]).astype(np.float32)


def street_frame(number, boxes=None):
    """Return a frame with sensor data; its boxes are the known ones."""
    sensor = CalibratedSensor("lidar_top", "lidar", EGO_FROM_LIDAR)
    return Frame(
        key=FrameKey("log", "scene", round(number * STEP_S * 1e9)),
        frame_id=f"{number:06d}",
        global_from_ego=np.eye(4),
        lidar=LidarSweep(sensor, cloud(true_boxes(number), number)),
        boxes=boxes,
    )


def street_camera():
    """Return the camera that looks along the street, without an image."""
    sensor = CalibratedSensor("camera_front", "camera", EGO_FROM_CAMERA, CAMERA_MATRIX)
    return CameraImage(sensor, b"", 1242, 375)


def true_boxes_2d(number):
    """Return the objects of a frame as a careful hand draws them into the image."""
    boxes = true_boxes(number)
    return Boxes2d.make(
        project_boxes(boxes.as_7(), EGO_FROM_CAMERA, CAMERA_MATRIX, (1242, 375)),
        boxes.category,
        track_id=boxes.track_id,
        attributes=boxes.attributes,
    )


def packed_frame(number, is_gold=False):
    time_ns = round(number * STEP_S * 1e9)
    return PackedFrame(
        frame_id=f"{number:06d}",
        alias=(PACKAGE_ID, "aabbccdd", time_ns),
        log="log",
        scene="scene",
        timestamp_ns=time_ns,
        is_gold=is_gold,
    )


def package_key(count, gold=()):
    return PackageKey(
        package_id=PACKAGE_ID,
        request_id="request",
        dataset="lake@1",
        definition="Urban lidar 1.0",
        frames=tuple(packed_frame(number, number in gold) for number in range(count)),
    )


def change(boxes, row, **columns):
    """Return boxes in which one row of some columns is another."""
    changed = {}
    for name, value in columns.items():
        column = getattr(boxes, name).copy()
        column[row] = value
        changed[name] = column
    return boxes.replace(**changed)

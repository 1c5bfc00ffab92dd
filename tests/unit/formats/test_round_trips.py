"""Whatever frames a writer is given, its reader brings back what the format can hold.

Frames are made up by hypothesis. OpenLABEL, CVAT and the rows of KITTI's labels have such tests of
their own, of everything that they hold; mmdetection3d's infos have no reader.
"""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from admlops.formats.argoverse2.writer import write_log
from admlops.formats.bdd100k.writer import write_labels
from admlops.formats.coco.writer import write_instances
from admlops.formats.kitti.calibration import EGO_FROM_RECTIFIED
from admlops.formats.kitti.writer import write_frames
from admlops.formats.kitti_tracking.writer import write_sequences as write_tracking
from admlops.formats.nuscenes.writer import write_version
from admlops.formats.once.writer import write_sequences as write_once
from admlops.formats.source import ReadOptions
from admlops.formats.voc.writer import write_annotations
from admlops.geometry.pose import make_transform, rotation_from_quaternion
from admlops.steps.sources import open_source
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

PLACES = st.floats(-80, 80)
SIZES = st.floats(0.1, 20)
YAWS = st.floats(-3.1415, 3.1415)
UNIT = st.floats(0, 1, width=32)
MAX_TILT = 0.02
"""Vehicles stand nearly level: formats of the global frame know boxes that stand upright."""
FEW = settings(
    max_examples=10,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # small as they are
    suppress_health_check=[HealthCheck.too_slow],
)


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, kind)
    return file.getvalue()


JPEG = picture("JPEG")
CAMERA = CalibratedSensor(
    "camera_front", "camera", EGO_FROM_RECTIFIED, np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
)


def objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@st.composite
def poses(draw, reach_m=1000.0):
    leans = [draw(st.floats(-MAX_TILT, MAX_TILT)) for _ in range(2)]
    quaternion = np.array([draw(st.floats(0.1, 1)), *leans, draw(st.floats(-1, 1))])
    place = [draw(st.floats(-reach_m, reach_m)) for _ in range(3)]
    return make_transform(rotation_from_quaternion(quaternion / np.linalg.norm(quaternion)), place)


@st.composite
def clouds(draw):
    rows = draw(st.lists(st.tuples(PLACES, PLACES, st.floats(-3, 5), UNIT), min_size=1, max_size=5))
    return np.array(rows, dtype=np.float32)


@st.composite
def boxes(draw, categories):
    """Return boxes in different places, with and without a track."""
    count = draw(st.integers(0, 4))
    names = [draw(st.sampled_from(categories)) for _ in range(count)]
    rows = [(draw(PLACES), draw(PLACES), draw(st.floats(-2, 4))) for _ in range(count)]
    sizes = [(draw(SIZES), draw(SIZES), draw(SIZES)) for _ in range(count)]
    return Boxes.make(
        np.array(rows).reshape(-1, 3),
        np.array(sizes).reshape(-1, 3),
        [draw(YAWS) for _ in range(count)],
        objects(names),
        track_id=objects([str(number) for number in range(count)]),
        occlusion=[draw(st.integers(-1, 3)) for _ in range(count)],
        truncation=[draw(st.sampled_from([0.0, math.nan])) for _ in range(count)],
        num_points=[draw(st.integers(0, 100)) for _ in range(count)],
    )


@st.composite
def boxes_2d(draw, categories):
    count = draw(st.integers(0, 4))
    corners = [
        (x, y, x + draw(st.floats(0.5, 20)), y + draw(st.floats(0.5, 20)))
        for x, y in [(draw(st.floats(0, 40)), draw(st.floats(0, 25))) for _ in range(count)]
    ]
    return Boxes2d.make(
        np.array(corners).reshape(-1, 4),
        objects([draw(st.sampled_from(categories)) for _ in range(count)]),
        track_id=objects([str(number) for number in range(count)]),
    )


@st.composite
def drives(draw, categories):
    """Return one scene: key frames and, between them, frames without labels."""
    times = draw(st.lists(st.integers(1, 10**6), min_size=1, max_size=3, unique=True))
    lidar = CalibratedSensor("lidar_top", "lidar", draw(poses(3.0)))
    frames = []
    for number, time_ms in enumerate(sorted(times)):
        labels = draw(boxes(categories)) if number == 0 or draw(st.booleans()) else None
        frames.append(
            Frame(
                key=FrameKey("log", "scene", time_ms * 1_000_000),
                frame_id=f"{number:06d}",
                global_from_ego=draw(poses()),
                lidar=LidarSweep(lidar, draw(clouds())),
                camera=CameraImage(CAMERA, JPEG, 64, 48),
                boxes=labels,
                split="train",
            )
        )
    return frames


@st.composite
def albums(draw, categories):
    frames = []
    for number in range(draw(st.integers(1, 3))):
        labels = draw(boxes_2d(categories))
        regions = np.array(draw(st.lists(st.just((1.5, 2.0, 9.0, 8.25)), max_size=2)))
        image = CameraImage(
            replace(CAMERA, ego_from_sensor=np.eye(4), camera_matrix=None),
            JPEG,
            64,
            48,
            regions.reshape(-1, 4),
        )
        frames.append(
            Frame(
                key=FrameKey("bdd100k", "video", number * 200_000_000),
                frame_id=f"{number:06d}.jpg",
                global_from_ego=np.eye(4),
                camera=image,
                boxes_2d=labels,
                split="train",
            )
        )
    return frames


def read(root, format_name):
    source = open_source(root, format_name, ReadOptions())
    assert not source.findings
    results = [source.read(index) for index in range(len(source))]
    findings = [finding for result in results for finding in result.findings]
    assert {finding.rule.rule_id for finding in findings} <= {"READ013", "KITTI007", "KITTI012"}
    return [result.frame for result in results]


def in_order(table):
    return np.argsort(table.track_id.astype(str), kind="stable")


def assert_same_boxes(after: Boxes, before: Boxes, atol: float = 1e-6) -> None:
    """Compare boxes in the order of their tracks, where they came back with those."""
    rows = in_order(after), in_order(before)
    one, other = after.select(rows[0]), before.select(rows[1])
    assert one.category.tolist() == other.category.tolist()
    np.testing.assert_allclose(one.center_m, other.center_m, atol=atol)
    np.testing.assert_allclose(one.size_m, other.size_m, atol=1e-6)
    turn = np.abs(np.angle(np.exp(1j * (one.yaw_rad - other.yaw_rad))))
    assert (turn < 1e-3).all()


def assert_same_points(after: Frame, before: Frame, atol: float) -> None:
    found, wanted = after.points_in_ego(), before.points_in_ego()
    np.testing.assert_allclose(found[:, :3], wanted[:, :3], atol=atol)
    np.testing.assert_allclose(found[:, 3], wanted[:, 3], atol=1 / 255)


class TestDrives:
    @given(frames=drives(("car", "pedestrian", "bus")))
    @settings(FEW, max_examples=4)  # DuckDB opens a dozen tables each time
    def test_nuscenes(self, frames, tmp_path_factory):
        root = tmp_path_factory.mktemp("nuscenes")
        write_version(root, [frames])
        for after, before in zip(read(root, "nuscenes"), frames, strict=True):
            assert after.key == before.key
            np.testing.assert_allclose(after.global_from_ego, before.global_from_ego, atol=1e-9)
            assert_same_points(after, before, 1e-4)
            assert (after.boxes is None) == (before.boxes is None)
            if before.boxes is not None:
                one, other = after.boxes, before.boxes
                np.testing.assert_allclose(one.as_7()[:, :6], other.as_7()[:, :6], atol=1e-5)
                assert one.category.tolist() == other.category.tolist()
                assert one.num_points.tolist() == other.num_points.tolist()

    @given(frames=drives(("pedestrian", "bus", "regular_vehicle")))
    @FEW
    def test_argoverse2(self, frames, tmp_path_factory):
        root = tmp_path_factory.mktemp("argoverse2")
        write_log(root / "train" / "log", frames)
        for after, before in zip(read(root, "argoverse2"), frames, strict=True):
            assert after.key.timestamp_ns == before.key.timestamp_ns
            np.testing.assert_allclose(after.global_from_ego, before.global_from_ego, atol=1e-9)
            assert_same_points(after, before, 0.07)  # half floats
            assert after.camera.encoded == before.camera.encoded
            if before.boxes is not None and len(before.boxes):
                assert_same_boxes(after.boxes, before.boxes)
                assert set(after.boxes.track_id) == set(before.boxes.track_id)

    @given(frames=drives(("car", "pedestrian", "bus")))
    @FEW
    def test_once(self, frames, tmp_path_factory):
        root = tmp_path_factory.mktemp("once")
        write_once(root, [frames])
        for after, before in zip(read(root, "once"), frames, strict=True):
            assert after.key.timestamp_ns == before.key.timestamp_ns
            np.testing.assert_allclose(after.global_from_ego, before.global_from_ego, atol=1e-6)
            assert_same_points(after, before, 1e-4)
            assert (after.boxes is None) == (before.boxes is None)
            if before.boxes is not None:
                same_order = before.boxes.replace(track_id=after.boxes.track_id)
                assert_same_boxes(after.boxes, same_order)

    @given(frames=drives(("car", "pedestrian", "van", "person_sitting")))
    @FEW
    def test_kitti_tracking(self, frames, tmp_path_factory):
        frames = [frame for frame in frames if frame.boxes is not None]
        root = tmp_path_factory.mktemp("tracking")
        write_tracking(root, [frames])
        found = read(root, "kitti_tracking")
        moved = np.linalg.inv(found[0].global_from_ego), np.linalg.inv(frames[0].global_from_ego)
        for after, before in zip(found, frames, strict=True):
            np.testing.assert_allclose(
                moved[0] @ after.global_from_ego, moved[1] @ before.global_from_ego, atol=1e-3
            )
            np.testing.assert_array_equal(after.lidar.points, before.lidar.points)
            assert_same_boxes(after.boxes, before.boxes, 1e-5)
            assert after.boxes.track_id.tolist() == before.boxes.track_id.tolist()
            assert after.boxes.occlusion.tolist() == before.boxes.occlusion.tolist()
            np.testing.assert_array_equal(after.boxes.truncation, before.boxes.truncation)

    @given(frames=drives(("car", "pedestrian", "van", "person_sitting")))
    @FEW
    def test_kitti_object(self, frames, tmp_path_factory):
        root = tmp_path_factory.mktemp("object")
        write_frames(root, frames)
        found = {frame.key: frame for frame in read(root, "kitti_object")}
        assert found.keys() == {frame.key for frame in frames}
        for before in frames:
            after = found[before.key]
            np.testing.assert_array_equal(after.global_from_ego, before.global_from_ego)
            np.testing.assert_array_equal(after.lidar.points, before.lidar.points)
            assert (after.boxes is None) == (before.boxes is None)
            if before.boxes is not None:
                assert_same_boxes(after.boxes, before.boxes, 1e-5)
                assert after.boxes.occlusion.tolist() == before.boxes.occlusion.tolist()


class TestAlbums:
    @pytest.mark.parametrize("format_name", ["coco", "voc", "bdd100k"])
    @given(frames=albums(("car", "bus", "bicycle")))
    @FEW
    def test_labels_in_images(self, format_name, frames, tmp_path_factory):
        root = tmp_path_factory.mktemp(format_name)
        if format_name == "coco":
            write_instances(root, "train", frames)
        elif format_name == "voc":
            write_annotations(root, frames)
        else:
            write_labels(root, "train", frames, is_video=True)
        for after, before in zip(read(root, format_name), frames, strict=True):
            np.testing.assert_allclose(after.boxes_2d.box2d_px, before.boxes_2d.box2d_px, atol=1e-9)
            assert after.boxes_2d.category.tolist() == before.boxes_2d.category.tolist()
            assert after.camera.encoded == before.camera.encoded
            assert after.split == before.split
            if format_name != "voc":
                np.testing.assert_allclose(
                    after.camera.ignore_regions_px, before.camera.ignore_regions_px
                )
            if format_name == "bdd100k":
                assert after.key == before.key
                assert after.boxes_2d.track_id.tolist() == before.boxes_2d.track_id.tolist()


def test_json_of_attributes_is_kept_by_nuscenes(tmp_path):
    """Attributes name nuScenes' own category, which a second trip keeps."""
    sweep = LidarSweep(CalibratedSensor("a", "lidar", np.eye(4)), np.ones((1, 4), np.float32))
    labels = Boxes.make(
        [[1, 2, 3]],
        [[1, 1, 1]],
        [0.1],
        ["pedestrian"],
        attributes=objects(['{"category": "human.pedestrian.child"}']),
        num_points=[3],
    )
    frame = Frame(FrameKey("log", "scene", 1000), "a", np.eye(4), sweep, boxes=labels)
    write_version(tmp_path, [[frame]])
    (found,) = read(tmp_path, "nuscenes")
    assert found.boxes.category.tolist() == ["pedestrian"]
    assert json.loads(found.boxes.attributes[0])["category"] == "human.pedestrian.child"

"""Argoverse 2: the real log, a round trip, and damaged files."""

import io
import pickle
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from admlops.errors import DataError
from admlops.formats.argoverse2.log import read_log
from admlops.formats.argoverse2.source import LIDAR, _exposed, open_folder
from admlops.formats.argoverse2.tables import parse_table, write_table
from admlops.formats.argoverse2.writer import write_log
from admlops.formats.source import ReadOptions
from admlops.simulation.config import SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.sources import find_format
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

LOG = "7fab2350-7eaf-3b7e-a39d-6937a4c1bede"


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def real(real_data):
    return real_data / "argoverse2"


@pytest.fixture
def copy(real, tmp_path):
    shutil.copytree(real / "val" / LOG, tmp_path / LOG)
    return tmp_path / LOG


def read(root, **options):
    source = open_folder(root, ReadOptions(**options))
    return [source.read(index) for index in range(len(source))]


class TestRealLog:
    def test_sweeps_boxes_and_tracks(self, real):
        assert find_format(real) == "argoverse2"
        results = read(real)
        assert len(results) == 2
        stored = parse_table(
            (real / "val" / LOG / "annotations.feather").read_bytes(),
            {"timestamp_ns": int, "category": str, "track_uuid": str, "num_interior_pts": int},
        )
        for result in results:
            frame = result.frame
            assert (frame.key.log, frame.split) == (LOG, "val")
            own = stored["timestamp_ns"] == frame.key.timestamp_ns
            names = Counter(name.lower() for name in stored["category"][own])
            assert Counter(frame.boxes.category) == names
            assert set(frame.boxes.track_id) == set(stored["track_uuid"][own])
            assert frame.lidar.points[:, 3].max() <= 1.0
        assert [len(result.frame.lidar.points) for result in results] == [99229, 99466]

    def test_stored_numbers_of_points_are_reproduced(self, real):
        """All but those of boxes with a point on their border: coordinates are half floats."""
        for result in read(real):
            frame = result.frame
            stored = parse_table(
                (real / "val" / LOG / "annotations.feather").read_bytes(),
                {"timestamp_ns": int, "num_interior_pts": int},
            )
            own = stored["timestamp_ns"] == frame.key.timestamp_ns
            difference = frame.boxes.num_points - stored["num_interior_pts"][own]
            assert np.abs(difference).max() <= 2
            assert (difference == 0).mean() > 0.95

    def test_the_ego_frame_stands_on_the_road(self, real):
        """A plane through the points around the vehicle goes through the origin, within 5 cm."""
        for result in read(real):
            points = result.frame.points_in_ego().astype(np.float64)
            near = (np.hypot(points[:, 0], points[:, 1]) < 7) & (np.abs(points[:, 2]) < 0.3)
            rows = np.column_stack([points[near, :2], np.ones(near.sum())])
            plane = np.linalg.lstsq(rows, points[near, 2], rcond=None)[0]
            assert near.sum() > 1000
            assert abs(plane[2]) < 0.05

    def test_cameras_look_ahead_through_rectified_images(self, real):
        cameras = read_log(real / "val" / LOG, real).cameras
        assert len(cameras) == 9
        front = cameras["ring_front_center"]
        assert front.distortion.size == 0
        assert front.ego_from_sensor[:3, 2] == pytest.approx([1, 0, 0], abs=0.02)
        assert front.ego_from_sensor[2, 3] == pytest.approx(1.4 + 0.33, abs=0.02)

    def test_a_camera_stands_where_it_exposed(self, real, copy):
        """An image a tenth of a second later is seen from where the vehicle was by then."""
        first, second = (result.frame for result in read(real))
        step = np.linalg.inv(first.global_from_ego) @ second.global_from_ego
        camera = copy / "sensors" / "cameras" / "ring_front_center"
        camera.mkdir(parents=True)
        (camera / f"{second.key.timestamp_ns}.jpg").write_bytes(jpeg())
        log = read_log(copy, copy)
        usual = log.cameras["ring_front_center"]
        assert read(copy)[1].frame.camera.sensor.ego_from_sensor == pytest.approx(
            usual.ego_from_sensor
        )
        moved = _exposed(usual, log, second.key.timestamp_ns, first.key.timestamp_ns)
        assert moved.ego_from_sensor == pytest.approx(step @ usual.ego_from_sensor)
        assert _exposed(usual, log, 3, first.key.timestamp_ns) is usual

    def test_the_pose_is_the_citys(self, real):
        first, second = (result.frame for result in read(real))
        step_m = second.global_from_ego[:3, 3] - first.global_from_ego[:3, 3]
        assert 0.05 < np.linalg.norm(step_m) < 0.1  # nearly standing
        heading = first.global_from_ego[:3, 0]
        assert step_m @ heading == pytest.approx(np.linalg.norm(step_m), rel=0.02)

    def test_a_source_travels_between_processes(self, real):
        source = open_folder(real, ReadOptions())
        other = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own object
        assert other.read(1).frame.key == source.read(1).frame.key


class TestRoundTrip:
    def test_a_drive_comes_back(self, tmp_path):
        group = SceneGroup(num_scenes=1, frames_per_scene=3)
        nothing = SceneGroup(num_scenes=0, frames_per_scene=1)
        frames = list(simulate(WorldConfig(seed=3, train=group, val=nothing, pool=nothing)))
        assert write_log(tmp_path / "train" / "drive", frames) == 3
        names = {name.upper(): name for frame in frames for name in frame.boxes.category}
        results = read(tmp_path, categories=names)
        for before, result in zip(frames, results, strict=True):
            after = result.frame
            assert after.key.timestamp_ns == before.key.timestamp_ns
            assert after.split == "train"
            np.testing.assert_allclose(after.boxes.as_7(), before.boxes.as_7(), atol=1e-9)
            assert after.boxes.category.tolist() == before.boxes.category.tolist()
            assert after.boxes.track_id.tolist() == before.boxes.track_id.tolist()
            np.testing.assert_allclose(after.global_from_ego, before.global_from_ego, atol=1e-9)
            np.testing.assert_allclose(
                after.points_in_ego(), before.points_in_ego(), rtol=1e-3, atol=3e-3
            )
            image = after.camera
            assert after.other_cameras == ()
            assert image.encoded == before.camera.encoded
            np.testing.assert_allclose(
                image.sensor.ego_from_sensor, before.camera.sensor.ego_from_sensor, atol=1e-9
            )
            np.testing.assert_allclose(
                image.sensor.camera_matrix, before.camera.sensor.camera_matrix
            )

    def test_images_that_are_not_rectified_cannot_be_written(self, tmp_path):
        sensor = CalibratedSensor("a", "camera", np.eye(4), np.eye(3), np.array([0.1]))
        sweep = LidarSweep(LIDAR, np.ones((1, 4), np.float32))
        image = CameraImage(sensor, jpeg(), 8, 8)
        frame = Frame(FrameKey("a", "b", 1), "c", np.eye(4), sweep, image)
        with pytest.raises(DataError, match="camera a: Argoverse 2 holds rectified images"):
            write_log(tmp_path, [frame])

    def test_the_real_log_comes_back_exactly(self, real, tmp_path):
        frames = [result.frame for result in read(real)]
        write_log(tmp_path / LOG, frames)
        for before, result in zip(frames, read(tmp_path), strict=True):
            after = result.frame
            np.testing.assert_array_equal(after.lidar.points, before.lidar.points)
            np.testing.assert_allclose(after.boxes.as_7(), before.boxes.as_7(), atol=1e-9)
            assert after.boxes.num_points.tolist() == before.boxes.num_points.tolist()
            np.testing.assert_allclose(after.global_from_ego, before.global_from_ego, atol=1e-8)


def change(path, **columns):
    """Rewrite a table with some columns changed."""
    from pyarrow import feather

    table = feather.read_table(path)
    values = {name: table[name].to_numpy() for name in table.column_names}
    values |= {name: made(values[name].copy()) for name, made in columns.items()}
    path.write_bytes(write_table(values))


def nothing_finite(values):
    values[0] = np.nan
    return values


class TestDamage:
    @pytest.mark.parametrize(
        ("file", "column", "made", "rule"),
        [
            ("annotations.feather", "length_m", lambda v: v * 0, "READ011"),
            ("annotations.feather", "qw", lambda v: v * 3, "READ006"),
            ("annotations.feather", "tx_m", nothing_finite, "READ006"),
            ("annotations.feather", "category", lambda v: v + "X", "READ010"),
            ("city_SE3_egovehicle.feather", "timestamp_ns", lambda v: v + 1, "READ012"),
            ("city_SE3_egovehicle.feather", "qx", lambda v: v + 1, "READ012"),
            ("calibration/intrinsics.feather", "fx_px", lambda v: v * 0, "READ005"),
            (
                "calibration/egovehicle_SE3_sensor.feather",
                "sensor_name",
                lambda v: v + "X",
                "READ005",
            ),
            ("sensors/lidar/315966265259836000.feather", "x", nothing_finite, "READ003"),
            ("sensors/lidar/315966265259836000.feather", "y", lambda v: v * 0 + 999, "READ004"),
        ],
    )
    def test_values(self, copy, file, column, made, rule):
        change(copy / file, **{column: made})
        found = Counter(f.rule.rule_id for result in read(copy) for f in result.findings)
        assert set(found) - {"READ013"} == {rule}
        assert read(copy)[0].frame is None

    @pytest.mark.parametrize(
        ("file", "rule"),
        [
            ("annotations.feather", "READ006"),
            ("city_SE3_egovehicle.feather", "READ012"),
            ("calibration/intrinsics.feather", "READ005"),
            ("sensors/lidar/315966265259836000.feather", "READ002"),
        ],
    )
    def test_cut_files(self, copy, file, rule):
        content = (copy / file).read_bytes()
        for size in (0, 10, len(content) // 2, len(content) - 4):
            (copy / file).write_bytes(content[:size])
            assert rule in {f.rule.rule_id for f in read(copy)[0].findings}

    def test_a_missing_table_is_named(self, copy):
        (copy / "city_SE3_egovehicle.feather").unlink()
        assert {f.rule.rule_id for f in read(copy)[0].findings} - {"READ013"} == {"READ001"}

    def test_a_column_of_another_kind(self):
        content = write_table({"a": np.array(["x"], dtype=object)})
        with pytest.raises(ValueError, match="column a is string, expected float"):
            parse_table(content, {"a": float})
        with pytest.raises(ValueError, match="no column b"):
            parse_table(content, {"b": float})

    def test_no_log(self, tmp_path):
        with pytest.raises(DataError, match="no Argoverse 2 log"):
            open_folder(tmp_path, ReadOptions())

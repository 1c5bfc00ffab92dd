"""KITTI tracking: the real sequence, a round trip, and damaged files."""

import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest

from admlops.errors import DataError
from admlops.formats.kitti.oxts import oxts_from_poses, parse_oxts, poses_from_oxts
from admlops.formats.kitti_tracking.labels import parse_sequence
from admlops.formats.kitti_tracking.source import open_folder
from admlops.formats.kitti_tracking.writer import write_sequences
from admlops.formats.source import ReadOptions
from admlops.geometry.pose import invert, make_transform, rotation_about_z
from admlops.simulation.config import SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.sources import find_format


@pytest.fixture
def real(real_data):
    return real_data / "kitti_tracking"


@pytest.fixture
def copy(real, tmp_path):
    shutil.copytree(real, tmp_path / "copy")
    return tmp_path / "copy"


def read(root, **options):
    source = open_folder(root, ReadOptions(**options))
    return source, [source.read(index) for index in range(len(source))]


class TestRealSequence:
    def test_frames_tracks_and_cameras(self, real):
        assert find_format(real) == "kitti_tracking"
        source, results = read(real)
        assert len(source) == 2
        (finding,) = source.findings
        assert finding.rule.rule_id == "READ014"
        assert "445 labelled frames" in finding.what
        for number, result in enumerate(results):
            frame = result.frame
            assert frame is not None
            assert result.findings == ()
            assert frame.key == ("kitti_tracking", "training_0001", number * 100_000_000)
            assert [image.sensor.name for image in frame.cameras] == [
                "camera_front",
                "camera_front_right",
            ]
            assert frame.boxes is not None
            rows = (real / "training/label_02/0001.txt").read_text().splitlines()
            own = [row.split() for row in rows if row.split()[0] == str(number)]
            assert len(frame.boxes) == sum(row[2] != "DontCare" for row in own)
            assert len(frame.camera.ignore_regions_px) == sum(row[2] == "DontCare" for row in own)
            assert set(frame.boxes.track_id) == {row[1] for row in own if row[2] != "DontCare"}
            assert result.mapped.total() == len(frame.boxes)
            near = np.hypot(*frame.boxes.center_m[:, :2].T) < 25
            assert (frame.boxes.num_points[near & (frame.boxes.occlusion == 0)] > 20).all()

    def test_a_standing_object_stays_in_place_in_the_global_frame(self, real):
        """Between the frames the vehicle drives a metre; tracks seen twice move much less."""
        _, results = read(real)
        first, second = (result.frame for result in results)
        step = invert(first.global_from_ego) @ second.global_from_ego
        assert 0.5 < np.linalg.norm(step[:3, 3]) < 2.0
        assert step[0, 3] == pytest.approx(np.linalg.norm(step[:3, 3]), rel=0.01)
        places = [
            {
                track: (frame.global_from_ego @ [*center, 1.0])[:2]
                for track, center in zip(frame.boxes.track_id, frame.boxes.center_m, strict=True)
            }
            for frame in (first, second)
        ]
        both = places[0].keys() & places[1].keys()
        moved = [np.linalg.norm(places[1][track] - places[0][track]) for track in both]
        assert len(moved) >= 3
        assert np.median(moved) < 0.3

    def test_the_right_camera_stands_half_a_metre_beside_the_left(self, real):
        _, results = read(real)
        left, right = (image.sensor.ego_from_sensor[:3, 3] for image in results[0].frame.cameras)
        assert left[1] - right[1] == pytest.approx(0.53, abs=0.01)

    def test_other_cameras_can_be_left_out(self, real):
        assert [len(result.frame.cameras) for result in read(real, cameras="front")[1]] == [1, 1]
        assert [len(result.frame.cameras) for result in read(real, cameras="none")[1]] == [0, 0]

    def test_a_source_travels_between_processes(self, real):
        source, results = read(real)
        other = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own object
        assert other.read(1).frame.sensor_digest() == results[1].frame.sensor_digest()


class TestRoundTrip:
    def test_scenes_come_back(self, tmp_path):
        group = SceneGroup(num_scenes=2, frames_per_scene=3)
        nothing = SceneGroup(num_scenes=0, frames_per_scene=1)
        world = WorldConfig(seed=3, train=group, val=nothing, pool=nothing)
        frames = list(simulate(world))
        assert write_sequences(tmp_path, [frames[:3], frames[3:]]) == 6
        _, results = read(tmp_path)
        assert [result.findings for result in results] == [()] * 6
        start = [invert(frames[0].global_from_ego)] * 3 + [invert(frames[3].global_from_ego)] * 3
        base = [invert(result.frame.global_from_ego) for result in (results[0], results[3])]
        for number, (before, result) in enumerate(zip(frames, results, strict=True)):
            after = result.frame
            np.testing.assert_allclose(after.boxes.as_7(), before.boxes.as_7(), atol=1e-5)
            assert after.boxes.category.tolist() == before.boxes.category.tolist()
            np.testing.assert_array_equal(after.lidar.points, before.lidar.points)
            np.testing.assert_allclose(
                base[number // 3] @ after.global_from_ego,
                start[number] @ before.global_from_ego,
                atol=1e-4,
            )
            np.testing.assert_allclose(
                after.boxes.box2d_px, before.boxes.box2d_px, atol=1e-5, equal_nan=True
            )

    def test_truncation_is_a_level(self, tmp_path):
        """A share becomes a level, and what nobody judged stays unknown."""
        nothing = SceneGroup(num_scenes=0, frames_per_scene=1)
        group = SceneGroup(num_scenes=1, frames_per_scene=1)
        (frame,) = simulate(WorldConfig(seed=3, train=group, val=nothing, pool=nothing))
        boxes = frame.boxes.select(np.zeros(6, dtype=np.int64)).replace(
            truncation=np.array([0.0, 0.5, 0.51, 1.0, np.nan, np.nan]),
            attributes=np.array([""] * 5 + ['{"truncation_level": 2}'], dtype=object),
        )
        write_sequences(tmp_path, [[replace(frame, boxes=boxes)]])
        found = read(tmp_path)[1][0].frame.boxes
        levels = [json.loads(text or "{}").get("truncation_level") for text in found.attributes]
        assert levels == [None, 1, 2, 2, None, 2]
        assert np.isnan(found.truncation).tolist() == [False, True, True, True, True, True]

    def test_poses_by_hand(self):
        """Three metres east and four north, turned by 0.3 rad, on the equator."""
        pose = make_transform(rotation_about_z(0.3), [3.0, 4.0, 1.0])
        rows = oxts_from_poses(np.array([np.eye(4), pose]))
        np.testing.assert_allclose(poses_from_oxts(rows), [np.eye(4), pose], atol=1e-8)
        assert rows[1, 0] == pytest.approx(np.rad2deg(4 / 6_378_137))
        assert len(poses_from_oxts(rows[:0])) == len(oxts_from_poses(np.empty((0, 4, 4)))) == 0


def rules_of(results):
    return [[finding.rule.rule_id for finding in result.findings] for result in results]


class TestDamage:
    def test_a_cut_lidar_file_costs_its_frame(self, copy):
        file = copy / "training/velodyne/0001/000001.bin"
        file.write_bytes(file.read_bytes()[:-3])
        _, results = read(copy)
        assert rules_of(results) == [[], ["READ002"]]
        assert [result.frame is None for result in results] == [False, True]

    @pytest.mark.parametrize(
        ("name", "content", "rule"),
        [
            ("calib/0001.txt", b"P2: 1 2 3", "READ005"),
            ("oxts/0001.txt", b"49.0 8.4 nan", "READ012"),
            ("label_02/0001.txt", b"0 x Car 0", "READ006"),
            ("label_02/0001.txt", b"0 1 Car 0 0 nonsense", "READ006"),
        ],
    )
    def test_a_broken_file_of_a_sequence_costs_its_frames(self, copy, name, content, rule):
        (copy / "training" / name).write_bytes(content)
        assert rules_of(read(copy)[1]) == [[rule], [rule]]

    def test_too_few_poses(self, copy):
        file = copy / "training/oxts/0001.txt"
        file.write_text(file.read_text().splitlines()[0] + "\n")
        assert rules_of(read(copy)[1]) == [[], ["READ012"]]

    def test_an_unknown_category_is_named(self, copy):
        file = copy / "training/label_02/0001.txt"
        rows = [line.split(" ") for line in file.read_text().splitlines()]
        own = next(row for row in rows if row[0] == "0" and row[2] != "DontCare")
        own[2] = "Spaceship"
        file.write_text("\n".join(" ".join(row) for row in rows))
        assert rules_of(read(copy)[1]) == [["READ010"], []]

    def test_a_missing_image_is_named(self, copy):
        (copy / "training/image_03/0001/000000.png").unlink()
        assert rules_of(read(copy)[1]) == [["READ001"], []]

    def test_no_folder_at_all(self, tmp_path):
        with pytest.raises(DataError, match="no KITTI tracking folder"):
            open_folder(tmp_path, ReadOptions())

    def test_rows_must_begin_with_numbers(self):
        with pytest.raises(ValueError, match="line 2"):
            parse_sequence(b"\n0 Car 1", "0001")
        for place, name in ((0, "latitude"), (1, "longitude"), (2, "altitude")):
            row = [b"0"] * 30
            row[place] = b"1e6"
            with pytest.raises(ValueError, match=f"line 1 has {name} 1e\\+06"):
                parse_oxts(b" ".join(row))

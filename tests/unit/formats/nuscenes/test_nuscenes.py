"""nuScenes: a round trip, the development kit's view of it, and damaged tables.

The development kit needs an older numpy: `ADMLOPS_NUSCENES_PYTHON` names a Python that has it.
"""

import json
import os
import pickle
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from admlops.errors import DataError
from admlops.formats.nuscenes.source import open_folder, pose_of
from admlops.formats.nuscenes.splits import VALIDATION, Splits, _numbers
from admlops.formats.nuscenes.writer import write_version
from admlops.formats.source import ReadOptions
from admlops.geometry.boxes import corners_3d
from admlops.geometry.pose import make_transform, rotation_from_quaternion
from admlops.simulation.config import SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.sources import find_format
from admlops.structures.frame import CalibratedSensor

TILT = make_transform(rotation_from_quaternion([0.999, 0.01, 0.02, 0.3]), [100.0, 200.0, 3.0])


def make_scenes():
    """Return two scenes of five frames, key frames every other one, on a slope, with attributes."""
    group = SceneGroup(num_scenes=2, frames_per_scene=5)
    nothing = SceneGroup(num_scenes=0, frames_per_scene=1)
    frames = []
    for number, frame in enumerate(
        simulate(WorldConfig(seed=5, train=group, val=nothing, pool=nothing))
    ):
        key = frame.key._replace(timestamp_ns=frame.key.timestamp_ns // 4000 * 1000)
        boxes = frame.boxes
        texts = [
            json.dumps({"attributes": ["vehicle.moving"], "num_radar_points": row}, sort_keys=True)
            for row in range(len(boxes))
        ]
        boxes = boxes.replace(attributes=np.array(texts, dtype=object))
        side = replace(
            frame.camera,
            sensor=CalibratedSensor("CAM_BACK", "camera", TILT, np.diag([50.0, 50, 1])),
        )
        frames.append(
            replace(
                frame,
                key=key,
                global_from_ego=frame.global_from_ego @ TILT,
                boxes=boxes if number % 2 == 0 else None,
                other_cameras=(side,),
                tags=("location:singapore", "night", "rain"),
            )
        )
    return [frames[:5], frames[5:]]


@pytest.fixture(scope="module")
def scenes():
    return make_scenes()


@pytest.fixture(scope="module")
def written(scenes, tmp_path_factory):
    root = tmp_path_factory.mktemp("nuscenes")
    assert write_version(root, scenes) == 10
    return root


def read(root, **options):
    source = open_folder(root, ReadOptions(categories={"cyclist": "cyclist"}, **options))
    return source, [source.read(index) for index in range(len(source))]


def test_scenes_come_back(written, scenes):
    assert find_format(written) == "nuscenes"
    source, results = read(written)
    assert not source.findings
    before = sorted((f for scene in scenes for f in scene), key=lambda f: (f.key.scene, f.key))
    for wanted, result in zip(before, results, strict=True):
        assert result.findings == ()
        found = result.frame
        assert found.key == wanted.key
        np.testing.assert_allclose(found.global_from_ego, wanted.global_from_ego, atol=1e-9)
        np.testing.assert_allclose(found.lidar.points, wanted.lidar.points, atol=1e-6)
        assert found.tags == wanted.tags
        assert found.split == "train"
        assert (found.boxes is None) == (wanted.boxes is None)
        if wanted.boxes is None:
            assert found.cameras == ()
            continue
        assert [image.sensor.name for image in found.cameras] == ["CAM_FRONT", "CAM_BACK"]
        for one, other in zip(found.cameras, wanted.cameras, strict=True):
            assert one.encoded == other.encoded
            np.testing.assert_allclose(
                one.sensor.ego_from_sensor, other.sensor.ego_from_sensor, atol=1e-9
            )
        order = np.argsort(wanted.boxes.track_id.astype(str))
        np.testing.assert_allclose(
            np.sort(found.boxes.as_7(), axis=0), np.sort(wanted.boxes.as_7(), axis=0), atol=1e-6
        )
        assert sorted(found.boxes.num_points) == sorted(wanted.boxes.num_points[order])
        details = [json.loads(text) for text in found.boxes.attributes]
        assert all(item["attributes"] == ["vehicle.moving"] for item in details)


def test_velocities_are_differences_over_the_key_frames_on_both_sides(written):
    _, results = read(written, keyframes_only=True)
    frames = [result.frame for result in results][:3]
    assert len({frame.key.scene for frame in frames}) == 1
    places = [
        {
            track: frame.global_from_ego @ [*center_m, 1.0]
            for track, center_m in zip(frame.boxes.track_id, frame.boxes.center_m, strict=True)
        }
        for frame in frames
    ]
    times_s = [frame.key.timestamp_ns * 1e-9 for frame in frames]
    assert times_s[2] - times_s[0] == pytest.approx(1.0)
    counts = {1: 0, 2: 0, 3: 0}
    ego_from_global = np.linalg.inv(frames[1].global_from_ego)
    for track, velocity_mps in zip(
        frames[1].boxes.track_id, frames[1].boxes.velocity_mps, strict=True
    ):
        seen = [number for number in range(3) if track in places[number]]
        counts[len(seen)] += 1
        if len(seen) == 1:
            assert np.isnan(velocity_mps).all()
            continue
        step = ego_from_global @ (places[seen[-1]][track] - places[seen[0]][track])
        gap_s = times_s[seen[-1]] - times_s[seen[0]]
        np.testing.assert_allclose(velocity_mps, step[:2] / gap_s, atol=1e-5)
    assert min(counts.values()) >= 1


def test_frames_can_be_left_out(written):
    assert len(read(written, keyframes_only=True)[0]) == 5
    assert {len(r.frame.cameras) for r in read(written, cameras="front")[1]} == {0, 1}
    assert {len(r.frame.cameras) for r in read(written, cameras="none")[1]} == {0}


def test_a_source_travels_between_processes(written):
    source, results = read(written)
    other = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own object
    assert other.read(3).frame.key == results[3].frame.key


def test_the_development_kit_sees_the_same(written, scenes):
    python = os.environ.get("ADMLOPS_NUSCENES_PYTHON")
    if not python:
        pytest.skip("ADMLOPS_NUSCENES_PYTHON names no Python with nuscenes-devkit")
    script = Path(__file__).with_name("devkit_view.py")
    run = subprocess.run(
        [python, str(script), str(written)], capture_output=True, text=True, check=True, timeout=120
    )
    view = json.loads(run.stdout)
    _, results = read(written)
    ours = {frame.key: frame for scene in scenes for frame in scene}
    num_boxes = 0
    for result in results:
        frame = result.frame
        seen = view.pop(str(frame.key.timestamp_ns // 1000))
        assert seen["is_key_frame"] == (frame.boxes is not None)
        assert seen["num_points"] == len(frame.lidar.points)
        points = np.array(seen["points"])
        np.testing.assert_allclose(points[:, :3], frame.lidar.points[:50, :3], atol=1e-6)
        np.testing.assert_allclose(points[:, 3] / 255, frame.lidar.points[:50, 3], atol=1e-6)
        np.testing.assert_allclose(seen["translation"], frame.global_from_ego[:3, 3], atol=1e-9)
        if frame.boxes is None:
            continue
        assert seen["channels"] == ["CAM_BACK", "CAM_FRONT", "LIDAR_TOP"]
        by_track = dict(zip(frame.boxes.track_id, range(len(frame.boxes)), strict=True))
        corners = corners_3d(frame.boxes.as_7())
        assert len(seen["boxes"]) == len(frame.boxes) == len(ours[frame.key].boxes)
        for box in seen["boxes"]:
            row = by_track[box["track"]]
            rotation, shift = frame.global_from_ego[:3, :3], frame.global_from_ego[:3, 3]
            in_global = corners[row] @ rotation.T + shift
            for corner in np.array(box["corners"]):
                assert np.linalg.norm(in_global - corner, axis=1).min() < 1e-6
            assert box["wlh"] == pytest.approx(frame.boxes.size_m[row][[1, 0, 2]].tolist())
            assert box["num_lidar_pts"] == frame.boxes.num_points[row]
            assert box["attributes"] == ["vehicle.moving"]
            wanted = frame.global_from_ego[:2, :2] @ frame.boxes.velocity_mps[row]
            if np.isfinite(wanted).all():
                flat = np.array(box["velocity"]) @ frame.global_from_ego[:3, :3]
                np.testing.assert_allclose(flat[:2], frame.boxes.velocity_mps[row], atol=1e-6)
            else:
                assert box["velocity"] == [-999.0] * 3
            num_boxes += 1
    assert not view
    assert num_boxes > 30


class TestVersions:
    def test_one_of_several_is_chosen(self, tmp_path, scenes):
        write_version(tmp_path, [scenes[0]])
        write_version(tmp_path, [scenes[1]], "v1.0-trainval")
        with pytest.raises(DataError, match="2 versions of nuScenes; give one of them: .*trainval"):
            open_folder(tmp_path, ReadOptions())
        for name, frames in (("v1.0-mini", scenes[0]), ("v1.0-trainval", scenes[1])):
            assert find_format(tmp_path / name) == "nuscenes"
            source, results = read(tmp_path / name)
            assert source.root == tmp_path
            assert {result.frame.key for result in results} == {frame.key for frame in frames}
            other = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own object
            assert other.read(0).frame.key == results[0].frame.key

    @pytest.mark.parametrize(
        ("version", "scene", "split"),
        [
            ("v1.0-trainval", "scene-0001", "train"),
            ("v1.0-trainval", "scene-0003", "val"),
            ("v1.0-trainval", "scene-1073", "val"),
            ("v1.0-trainval", "scene-1074", "train"),
            ("v1.0-mini", "scene-0103", "val"),
            ("v1.0-mini", "scene-0553", "train"),
            ("v1.0-test", "scene-0077", "pool"),
            ("v1.0-mini", "of another maker", ""),
        ],
    )
    def test_splits_are_the_publishers(self, tmp_path, version, scene, split):
        assert Splits(tmp_path / version).of(scene) == split

    def test_there_are_150_scenes_to_validate_on(self):
        assert len(_numbers(VALIDATION["v1.0-trainval"])) == 150

    def test_own_splits_come_first(self, tmp_path):
        (tmp_path / "v1.0-mini").mkdir()
        (tmp_path / "v1.0-mini" / "splits.json").write_text('{"val": ["scene-0001"]}')
        splits = Splits(tmp_path / "v1.0-mini")
        assert [splits.of(name) for name in ("scene-0001", "scene-0103")] == ["val", ""]
        (tmp_path / "v1.0-mini" / "splits.json").write_text("[]")
        with pytest.raises(DataError, match=r"splits.json: expected"):
            Splits(tmp_path / "v1.0-mini")


def test_what_is_not_known_is_counted_or_left_open(tmp_path, scenes):
    frame = scenes[0][0]
    boxes = frame.boxes.replace(num_points=np.full(len(frame.boxes), -1))
    assert (frame.boxes.num_points > 0).any()
    write_version(tmp_path, [[replace(frame, boxes=boxes)]])
    found = read(tmp_path)[1][0].frame.boxes
    assert found.num_points.tolist() == frame.boxes.num_points.tolist()
    assert not any("visibility" in json.loads(text) for text in found.attributes)


def test_scenes_of_two_logs_may_share_a_name(tmp_path, scenes):
    first = scenes[0][0]
    second = replace(first, key=first.key._replace(log="another"))
    assert write_version(tmp_path, [[first], [second]]) == 2
    frames = [result.frame for result in read(tmp_path)[1]]
    name = first.key.scene
    assert {frame.key[:2] for frame in frames} == {first.key[:2], ("another", f"another-{name}")}
    assert all(len(frame.boxes) == len(first.boxes) for frame in frames)


def test_frames_of_two_scenes_are_no_scene(tmp_path, scenes):
    with pytest.raises(DataError, match="2 scenes are given as one"):
        write_version(tmp_path, [[scenes[0][0], scenes[1][0]]])
    with pytest.raises(DataError, match="given twice"):
        write_version(tmp_path, [scenes[0][:1], scenes[0][:1]])


@pytest.fixture
def copy(tmp_path, scenes):
    write_version(tmp_path, [scenes[0]])
    return tmp_path


def damage(root, table, change):
    rewrite(root, table, change)
    source, results = read(root)
    found = [*source.findings, *(finding for result in results for finding in result.findings)]
    return {finding.rule.rule_id for finding in found}, source


def first_image(rows):
    return next(row for row in rows if "CAM_FRONT" in row["filename"])


@pytest.mark.parametrize(
    ("table", "change", "rule"),
    [
        ("ego_pose", lambda rows: rows.pop(0), "READ009"),
        ("calibrated_sensor", lambda rows: rows[0].update(rotation=[2, 0, 0, 0]), "READ005"),
        ("calibrated_sensor", lambda rows: rows[1].update(camera_intrinsic=[[1]]), "READ005"),
        ("category", lambda rows: rows.clear(), "READ009"),
        ("category", lambda rows: rows[0].update(name="spaceship"), "READ010"),
        ("sample_annotation", lambda rows: rows[0].update(size=[0, 1, 1]), "READ011"),
        ("sample_annotation", lambda rows: rows[0].update(rotation=[0, 0]), "READ006"),
        ("sample_data", lambda rows: rows[0].update(filename="../../secret"), "READ006"),
        ("sample_data", lambda rows: rows[0].update(filename="samples/absent"), "READ001"),
        ("sample_data", lambda rows: first_image(rows).update(filename=None), "READ006"),
        ("sample_data", lambda rows: rows.append(rows[0] | {"token": "b"}), "READ008"),
    ],
)
def test_damage_is_named(copy, table, change, rule):
    assert damage(copy, table, change)[0] == {rule}


def test_a_cut_cloud_is_named(copy):
    for path in (copy / "samples" / "LIDAR_TOP").iterdir():
        path.write_bytes(path.read_bytes()[:-2])
    rules = {f.rule.rule_id for result in read(copy)[1] for f in result.findings}
    assert rules == {"READ002"}


@pytest.mark.parametrize("content", [b"{", b'[{"token": 3, "translation": "x"}]', b"\x00" * 99])
def test_a_broken_table_is_refused(copy, content):
    (copy / "v1.0-mini" / "ego_pose.json").write_bytes(content)
    with pytest.raises(DataError, match=r"ego_pose.json"):
        open_folder(copy, ReadOptions())


def test_an_empty_table_costs_the_sweeps(copy):
    (copy / "v1.0-mini" / "ego_pose.json").write_bytes(b"[]")
    source, results = read(copy)
    assert (source.num_refused, len(results)) == (5, 0)


def rewrite(root, table, change):
    path = root / "v1.0-mini" / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


def test_boxes_come_in_the_order_of_their_table(copy):
    before = read(copy)[1][0].frame.boxes.track_id.tolist()
    rewrite(copy, "sample_annotation", lambda rows: rows.reverse())
    assert read(copy)[1][0].frame.boxes.track_id.tolist() == before[::-1] != before


def test_a_neighbour_of_another_scene_is_found(tmp_path, scenes):
    """Its place is 3 m and 4 m away, its time half a second before: 10 m/s."""
    write_version(tmp_path, [[scenes[0][0]], [scenes[1][1]]])
    names = {}

    def link(rows):
        frames = [row["sample_token"] for row in rows]
        last = len(rows) - 1
        assert frames[0] != frames[last]
        rows[0].update(next=rows[last]["token"])
        x_m, y_m, z_m = rows[0]["translation"]
        rows[last].update(translation=[x_m + 3.0, y_m + 4.0, z_m])
        names.update(track=rows[0]["instance_token"], early=frames[0], late=frames[last])

    def set_times(rows):
        times = {names["early"]: 1_000_000, names["late"]: 1_500_000}
        for row in rows:
            row.update(timestamp=times[row["token"]])

    rewrite(tmp_path, "sample_annotation", link)
    rewrite(tmp_path, "sample", set_times)
    frames = [result.frame for result in read(tmp_path)[1]]
    frame = next(frame for frame in frames if names["track"] in frame.boxes.track_id)
    row = frame.boxes.track_id.tolist().index(names["track"])
    in_global = frame.global_from_ego[:3, :3].T @ [6.0, 8.0, 0.0]
    np.testing.assert_allclose(frame.boxes.velocity_mps[row], in_global[:2], atol=1e-6)
    assert np.isnan(np.delete(frame.boxes.velocity_mps, row, axis=0)).all()


def test_without_a_time_there_is_no_velocity(copy):
    rewrite(copy, "sample", lambda rows: [row.update(timestamp=None) for row in rows])
    frames = [result.frame for result in read(copy, keyframes_only=True)[1]]
    assert sum(len(frame.boxes) for frame in frames) > 0
    assert all(np.isnan(frame.boxes.velocity_mps).all() for frame in frames)


def test_a_missing_table_is_named(copy):
    (copy / "v1.0-mini" / "sensor.json").unlink()
    with pytest.raises(DataError, match=r"sensor.json: absent"):
        open_folder(copy, ReadOptions())


def test_a_track_that_changes_its_category_becomes_two(scenes, tmp_path):
    """An instance has one category: with one instance, the later boxes would get the first's."""
    first, *_, last = [frame for frame in scenes[0] if frame.boxes is not None]
    common = min(set(first.boxes.track_id) & set(last.boxes.track_id))
    changed = last.boxes.replace(
        category=np.where(last.boxes.track_id == common, "bus", last.boxes.category)
    )
    frames = [replace(f, boxes=changed) if f is last else f for f in scenes[0]]
    write_version(tmp_path, [frames])
    source, results = read(tmp_path, keyframes_only=True)
    assert not source.findings
    found = results[-1].frame.boxes
    assert found.category.tolist() == changed.category.tolist()
    row = changed.track_id.tolist().index(common)
    assert found.track_id[row] not in results[0].frame.boxes.track_id
    assert np.isnan(found.velocity_mps[row]).all()


def test_a_track_that_tells_its_original_name_in_one_frame_stays_one(scenes, tmp_path):
    frames = []
    for number, frame in enumerate(scenes[0]):
        boxes = frame.boxes
        if boxes is not None:
            told = json.dumps({"category": "vehicle.bus.rigid"}) if number == 2 else ""
            boxes = boxes.replace(
                category=np.full(len(boxes), "bus", object),
                attributes=np.full(len(boxes), told, object),
            )
        frames.append(replace(frame, boxes=boxes))
    write_version(tmp_path, [frames])
    _, results = read(tmp_path, keyframes_only=True)
    tracks = [set(result.frame.boxes.track_id) for result in results]
    before = [set(frame.boxes.track_id) for frame in frames if frame.boxes is not None]
    shared, wanted = ([len(a & b) for a, b in pairwise(sets)] for sets in (tracks, before))
    assert shared == wanted
    assert min(wanted) > 0
    names = {row["name"] for row in json.loads((tmp_path / "v1.0-mini/category.json").read_text())}
    assert "vehicle.bus.rigid" in names


@pytest.mark.parametrize("turn", [[1e200, 0.0, 0.0, 1e200], [0.0] * 4, [0.5] * 3, [np.nan] * 4])
def test_a_quaternion_that_is_no_rotation_is_refused(turn):
    with pytest.raises(ValueError, match=r"quaternion has length|finite numbers"):
        pose_of([1.0, 2.0, 3.0], turn)

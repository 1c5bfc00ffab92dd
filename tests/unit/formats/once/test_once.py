"""ONCE: hand-worked axes, a round trip, and damaged files. No real ONCE data is here."""

import json
import pickle

import numpy as np
import pytest

from admlops.errors import DataError
from admlops.formats.once.source import open_folder
from admlops.formats.once.writer import write_sequences
from admlops.formats.source import ReadOptions
from admlops.geometry.camera import project_points
from admlops.geometry.pose import invert, transform_points
from admlops.simulation.config import SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.sources import find_format
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d

JPEG = (
    b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x30\x00\x40\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9"
)
"""Begin, size (64 x 48) and end of an image: as much as is looked at."""
# a camera that looks along -y of the lidar (forward), its x along -x (right), its y along -z
CAM_TO_VELO = [[-1, 0, 0, 0.5], [0, 0, -1, -1.5], [0, -1, 0, -0.2], [0, 0, 0, 1]]


def sequence():
    """Return a sequence file: a car 20 m ahead and 3 m to the left that drives away."""
    car = [3.0, -20.0, -0.9, 4.0, 2.0, 1.6, -np.pi / 2]
    walker = [-2.0, 5.0, -0.8, 0.8, 0.6, 1.8, 0.0]  # 5 m behind, 2 m to the right, faces left
    return {
        "meta_info": {
            "weather": "rainy",
            "period": "night",
            "image_size": [1920, 1020],
            "point_feature_num": 4,
        },
        "calib": {
            "cam01": {
                "cam_to_velo": [list(row) for row in CAM_TO_VELO],
                "cam_intrinsic": [[100, 0, 32], [0, 100, 24], [0, 0, 1]],
                "distortion": [0.1, 0.2, 0.0, 0.0, 0.3],
            }
        },
        "frames": [
            {
                "frame_id": "1616100800400",
                "pose": [0.0, 0.0, 0.0, 1.0, 7.0, 8.0, 9.0],
                "annos": {
                    "names": ["Car", "Pedestrian"],
                    "boxes_3d": [car, walker],
                    "boxes_2d": {
                        "cam01": [[1, 2, 30, 40], [-1, -1, -1, -1]],
                        "cam09": [[-1.0] * 4, [5, 6, 7, 8]],
                    },
                },
            },
            {"frame_id": "1616100800900", "pose": [0.0] * 7},
        ],
    }


POINTS = np.array([[3.0, -20.0, -0.9, 51.0], [-2.0, 5.0, -0.5, 255.0], [30, 30, 0, 0]], "<f4")


@pytest.fixture
def folder(tmp_path):
    """A sequence of two frames; the second is not labelled."""
    drive = tmp_path / "once" / "data" / "000076"
    write(drive, sequence())
    for name in ("1616100800400", "1616100800900"):
        (drive / "lidar_roof").mkdir(exist_ok=True)
        (drive / "lidar_roof" / f"{name}.bin").write_bytes(POINTS.tobytes())
        (drive / "cam01").mkdir(exist_ok=True)
        (drive / "cam01" / f"{name}.jpg").write_bytes(JPEG)
    (tmp_path / "once" / "ImageSets").mkdir()
    (tmp_path / "once" / "ImageSets" / "val.txt").write_text("000076\n")
    return tmp_path / "once"


def write(drive, content):
    drive.mkdir(parents=True, exist_ok=True)
    (drive / f"{drive.name}.json").write_text(json.dumps(content))


def read(root, **options):
    source = open_folder(root, ReadOptions(**options))
    return source, [source.read(index) for index in range(len(source))]


class TestHandWorked:
    def test_axes_of_boxes_and_points(self, folder):
        assert find_format(folder) == "once"
        source, results = read(folder)
        assert not source.findings
        assert [result.findings for result in results] == [(), ()]
        frame = results[0].frame
        boxes = frame.boxes
        np.testing.assert_allclose(boxes.center_m, [[20, 3, 0.8], [-5, -2, 0.9]], atol=1e-12)
        np.testing.assert_allclose(boxes.size_m, [[4, 2, 1.6], [0.8, 0.6, 1.8]])
        np.testing.assert_allclose(boxes.yaw_rad, [0.0, np.pi / 2], atol=1e-12)
        assert boxes.category.tolist() == ["car", "pedestrian"]
        assert boxes.num_points.tolist() == [1, 1]
        expected = [[20, 3, 0.8, 0.2], [-5, -2, 1.2, 1.0], [-30, 30, 1.7, 0]]
        np.testing.assert_allclose(frame.points_in_ego(), expected, atol=1e-5)

    def test_what_is_said_of_a_frame(self, folder):
        _, (first, second) = read(folder)
        frame = first.frame
        assert frame.key == ("once", "000076", 1616100800400 * 10**6)
        assert frame.split == "val"
        assert frame.tags == ("night", "rain", "time:night", "weather:rainy")
        # the fixed frame has the lidar's axes: ours is 1.7 m below it, a quarter turn on
        np.testing.assert_allclose(frame.global_from_ego @ [1, 0, 0, 1], [7, 7, 7.3, 1], atol=1e-12)
        assert second.frame.boxes is None
        assert second.frame.boxes_2d is None
        np.testing.assert_array_equal(second.frame.global_from_ego, np.eye(4))

    def test_the_camera_looks_forward(self, folder):
        frame = read(folder)[1][0].frame
        sensor = frame.camera.sensor
        assert sensor.name == "camera_front"
        assert sensor.distortion.tolist() == [0.1, 0.2, 0.0, 0.0, 0.3]
        place = sensor.ego_from_sensor[:3, 3]
        np.testing.assert_allclose(place, [1.5, 0.5, 1.5], atol=1e-12)
        point = np.add(place, [10.0, -2.0, -1.0])[None]  # 10 m ahead, 2 m right, 1 m down
        pixels, depth_m = project_points(
            transform_points(invert(sensor.ego_from_sensor), point), sensor.camera_matrix
        )
        np.testing.assert_allclose(depth_m, [10.0])
        np.testing.assert_allclose(pixels, [[52.0, 34.0]])

    def test_boxes_in_images_name_their_object(self, folder):
        frame = read(folder)[1][0].frame
        assert frame.boxes_2d.camera.tolist() == ["camera_front", "camera_back"]
        assert frame.boxes_2d.category.tolist() == ["car", "pedestrian"]
        assert frame.boxes_2d.attributes.tolist() == ['{"object": 0}', '{"object": 1}']
        assert frame.boxes.attributes.tolist() == ['{"object": 0}', '{"object": 1}']
        np.testing.assert_array_equal(frame.boxes.box2d_px[0], [1, 2, 30, 40])
        assert np.isnan(frame.boxes.box2d_px[1]).all()
        front = read(folder, cameras="front")[1][0].frame
        assert front.boxes_2d.camera.tolist() == ["camera_front"]
        assert read(folder, cameras="none")[1][0].frame.camera is None

    def test_a_source_travels_between_processes(self, folder):
        source = open_folder(folder, ReadOptions())
        other = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own object
        assert other.read(1).frame.key == source.read(1).frame.key


class TestRoundTrip:
    def test_the_example_comes_back(self, folder, tmp_path):
        frames = [result.frame for result in read(folder)[1]]
        assert write_sequences(tmp_path / "copy", [frames]) == 2
        stored = json.loads((tmp_path / "copy/data/000000/000000.json").read_text())
        before = sequence()
        assert stored["meta_info"] == {"weather": "rainy", "period": "night"}
        annos, expected = stored["frames"][0]["annos"], before["frames"][0]["annos"]
        assert annos["names"] == expected["names"]
        np.testing.assert_allclose(annos["boxes_3d"], expected["boxes_3d"], atol=1e-12)
        assert list(annos["boxes_2d"]) == [f"cam0{number}" for number in (1, 3, 5, 6, 7, 8, 9)]
        for name, corners in expected["boxes_2d"].items():
            assert annos["boxes_2d"][name] == corners
        np.testing.assert_allclose(
            stored["frames"][0]["pose"], before["frames"][0]["pose"], atol=1e-9
        )
        np.testing.assert_allclose(stored["calib"]["cam01"]["cam_to_velo"], CAM_TO_VELO, atol=1e-12)
        points = np.fromfile(tmp_path / "copy/data/000000/lidar_roof/1616100800400.bin", "<f4")
        np.testing.assert_allclose(points.reshape(-1, 4), POINTS, atol=1e-4)

    def test_a_drive_comes_back(self, tmp_path):
        group = SceneGroup(num_scenes=2, frames_per_scene=2)
        nothing = SceneGroup(num_scenes=0, frames_per_scene=1)
        frames = list(simulate(WorldConfig(seed=3, train=group, val=nothing, pool=nothing)))
        scenes = [frames[:2], frames[2:]]
        assert write_sequences(tmp_path, scenes) == 4
        names = {name.capitalize(): name for frame in frames for name in frame.boxes.category}
        _, results = read(tmp_path, categories=names)
        for before, result in zip(frames, results, strict=True):
            after = result.frame
            assert result.findings == ()
            assert after.split == "train"
            assert after.key.timestamp_ns == before.key.timestamp_ns // 10**6 * 10**6
            np.testing.assert_allclose(after.boxes.center_m, before.boxes.center_m, atol=1e-9)
            np.testing.assert_allclose(after.boxes.size_m, before.boxes.size_m)
            turn = after.boxes.yaw_rad - before.boxes.yaw_rad
            np.testing.assert_allclose(np.cos(turn), 1.0)
            assert after.boxes.category.tolist() == before.boxes.category.tolist()
            np.testing.assert_allclose(after.global_from_ego, before.global_from_ego, atol=1e-9)
            np.testing.assert_allclose(
                after.points_in_ego(), before.points_in_ego(), rtol=1e-5, atol=1e-4
            )
            assert after.camera.encoded == before.camera.encoded
            np.testing.assert_allclose(
                after.camera.sensor.ego_from_sensor,
                before.camera.sensor.ego_from_sensor,
                atol=1e-12,
            )

    def test_frames_that_cannot_be_written(self, folder, tmp_path):
        frame = read(folder)[1][0].frame
        with pytest.raises(DataError, match="millisecond"):
            write_sequences(tmp_path / "copy", [[frame, frame]])

    def test_labels_of_images_without_an_object_are_left_out(self, folder, tmp_path):
        from dataclasses import replace

        frame = read(folder)[1][0].frame
        loose = Boxes2d.make([[1, 1, 9, 9]], ["car"], camera=["camera_front"])
        frame = replace(frame, boxes=Boxes.empty(), boxes_2d=loose)
        write_sequences(tmp_path / "copy", [[frame]])
        again = read(tmp_path / "copy")[1][0].frame
        assert (len(again.boxes), len(again.boxes_2d)) == (0, 0)


def annos(content):
    return content["frames"][0]["annos"]


def nothing_rigid(content):
    content["calib"]["cam01"]["cam_to_velo"][0][0] = 5.0


class TestDamage:
    @pytest.mark.parametrize(
        ("change", "rule"),
        [
            (lambda c: annos(c).pop("names"), "READ006"),
            (lambda c: annos(c).pop("boxes_3d"), "READ006"),
            (lambda c: annos(c)["boxes_3d"].pop(), "READ006"),
            (lambda c: annos(c)["boxes_3d"][0].append(1), "READ006"),
            (lambda c: annos(c)["boxes_3d"][0].__setitem__(0, float("nan")), "READ006"),
            (lambda c: annos(c)["boxes_3d"][0].__setitem__(0, 10**400), "READ006"),
            (lambda c: annos(c)["boxes_3d"][0].__setitem__(3, -4.0), "READ011"),
            (lambda c: annos(c)["names"].__setitem__(0, "Tram"), "READ010"),
            (lambda c: annos(c).__setitem__("boxes_2d", [1]), "READ006"),
            (lambda c: annos(c)["boxes_2d"]["cam01"].pop(), "READ006"),
            (lambda c: annos(c)["boxes_2d"]["cam01"][0].__setitem__(2, 0), "READ011"),
            (lambda c: c["frames"][0].__setitem__("annos", 3), "READ006"),
            (lambda c: c["frames"][0].__setitem__("pose", [1, 2]), "READ012"),
            (lambda c: c["frames"][0].__setitem__("pose", [9] * 7), "READ012"),
            (lambda c: c["frames"][0].pop("pose"), "READ012"),
            (lambda c: c.pop("calib"), "READ005"),
            (lambda c: c["calib"].pop("cam01"), "READ005"),
            (nothing_rigid, "READ005"),
            (lambda c: c["calib"]["cam01"].__setitem__("cam_intrinsic", "x"), "READ005"),
        ],
    )
    def test_values(self, folder, change, rule):
        content = sequence()
        change(content)
        write(folder / "data" / "000076", content)
        _, results = read(folder)
        assert {item.rule.rule_id for item in results[0].findings} == {rule}
        assert results[0].frame is None

    @pytest.mark.parametrize(
        ("frame_id", "rule"),
        [("../../x", "READ012"), ("", "READ012"), ("²", "READ012"), ("1616100800900", "READ008")],
    )
    def test_names_of_frames(self, folder, frame_id, rule):
        content = sequence()
        content["frames"][0]["frame_id"] = frame_id
        write(folder / "data" / "000076", content)
        source, results = read(folder)
        assert (source.num_refused, len(results)) == (1, 1)
        assert [item.rule.rule_id for item in source.findings] == [rule, "READ014"]

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"frames": [1]}', "[" * 100_000])
    def test_sequence_files(self, folder, text):
        (folder / "data" / "000076" / "000076.json").write_text(text)
        source, results = read(folder)
        assert (source.num_refused, results) == (1, [])
        assert [item.rule.rule_id for item in source.findings] == ["READ006"]

    @pytest.mark.parametrize(
        ("file", "content", "rule"),
        [
            ("lidar_roof/1616100800400.bin", b"", "READ002"),
            ("lidar_roof/1616100800400.bin", b"123", "READ002"),
            ("lidar_roof/1616100800400.bin", np.full(4, np.nan, "<f4").tobytes(), "READ003"),
            ("lidar_roof/1616100800400.bin", np.full(4, 1e6, "<f4").tobytes(), "READ004"),
            ("lidar_roof/1616100800400.bin", None, "READ001"),
            ("cam01/1616100800400.jpg", b"\xff\xd8", "READ007"),
            ("cam01/1616100800400.jpg", None, "READ001"),
        ],
    )
    def test_files(self, folder, file, content, rule):
        path = folder / "data" / "000076" / file
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        _, results = read(folder)
        assert {item.rule.rule_id for item in results[0].findings} == {rule}
        assert results[1].frame is not None

    def test_no_sequence_file(self, folder):
        (folder / "data" / "000076" / "000076.json").unlink()
        assert [item.rule.rule_id for item in read(folder)[0].findings] == ["READ001"]

    def test_no_sequence(self, tmp_path):
        with pytest.raises(DataError, match="no ONCE sequence"):
            open_folder(tmp_path, ReadOptions())

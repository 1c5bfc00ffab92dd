"""Waymo: frames written by Google's own runtime, hand-worked points, and damaged files.

There is no real Waymo data here: its licence is accepted by each reader of it in person.
"""

import math
import pickle
import struct
import zlib

import google_crc32c
import numpy as np
import pytest
from google.protobuf.empty_pb2 import Empty
from hypothesis import given, settings
from hypothesis import strategies as st
from waymo_messages import (
    HEIGHT,
    MESSAGES,
    POSE,
    TOP_PLACE,
    WIDTH,
    encode_record,
    jpeg,
    pack_matrix,
    set_transform,
    small_frame,
    write_records,
)

from admlops.errors import DataError
from admlops.formats.source import ReadOptions
from admlops.formats.waymo.range_image import LidarCalibration, points_of, unpack_matrix
from admlops.formats.waymo.source import open_folder
from admlops.formats.waymo.tfrecord import index_records, masked_crc32c
from admlops.formats.waymo.wire import BrokenMessageError, Message
from admlops.geometry.camera import project_points
from admlops.geometry.pose import invert, make_transform, transform_points
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.sources import find_format


def read(root, **options):
    source = open_folder(root, ReadOptions(**options))
    return [source.read(index) for index in range(len(source))]


def rules_of(root, **options):
    """Return the IDs of what is found, in order, without repeats."""
    source = open_folder(root, ReadOptions(**options))
    found = [*source.findings]
    for index in range(len(source)):
        found += source.read(index).findings
    return sorted({item.rule.rule_id for item in found})


@pytest.fixture
def segment(tmp_path):
    frames = [small_frame(seed).SerializeToString() for seed in range(3)]
    write_records(tmp_path / "validation" / "segment_7.tfrecord", frames)
    return tmp_path


def reread(tmp_path, frame, **options):
    write_records(tmp_path / "one.tfrecord", [frame.SerializeToString()])
    (result,) = read(tmp_path, **options)
    return result


class TestFraming:
    @settings(deadline=None)
    @given(st.binary(max_size=100))
    def test_checksums_are_googles(self, content):
        crc = google_crc32c.value(content)
        assert masked_crc32c(content) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    def test_known_checksum(self):
        """The check value of CRC-32C in the catalogue of CRCs is 0xe3069283."""
        crc = 0xE3069283
        rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
        assert masked_crc32c(b"123456789") == (rotated + 0xA282EAD8) & 0xFFFFFFFF

    def test_records_are_found_without_reading_them(self, segment):
        (file,) = segment.rglob("*.tfrecord")
        index = index_records(file)
        assert len(index.offsets) == 3
        assert index.broken == ""
        assert index.offsets[0] == 12
        assert index.offsets[1] == 12 + index.sizes[0] + 4 + 12


class TestWire:
    @settings(deadline=None)
    @given(
        st.integers(-(2**63), 2**63 - 1),
        st.lists(st.floats(width=32, allow_nan=False), max_size=5),
        st.lists(st.floats(allow_nan=False), max_size=5),
        st.text(max_size=20),
    )
    def test_values_that_googles_runtime_wrote(self, number, floats, doubles, text):
        frame = MESSAGES["Frame"](timestamp_micros=number)
        frame.pose.transform.extend(doubles)  # unpacked
        frame.context.name = text
        matrix = MESSAGES["MatrixFloat"]()
        matrix.data.extend(floats)  # packed
        matrix.shape.dims.extend([1, 300, 70_000])
        message = Message(frame.SerializeToString())
        assert message.integer(2) == number
        assert message.message(3).doubles(1).tolist() == doubles
        assert message.message(1).text(1) == text
        own = Message(matrix.SerializeToString())
        assert own.floats(1).tolist() == floats
        assert own.message(2).integers(1) == [1, 300, 70_000]

    def test_last_values_count_and_messages_are_joined(self):
        first = MESSAGES["Frame"](timestamp_micros=1)
        first.context.name = "a"
        second = MESSAGES["Frame"](timestamp_micros=2)
        second.context.stats.weather = "rain"
        both = first.SerializeToString() + second.SerializeToString()
        message, judge = Message(both), MESSAGES["Frame"].FromString(both)
        assert message.integer(2) == judge.timestamp_micros == 2
        assert message.message(1).text(1) == judge.context.name == "a"
        assert message.message(1).message(4).text(4) == judge.context.stats.weather == "rain"

    @settings(deadline=None)
    @given(st.binary(max_size=60))
    def test_any_bytes_are_a_message_or_broken(self, content):
        """And never without Google's runtime agreeing that they are one."""
        try:
            Message(content)
        except BrokenMessageError:
            return
        Empty().ParseFromString(content)  # a message without fields skips them all

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"\x08", "ends in a number"),
            (b"\x08" + b"\xff" * 11, "more than ten bytes"),
            (b"\x0a\x05ab", "ends beyond"),
            (b"\x0b", "wire type 3"),
            (b"\x00\x01", "number 0"),
            (b"\x09\x00\x00", "ends beyond"),
        ],
    )
    def test_broken(self, content, what):
        with pytest.raises(BrokenMessageError, match=what):
            Message(content)

    def test_many_small_fields_are_refused(self):
        with pytest.raises(BrokenMessageError, match="more than 200000 fields"):
            Message(b"\x08\x01" * 200_001)
        with pytest.raises(BrokenMessageError, match="more than 200000 numbers"):
            Message(b"\x0a\xc1\x9a\x0c" + b"\x01" * 200_001).integers(1)


class TestPoints:
    def test_hand_worked(self):
        """A lidar 2 m over the ground looks along 45 degrees up and down, in four directions."""
        image = np.zeros((2, 4, 4))
        image[0, 1] = [math.sqrt(2.0), 0.5, 0.0, 0.0]  # up, column 1 of 4
        image[1, 2] = [2.0 * math.sqrt(2.0), 0.25, 0.0, 1.0]  # down, column 2
        place = np.eye(4)
        place[:3, 3] = [1.0, 0.0, 2.0]
        beams = np.array([-math.pi / 4, math.pi / 4])
        calibration = LidarCalibration(beams, (0.0, 0.0), place)
        packed = memoryview(pack_matrix(image))
        points, is_unlabelled = points_of(packed, memoryview(b""), calibration, np.eye(4))
        # columns look along 135, 45, -45 and -135 degrees
        half = math.sqrt(0.5)
        expected = [[1.0 + half, half, 3.0, 0.5], [1.0 + 2 * half, -2 * half, 0.0, 0.25]]
        np.testing.assert_allclose(points, expected, atol=1e-6)
        assert is_unlabelled.tolist() == [False, True]

    def test_a_turned_lidar_still_sees_forward_in_the_middle(self):
        """Azimuths are corrected by the lidar's own turn, so that columns are the vehicle's."""
        image = np.zeros((1, 3, 4))
        image[0, 1, 0] = 10.0
        calibration = LidarCalibration(np.array([0.0]), (0.0, 0.0), TOP_PLACE)
        points, _ = points_of(
            memoryview(pack_matrix(image)), memoryview(b""), calibration, np.eye(4)
        )
        np.testing.assert_allclose(points[0, :3], [11.5, 0.0, 2.0], atol=1e-6)

    def test_even_beams_are_in_the_middle_of_their_rows(self):
        calibration = LidarCalibration(np.empty(0), (-0.2, 0.2), np.eye(4))
        np.testing.assert_allclose(calibration.rows_rad(4), [0.15, 0.05, -0.05, -0.15])

    def test_poses_of_pixels_move_points(self):
        """Three quarters of a turn of yaw, then 5 m along x; seen from a frame 1 m along y."""
        image = np.zeros((1, 1, 4))
        image[0, 0, 0] = 2.0  # one column: straight ahead
        poses = np.array([0.0, 0.0, -math.pi / 2, 5.0, 0.0, 0.0]).reshape(1, 1, 6)
        global_from_ego = np.eye(4)
        global_from_ego[1, 3] = 1.0
        calibration = LidarCalibration(np.array([0.0]), (0.0, 0.0), np.eye(4))
        points, _ = points_of(
            memoryview(pack_matrix(image)),
            memoryview(pack_matrix(poses)),
            calibration,
            global_from_ego,
        )
        np.testing.assert_allclose(points[0, :3], [5.0, -3.0, 0.0], atol=1e-6)

    @settings(deadline=None)
    @given(st.tuples(*[st.floats(-3.0, 3.0)] * 3))
    def test_angles_turn_about_x_then_y_then_z(self, angles):
        from scipy.spatial.transform import Rotation

        image = np.zeros((1, 1, 4))
        image[0, 0, 0] = 3.0
        place = np.eye(4)
        place[:3, 3] = [0.5, -0.25, 1.0]
        calibration = LidarCalibration(np.array([0.0]), (0.0, 0.0), place)
        poses = np.array([*angles, 0.0, 0.0, 0.0]).reshape(1, 1, 6)
        points, _ = points_of(
            memoryview(pack_matrix(image)), memoryview(pack_matrix(poses)), calibration, np.eye(4)
        )
        expected = Rotation.from_euler("xyz", angles).apply([3.5, -0.25, 1.0])
        np.testing.assert_allclose(points[0, :3], expected, atol=1e-5)

    @pytest.mark.parametrize(
        ("packed", "what"),
        [
            (b"", "is cut"),
            (b"nothing", "cannot be unpacked"),
            (zlib.compress(b""), "expected 4 channels"),
            (zlib.compress(b"\0" * (1 << 27), 1), "is cut, or has over"),
            (pack_matrix(np.zeros((2, 3, 5))), "expected 4 channels"),
        ],
    )
    def test_broken_matrices(self, packed, what):
        with pytest.raises(BrokenMessageError, match=what):
            unpack_matrix(memoryview(packed), 4)

    def test_dimensions_that_do_not_fit(self):
        matrix = MESSAGES["MatrixFloat"]()
        matrix.shape.dims.extend([0, 2**31 - 1, 4])
        with pytest.raises(BrokenMessageError, match="0 numbers as 0 x"):
            unpack_matrix(memoryview(zlib.compress(matrix.SerializeToString())), 4)


class TestFrame:
    def test_what_is_said_of_a_frame(self, segment):
        assert find_format(segment) == "waymo"
        results = read(segment)
        assert [result.findings for result in results] == [(), (), ()]
        frame = results[1].frame
        assert frame.key == ("segment_7", "segment_7", 1_550_000_000_100_000_000)
        assert frame.split == "val"
        assert frame.tags == (
            "location:location_sf",
            "night",
            "rain",
            "time:night",
            "weather:rain",
        )
        np.testing.assert_array_equal(frame.global_from_ego, POSE)

    def test_all_lidars_and_returns_become_one_sweep(self, segment):
        (frame, *_), (first, *_) = (
            [result.frame for result in read(segment, lidar_returns=which)]
            for which in ("all", "first")
        )
        message = small_frame(0)
        by_return = []
        for name in ("ri_return1", "ri_return2"):
            packed = [getattr(laser, name).range_image_compressed for laser in message.lasers]
            images = [unpack_matrix(memoryview(item), 4) for item in packed]
            by_return.append(sum(int((image[..., 0] > 0).sum()) for image in images))
        assert len(first.lidar.points) == by_return[0]
        assert len(frame.lidar.points) == sum(by_return)
        assert frame.lidar.points[:, 3].min() >= 0.0
        assert 0.9 < frame.lidar.points[:, 3].max() < 1.0  # tanh of up to 3

    def test_cameras_look_forward_with_their_lens(self, segment):
        frame = read(segment)[0].frame
        assert [image.sensor.name for image in frame.cameras] == [
            "camera_front",
            "camera_front_left",
        ]
        sensor = frame.camera.sensor
        assert sensor.distortion.tolist() == [0.1, -0.2, 0.01, 0.02, 0.3]
        ahead = np.array([[1.6 + 10.0, 0.1 - 2.0, 2.1 - 1.0]])  # 10 m ahead, 2 m right, 1 m down
        in_camera = transform_points(invert(sensor.ego_from_sensor), ahead)
        pixels, depth_m = project_points(in_camera, sensor.camera_matrix)
        np.testing.assert_allclose(depth_m, [10.0])
        np.testing.assert_allclose(pixels, [[32.0 + 50.0 * 0.2, 24.0 + 51.0 * 0.1]])
        assert [
            len(read(segment, cameras=which)[0].frame.cameras) for which in ("front", "none")
        ] == [
            1,
            0,
        ]

    def test_a_camera_stands_where_it_was_when_it_exposed(self, tmp_path):
        message = small_frame()
        driven = POSE @ make_transform(np.eye(3), [0.5, 0.0, 0.0])  # half a metre ahead
        set_transform(message.images[1].pose, driven)
        write_records(tmp_path / "a.tfrecord", [message.SerializeToString()])
        front, front_left = (image.sensor for image in read(tmp_path)[0].frame.cameras)
        np.testing.assert_allclose(front.ego_from_sensor[:3, 3], [1.6, 0.1, 2.1])
        np.testing.assert_allclose(front_left.ego_from_sensor[:3, 3], [2.1, 0.1, 2.1])

    def test_boxes_with_speed_in_the_ego_frame(self, segment):
        boxes = read(segment)[0].frame.boxes
        np.testing.assert_allclose(boxes.as_7(), [[10.0, 1.0, 1.0, 4.0, 2.0, 1.5, 0.3]])
        np.testing.assert_allclose(boxes.velocity_mps, [[3.0, 4.0]], atol=1e-12)
        assert boxes.category.tolist() == ["vehicle"]
        assert boxes.track_id.tolist() == ["track_a"]
        assert boxes.attributes.tolist() == ['{"detection_difficulty": 2}']

    def test_boxes_in_images(self, segment):
        result = read(segment)[0]
        boxes = result.frame.boxes_2d
        assert boxes.camera.tolist() == ["camera_front_left"]
        np.testing.assert_array_equal(boxes.box2d_px, [[16.0, 22.0, 24.0, 38.0]])
        assert boxes.category.tolist() == ["pedestrian"]
        assert result.mapped.total() == 2
        assert len(read(segment, cameras="front")[0].frame.boxes_2d) == 0
        assert read(segment, cameras="none")[0].frame.boxes_2d is None

    def test_unlabelled_segments_have_no_boxes(self, tmp_path):
        frame = small_frame()
        del frame.laser_labels[:]
        assert len(reread(tmp_path, frame).frame.boxes) == 0
        frame.context.stats.ClearField("laser_object_counts")
        assert reread(tmp_path, frame).frame.boxes is None

    def test_no_label_zones_are_a_tag(self, tmp_path):
        frame = small_frame()
        frame.no_label_zones.add(x=[0.0, 1.0, 1.0], y=[0.0, 0.0, 1.0])
        assert "no_label_zone" in reread(tmp_path, frame).frame.tags

    def test_a_source_travels_between_processes(self, segment):
        source = open_folder(segment, ReadOptions())
        other = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own object
        assert other.read(2).frame.key == source.read(2).frame.key

    def test_a_simulated_sweep_comes_back_to_within_its_cells(self, tmp_path):
        group = SceneGroup(num_scenes=1, frames_per_scene=1)
        nothing = SceneGroup(num_scenes=0, frames_per_scene=1)
        lidar = LidarConfig(num_beams=16, azimuth_step_deg=0.5)
        world = WorldConfig(
            seed=4, train=group, val=nothing, pool=nothing, lidar=lidar, images=False
        )
        (frame,) = simulate(world)
        message, width = encode_sweep(frame), 7200
        after = reread(tmp_path, message, categories={}).frame
        before = frame.points_in_ego()
        assert len(after.lidar.points) == len(before)
        distance = np.linalg.norm(before[:, None, :3] - after.lidar.points[None, :, :3], axis=2)
        range_m = np.linalg.norm(frame.lidar.points[:, :3], axis=1)
        assert (distance.min(axis=1) <= range_m * np.pi / width + 1e-3).all()


def encode_sweep(frame):
    """Return a message of a simulated frame: a fine grid, so that no two points share a pixel."""
    x, y, z, intensity = frame.lidar.points.astype(np.float64).T
    range_m = np.sqrt(x * x + y * y + z * z)
    elevation = np.arcsin(z / range_m)
    beams = np.unique(np.round(elevation, 4))
    row = len(beams) - 1 - np.abs(elevation[:, None] - beams).argmin(axis=1)
    width = 7200
    column = np.floor((np.pi - np.arctan2(y, x)) / (2 * np.pi) * width).astype(int) % width
    image = np.zeros((len(beams), width, 4))
    image[row, column, 0] = range_m
    image[row, column, 1] = np.arctanh(np.clip(intensity, 0, 0.999))
    message = MESSAGES["Frame"](timestamp_micros=1_000_000)
    message.context.name = "simulated"
    set_transform(message.pose, np.eye(4))
    calibration = message.context.laser_calibrations.add(name=2)
    calibration.beam_inclinations.extend(beams.tolist())
    set_transform(calibration.extrinsic, frame.lidar.sensor.ego_from_sensor)
    message.lasers.add(name=2).ri_return1.range_image_compressed = pack_matrix(image)
    return message


def change_pose(frame):
    frame.pose.transform[0] = 2.0


def change_beams(frame):
    del frame.context.laser_calibrations[0].beam_inclinations[0]


def change_range(frame):
    image = np.zeros((HEIGHT, WIDTH, 4))
    image[0, 0, 0] = np.nan
    frame.lasers[1].ri_return1.range_image_compressed = pack_matrix(image)


def change_reach(frame):
    image = np.full((HEIGHT, WIDTH, 4), 1e6)
    frame.lasers[1].ri_return1.range_image_compressed = pack_matrix(image)


def change_poses(frame):
    frame.lasers[0].ri_return1.range_image_pose_compressed = pack_matrix(np.zeros((1, 1, 6)))


class TestDamage:
    @pytest.mark.parametrize(
        ("change", "rule"),
        [
            (change_pose, "READ012"),
            (lambda frame: frame.ClearField("pose"), "READ012"),
            (lambda frame: frame.images[0].pose.transform.append(1.0), "READ012"),
            (lambda frame: frame.context.ClearField("name"), "READ012"),
            (lambda frame: frame.ClearField("timestamp_micros"), "READ012"),
            (lambda frame: frame.context.camera_calibrations[0].ClearField("intrinsic"), "READ005"),
            (lambda frame: frame.context.laser_calibrations[0].ClearField("extrinsic"), "READ005"),
            (lambda frame: frame.context.laser_calibrations.pop(1) and None, "READ002"),
            (lambda frame: frame.context.camera_calibrations.pop(1) and None, "READ005"),
            (change_beams, "READ002"),
            (change_range, "READ003"),
            (change_reach, "READ004"),
            (change_poses, "READ002"),
            (lambda frame: frame.ClearField("lasers"), "READ002"),
            (lambda frame: setattr(frame.images[0], "image", b"\xff\xd8"), "READ007"),
            (lambda frame: setattr(frame.images[0], "image", jpeg(8, 8)), "READ007"),
            (lambda frame: setattr(frame.laser_labels[0], "type", 9), "READ010"),
            (lambda frame: setattr(frame.laser_labels[0].box, "length", 0.0), "READ011"),
            (lambda frame: frame.laser_labels[0].ClearField("box"), "READ011"),
            (lambda frame: setattr(frame.camera_labels[0].labels[0].box, "width", -1), "READ011"),
            (lambda frame: setattr(frame.laser_labels[0].box, "center_x", np.nan), "READ011"),
        ],
    )
    def test_values(self, tmp_path, change, rule):
        frame = small_frame()
        change(frame)
        result = reread(tmp_path, frame)
        assert {item.rule.rule_id for item in result.findings} == {rule}
        assert result.frame is None

    def test_a_label_of_many_points_where_there_are_none(self, tmp_path):
        frame = small_frame()
        frame.laser_labels[0].num_lidar_points_in_box = 5000
        result = reread(tmp_path, frame)
        assert [item.rule.rule_id for item in result.findings] == ["READ013"]
        assert result.frame is not None

    def test_a_flipped_bit_costs_one_frame(self, segment):
        (file,) = segment.rglob("*.tfrecord")
        content = bytearray(file.read_bytes())
        content[index_records(file).offsets[1] + 30] ^= 4
        file.write_bytes(content)
        results = read(segment)
        assert [result.frame is None for result in results] == [False, True, False]
        (finding,) = results[1].findings
        assert finding.rule.rule_id == "READ002"
        assert "does not fit its checksum" in finding.what

    def test_a_cut_file_keeps_what_is_before_the_cut(self, segment):
        (file,) = segment.rglob("*.tfrecord")
        content = file.read_bytes()
        second = int(index_records(file).offsets[1])
        for size in (second - 5, second, second + 100):
            file.write_bytes(content[:size])
            source = open_folder(segment, ReadOptions())
            assert (len(source), source.num_refused) == (1, 1)
            assert [item.rule.rule_id for item in source.findings] == ["READ002"]

    def test_a_length_that_is_a_lie(self, segment):
        (file,) = segment.rglob("*.tfrecord")
        length = struct.pack("<Q", 1 << 40)
        lying = length + struct.pack("<I", masked_crc32c(length)) + b"x" * 100
        file.write_bytes(encode_record(b"") + lying)
        source = open_folder(segment, ReadOptions())
        assert len(source) == 1
        assert "more than a frame can have" in source.findings[0].what

    def test_no_files(self, tmp_path):
        with pytest.raises(DataError, match="no TFRecord file"):
            open_folder(tmp_path, ReadOptions())

    def test_an_empty_file(self, tmp_path):
        (tmp_path / "a.tfrecord").touch()
        assert rules_of(tmp_path) == ["READ002"]
        write_records(tmp_path / "a.tfrecord", [b""])
        assert rules_of(tmp_path) == ["READ012"]
        write_records(tmp_path / "a.tfrecord", [b"not a message"])
        assert rules_of(tmp_path) == ["READ006"]

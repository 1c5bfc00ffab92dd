"""What `admlops view` writes is read back with the public MCAP library and the embedded schemas."""

from dataclasses import replace

import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from mcap.reader import make_reader

from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.recordings.foxglove import write_view
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

STEP_NS = 100_000_000
PNG = b"\x89PNG and more"


def frame(number: int) -> Frame:
    boxes = Boxes.make(
        [[10.0, 1.0, 0.5], [20.0, -2.0, 1.0]],
        [[4.0, 2.0, 1.5], [1.0, 0.5, 1.75]],
        [0.5, -1.0],
        ["car", "pedestrian"],
        track_id=np.array(["t1", ""], dtype=object),
        score=[np.nan, np.nan] if number else [0.9, np.nan],
    )
    boxes_2d = Boxes2d.make([[1.0, 2.0, 30.0, 40.0]], ["car"], camera=np.array([""], dtype=object))
    pose = make_transform(rotation_about_z(0.3), [0.0, 0.1, 1.6])
    front = CalibratedSensor("camera_front", "camera", pose, np.diag([700.0, 710.0, 1.0]))
    left = CalibratedSensor("camera_left", "camera", pose, np.eye(3), np.array([0.1, 0.2, 0, 0]))
    points = np.arange(12, dtype=np.float32).reshape(3, 4)
    return Frame(
        key=FrameKey("log", "scene", 1_700_000_000_000_000_000 + number * STEP_NS),
        frame_id=str(number),
        global_from_ego=make_transform(rotation_about_z(np.pi / 2), [float(number), 2.0, 3.0]),
        lidar=LidarSweep(CalibratedSensor("lidar_top", "lidar", np.eye(4)), points),
        camera=CameraImage(front, PNG, 640, 480),
        other_cameras=(CameraImage(left, b"\xff\xd8 a JPEG", 320, 240),),
        boxes=boxes,
        boxes_2d=boxes_2d,
    )


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """Return [(topic, log time, message)] as any MCAP tool decodes them."""
    path = tmp_path_factory.mktemp("view") / "view.mcap"
    assert write_view(path, (frame(number) for number in range(2))) == 2
    found = []
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file, validate_crcs=True).iter_messages():
            assert schema.encoding == channel.message_encoding == "protobuf"
            pool = DescriptorPool()
            for item in FileDescriptorSet.FromString(schema.data).file:
                pool.Add(item)
            kind = GetMessageClass(pool.FindMessageTypeByName(schema.name))
            found.append((channel.topic, message.log_time, kind.FromString(message.data)))
    return found


def of(messages, topic, number=0):
    return [item for name, _, item in messages if name == topic][number]


def test_every_topic_has_a_message_per_frame(messages):
    topics = [topic for topic, _, _ in messages]
    assert {topic: topics.count(topic) for topic in topics} == {
        "/tf": 2,
        "/lidar_top/points": 2,
        "/camera_front/image": 2,
        "/camera_front/calibration": 2,
        "/camera_front/labels": 2,
        "/camera_left/image": 2,
        "/camera_left/calibration": 2,
        "/camera_left/labels": 2,
        "/labels": 2,
        "/predictions": 1,
    }
    assert {time for _, time, _ in messages} == {
        1_700_000_000_000_000_000,
        1_700_000_000_100_000_000,
    }


def test_points_are_packed_as_the_fields_say(messages):
    cloud = of(messages, "/lidar_top/points")
    assert cloud.frame_id == "lidar_top"
    assert cloud.point_stride == 16
    assert [(item.name, item.offset, item.type) for item in cloud.fields] == [
        ("x", 0, 7),
        ("y", 4, 7),
        ("z", 8, 7),
        ("intensity", 12, 7),
    ]
    assert np.frombuffer(cloud.data, "<f4").tolist() == list(range(12))
    assert cloud.timestamp.ToNanoseconds() == 1_700_000_000_000_000_000


def test_transforms_lead_from_the_sensors_to_the_world(messages):
    first, *sensors = of(messages, "/tf", 1).transforms
    assert (first.parent_frame_id, first.child_frame_id) == ("global", "ego")
    assert (first.translation.x, first.translation.y, first.translation.z) == (1.0, 2.0, 3.0)
    assert first.rotation.w == pytest.approx(np.sqrt(0.5))
    assert first.rotation.z == pytest.approx(np.sqrt(0.5))
    assert [(item.parent_frame_id, item.child_frame_id) for item in sensors] == [
        ("ego", "lidar_top"),
        ("ego", "camera_front"),
        ("ego", "camera_left"),
    ]


def test_boxes_are_cubes_in_the_ego_frame_that_replace_those_before(messages):
    scene = of(messages, "/labels", 1)
    assert [item.type for item in scene.deletions] == [1]  # ALL
    car, pedestrian = scene.entities
    assert (car.id, car.frame_id) == ("t1", "ego")
    (cube,) = car.cubes
    assert (cube.size.x, cube.size.y, cube.size.z) == (4.0, 2.0, 1.5)
    assert (cube.pose.position.x, cube.pose.position.y) == (10.0, 1.0)
    assert cube.pose.orientation.z == pytest.approx(np.sin(0.25))
    assert car.texts[0].text == "car"
    assert {item.key: item.value for item in pedestrian.metadata}["category"] == "pedestrian"
    assert cube.color.r != pedestrian.cubes[0].color.r


def test_boxes_with_scores_are_predictions(messages):
    (entity,) = of(messages, "/predictions").entities
    assert entity.texts[0].text == "car 0.90"
    assert len(of(messages, "/labels").entities) == 1


def test_images_and_calibrations_are_as_in_the_frame(messages):
    image = of(messages, "/camera_front/image")
    assert (image.data, image.format) == (PNG, "png")
    assert of(messages, "/camera_left/image").format == "jpeg"
    calibration = of(messages, "/camera_left/calibration")
    assert list(calibration.D) == [0.1, 0.2, 0.0, 0.0]
    assert (calibration.width, calibration.height) == (320, 240)
    front = of(messages, "/camera_front/calibration")
    assert list(front.K) == [700, 0, 0, 0, 710, 0, 0, 0, 1]
    assert list(front.P)[:4] == [700, 0, 0, 0]


def test_image_boxes_go_to_their_camera(messages):
    annotation = of(messages, "/camera_front/labels")
    (outline,) = annotation.points
    assert [(point.x, point.y) for point in outline.points] == [(1, 2), (30, 2), (30, 40), (1, 40)]
    assert annotation.texts[0].text == "car"
    assert len(of(messages, "/camera_left/labels").points) == 0


def test_frames_without_sensors_have_only_their_pose(tmp_path):
    bare = replace(frame(0), lidar=None, camera=None, other_cameras=(), boxes=None, boxes_2d=None)
    assert write_view(tmp_path / "bare.mcap", [bare]) == 1
    with (tmp_path / "bare.mcap").open("rb") as file:
        topics = [channel.topic for _, channel, _ in make_reader(file).iter_messages()]
    assert topics == ["/tf"]

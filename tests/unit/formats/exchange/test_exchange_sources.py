"""Exchange files with their sensor data beside them, as `ingest` reads them."""

import io
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from label_frames import assert_same
from PIL import Image

from admlops.errors import DataError
from admlops.formats.cvat.writer import write_cvat
from admlops.formats.openlabel.folder import write_frames
from admlops.formats.source import ReadOptions, read_all
from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.lake.store import Dataset
from admlops.steps.sources import find_format, open_source
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep


def png(width, height, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def frame(number):
    random = np.random.default_rng(number)
    lidar = CalibratedSensor("top", "lidar", make_transform(rotation_about_z(0.1), [0.1, 0, 1.7]))
    matrix = np.array([[70.0, 0, 32], [0, 70.0, 24], [0, 0, 1]])
    cameras = [
        CameraImage(
            CalibratedSensor(name, "camera", np.eye(4), matrix), png(64, 48, number), 64, 48
        )
        for name in ("front", "left")
    ]
    points = random.uniform(-20, 20, (200, 4)).astype(np.float32)
    boxes = Boxes.make(
        random.uniform(-9, 9, (2, 3)),
        random.uniform(1, 4, (2, 3)),
        random.uniform(-3, 3, 2),
        ["car", "van"],
        num_points=[3, 0],
    )
    boxes_2d = Boxes2d.make([[1, 2, 30, 40]], ["car"], camera=np.array(["left"], object))
    return Frame(
        key=FrameKey("log", "scene", number * 10**8),
        frame_id=f"f{number}",
        global_from_ego=make_transform(rotation_about_z(0.3), [number, 0, 0]),
        lidar=LidarSweep(lidar, points),
        camera=cameras[0],
        other_cameras=(cameras[1],),
        boxes=boxes,
        boxes_2d=boxes_2d,
        tags=("night",),
        split="val",
        source="here",
    )


@pytest.fixture
def folder(tmp_path):
    assert write_frames(tmp_path / "labels", [frame(0), frame(1)], "two frames") == 2
    return tmp_path / "labels"


def edit(folder, change):
    path = folder / "openlabel.json"
    content = json.loads(path.read_text())
    change(content["openlabel"])
    path.write_text(json.dumps(content))


def test_frames_and_their_data_come_back_whole(folder):
    assert find_format(folder) == find_format(folder / "openlabel.json") == "openlabel"
    source = open_source(folder)
    assert not source.findings
    for number, read in enumerate(read_all(source)):
        assert_same(frame(number), read)
    assert len(source) == 2
    assert_same(frame(1), pickle.loads(pickle.dumps(source)).read(1).frame)  # noqa: S301


def test_the_lake_takes_them(folder, tmp_path):
    dataset = Dataset.create(str(tmp_path / "lake"))
    assert dataset.append(read_all(open_source(folder))).num_added == 2
    (first, _) = dataset.take([0, 1], camera=True)
    assert_same(first.boxes, frame(0).boxes)
    assert_same(first.boxes_2d, frame(0).boxes_2d)


def test_categories_and_cameras_are_chosen(folder):
    options = ReadOptions(categories={"van": ""}, cameras="front")
    source = open_source(folder, options=options)
    result = source.read(0)
    assert result.frame.boxes.category.tolist() == ["car"]
    assert result.mapped[("van", "")] == 1
    assert result.frame.other_cameras == ()


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("pointclouds/absent.pcd", "READ001"),
        ("../../secret.pcd", "READ001"),
        ("/etc/hostname", "READ001"),
        ("https://example.org/0.pcd", "READ001"),
        ("images/0/000000.png", "READ002"),
    ],
)
def test_data_that_is_absent_or_elsewhere_leaves_its_frame_out(folder, uri, rule):
    def change(content):
        streams = content["frames"]["0"]["frame_properties"]["streams"]
        streams["top"]["uri"] = uri

    edit(folder, change)
    result = open_source(folder).read(0)
    assert result.frame is None
    assert [finding.rule.rule_id for finding in result.findings] == [rule]
    assert open_source(folder).read(1).frame is not None


def test_cut_points_are_a_finding(folder):
    path = folder / "pointclouds" / "000000.pcd"
    path.write_bytes(path.read_bytes()[:-3])
    (finding,) = open_source(folder).read(0).findings
    assert finding.rule.rule_id == "READ002"
    assert "not as its header says" in finding.what


def test_unknown_numbers_of_points_are_counted(folder):
    def change(content):
        for entry in content["frames"]["0"]["objects"].values():
            for cuboid in entry["object_data"].get("cuboid", []):
                del cuboid["attributes"]
                cuboid["val"] = [0, 0, 0, 0, 0, 0, 100, 100, 100]

    edit(folder, change)
    boxes = open_source(folder).read(0).frame.boxes
    assert boxes.num_points.tolist() == [200, 200]


def test_two_files_are_ambiguous(folder):
    (folder / "more.json").write_bytes((folder / "openlabel.json").read_bytes())
    with pytest.raises(DataError, match="2 files of OpenLABEL"):
        open_source(folder, "openlabel")


def test_an_export_of_cvat_with_its_images(tmp_path):
    frames = [replace(frame(number), boxes=None) for number in range(2)]
    write_cvat(tmp_path / "annotations.xml", frames, "task", mode="images")
    assert find_format(tmp_path) == "cvat"
    source = open_source(tmp_path)
    assert [finding.rule.rule_id for finding in source.findings] == ["READ019"]
    assert source.read(0).frame.camera is None
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "f0.png").write_bytes(png(64, 48, 0))
    source = pickle.loads(pickle.dumps(open_source(tmp_path)))  # noqa: S301
    first, second = source.read(0), source.read(1)
    assert (first.frame.camera.width_px, first.frame.frame_id) == (64, "f0")
    assert_same(first.frame.boxes_2d, frames[0].boxes_2d)
    assert second.frame is None
    assert [finding.rule.rule_id for finding in second.findings] == ["READ001"]


def test_names_of_images_do_not_lead_out_of_the_folder(tmp_path):
    write_cvat(tmp_path / "annotations.xml", [replace(frame(0), frame_id="../a")], mode="images")
    (tmp_path / "images").mkdir()
    result = open_source(tmp_path).read(0)
    assert [finding.rule.rule_id for finding in result.findings] == ["READ001"]

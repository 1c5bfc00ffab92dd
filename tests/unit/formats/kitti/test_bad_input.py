# ruff: noqa: E501
"""One thing is damaged at a time; the rule that fires is the one meant for it, and no other."""

import shutil
import struct

import numpy as np
import pytest

from admlops.errors import DataError
from admlops.formats.kitti.sidecar import FILE_NAME
from admlops.formats.kitti.source import open_folder
from admlops.formats.kitti.writer import write_frames
from admlops.formats.source import ReadOptions, read_all
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.structures.finding import Finding

GROUP = SceneGroup(num_scenes=1, frames_per_scene=2)
WORLD = WorldConfig(
    train=GROUP, val=GROUP, pool=GROUP, lidar=LidarConfig(num_beams=8, azimuth_step_deg=0.4)
)
CAR = "Car 0.00 0 -1.50 100.00 120.00 150.00 170.00 1.61 1.66 3.20 0.70 1.76 23.88 -1.48\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_frames(folder, simulate(WORLD))
    return folder


@pytest.fixture
def root(world, tmp_path):
    shutil.copytree(world, tmp_path / "kitti")
    return tmp_path / "kitti"


def read(root, **options):
    items = list(read_all(open_folder(root, ReadOptions(**options))))
    findings = [item for item in items if isinstance(item, Finding)]
    return findings, [item for item in items if not isinstance(item, Finding)]


def lidar(root):
    return root / "training" / "velodyne" / "000001.bin"


def label(root):
    return root / "training" / "label_2" / "000001.txt"


def calib(root):
    return root / "training" / "calib" / "000001.txt"


def image(root):
    return root / "training" / "image_2" / "000001.png"


def set_point(root, values):
    points = np.fromfile(lidar(root), dtype=np.float32).reshape(-1, 4)
    points[7] = values
    points.tofile(lidar(root))


def replace(path, old, new):
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


def drop_line(path, start):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(start)))


def resize(root, width, height):
    content = bytearray(image(root).read_bytes())
    content[16:24] = struct.pack(">II", width, height)
    image(root).write_bytes(content)


DAMAGES = {
    "no lidar": ("KITTI001", lambda root: lidar(root).unlink()),
    "no calibration": ("KITTI001", lambda root: calib(root).unlink()),
    "no image": ("KITTI001", lambda root: image(root).unlink()),
    "no labels": ("KITTI001", lambda root: label(root).unlink()),
    "cut lidar": ("KITTI002", lambda root: lidar(root).write_bytes(lidar(root).read_bytes()[:-5])),
    "empty lidar": ("KITTI002", lambda root: lidar(root).write_bytes(b"")),
    "NaN point": ("KITTI003", lambda root: set_point(root, [np.nan, 0, 0, 0])),
    "infinite point": ("KITTI003", lambda root: set_point(root, [np.inf, 0, 0, 0])),
    "NaN intensity": ("KITTI003", lambda root: set_point(root, [1, 0, 0, np.nan])),
    "far point": ("KITTI004", lambda root: set_point(root, [0, 1e6, 0, 0])),
    "empty calibration": ("KITTI005", lambda root: calib(root).write_text("")),
    "no P2": ("KITTI005", lambda root: drop_line(calib(root), "P2")),
    "word in calibration": ("KITTI005", lambda root: replace(calib(root), "R0_rect: 1", "R0_rect: x")),
    "flat rotation": ("KITTI005", lambda root: replace(calib(root), "R0_rect: 1", "R0_rect: 2")),
    "binary calibration": ("KITTI005", lambda root: calib(root).write_bytes(bytes(range(256)))),
    "short label row": ("KITTI006", lambda root: label(root).write_text("Car 0.00 0 1.5\n")),
    "word in label row": ("KITTI006", lambda root: label(root).write_text(CAR.replace("1.66", "wide"))),
    "NaN in label row": ("KITTI006", lambda root: label(root).write_text(CAR.replace("1.66", "nan"))),
    "binary labels": ("KITTI006", lambda root: label(root).write_bytes(bytes(range(1, 200)))),
    "cut image": ("KITTI007", lambda root: image(root).write_bytes(image(root).read_bytes()[:-50])),
    "empty image": ("KITTI007", lambda root: image(root).write_bytes(b"")),
    "small image": ("KITTI007", lambda root: resize(root, 621, 188)),
    "listed twice": ("KITTI008", lambda root: (root / "ImageSets" / "train.txt").write_text("000000\n000001\n000001\n")),
    "two line endings": ("KITTI009", lambda root: label(root).write_bytes((CAR + CAR.replace("\n", "\r\n")).encode())),
    "unknown type": ("KITTI010", lambda root: label(root).write_text(CAR.replace("Car", "Automobile"))),
    "zero width": ("KITTI011", lambda root: label(root).write_text(CAR.replace("1.66", "0.00"))),
    "no line about a frame": ("KITTI013", lambda root: drop_line(root / FILE_NAME, '{"name":"training/000001"')),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_frame_is_left_out_with_its_reason(root, name):
    rule_id, damage = DAMAGES[name]
    damage(root)
    findings, frames = read(root)
    errors = [finding for finding in findings if finding.rule.severity == "error"]
    assert {finding.rule.rule_id for finding in errors} == {rule_id}
    assert all("000001" in finding.where for finding in errors)
    num_left = 6 if name == "listed twice" else 5
    assert len(frames) == num_left


def test_a_frame_of_both_splits_is_read_once(root):
    lists = root / "ImageSets"
    (lists / "val.txt").write_text("000002\n000003\n000001\n")
    findings, frames = read(root)
    assert [finding.rule.rule_id for finding in findings] == ["KITTI008"]
    assert len(frames) == 6


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_foreign_but_equal_line_endings_are_taken(root, ending):
    label(root).write_bytes((CAR + CAR).replace("\n", ending).encode())
    findings, frames = read(root)
    assert {finding.rule.rule_id for finding in findings} == {"KITTI012"}
    assert len(frames) == 6
    assert len(frames[1].boxes) == 2


def test_an_empty_label_file_is_a_frame_without_objects(root):
    label(root).write_text("")
    findings, frames = read(root)
    assert findings == []
    assert len(frames[1].boxes) == 0


def test_a_box_that_does_not_fit_its_2d_box_is_a_warning(root):
    label(root).write_text(CAR)
    findings, frames = read(root)
    assert [finding.rule.rule_id for finding in findings] == ["KITTI012"]
    assert len(frames) == 6


def test_frames_in_no_list_are_counted(root):
    (root / "ImageSets" / "train.txt").write_text("000000\n")
    findings, frames = read(root)
    assert [finding.rule.rule_id for finding in findings] == ["KITTI014"]
    assert "000001" in findings[0].what
    assert len(frames) == 5


def test_a_damaged_sidecar_line_is_named(root):
    path = root / FILE_NAME
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], "{broken\n", *lines[2:]]))
    findings, frames = read(root)
    assert [finding.rule.rule_id for finding in findings] == ["KITTI013", "KITTI013"]
    assert "line 2" in findings[0].what
    assert len(frames) == 5


def test_without_lists_and_sidecar_all_training_frames_are_train(root):
    shutil.rmtree(root / "ImageSets")
    (root / FILE_NAME).unlink()
    findings, frames = read(root)
    assert findings == []
    assert [frame.split for frame in frames] == ["train"] * 4 + ["pool"] * 2
    assert [frame.key.log for frame in frames] == ["kitti"] * 6
    assert frames[1].key.timestamp_ns == 100_000_000
    assert len({frame.key for frame in frames}) == 6
    assert [frame.is_keyframe for frame in frames] == [True] * 4 + [False] * 2


def test_without_images_calibration_and_ignore_regions_stay(root):
    with_images = read(root)[1][0]
    shutil.rmtree(root / "training" / "image_2")
    findings, frames = read(root)
    assert findings == []
    assert frames[0].camera.encoded == b""
    assert np.array_equal(frames[0].camera.ignore_regions_px, with_images.camera.ignore_regions_px)


def test_own_types_are_taken_where_they_are_mapped(root):
    label(root).write_text(CAR.replace("Car", "Automobile"))
    _, frames = read(root, categories={"automobile": "car"})
    assert list(frames[1].boxes.category) == ["car"]


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(DataError, match="training"):
        open_folder(tmp_path, ReadOptions())

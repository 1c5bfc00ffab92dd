"""KITTI raw: the real drive, one with everything by hand, and damaged files."""

import shutil

import numpy as np
import pytest

from admlops.errors import DataError
from admlops.formats.kitti_raw.source import open_folder
from admlops.formats.source import ReadOptions
from admlops.geometry.pose import invert
from admlops.steps.sources import find_format

CAMERAS = """calib_time: 09-Jan-2012 13:57:47
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: 700 0 600 0 0 700 180 0 0 0 1 0
P_rect_03: 700 0 600 -350 0 700 180 0 0 0 1 0
"""
VELODYNE = "R: 0 -1 0 0 0 -1 1 0 0\nT: 0 -0.08 -0.27\n"
IMU = "R: 1 0 0 0 1 0 0 0 1\nT: -0.8 0.3 -0.8\n"
TRACKLETS = """<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>
<!DOCTYPE boost_serialization>
<boost_serialization signature="serialization::archive" version="9"><tracklets>
<count>2</count><item_version>1</item_version>
<item><objectType>Car</objectType><h>1.5</h><w>1.8</w><l>4</l><first_frame>0</first_frame>
<poses><count>2</count>
<item><tx>10</tx><ty>2</ty><tz>-1.7</tz><rx>0</rx><ry>0</ry><rz>0.5</rz>
<state>2</state><occlusion>1</occlusion><truncation>0</truncation></item>
<item><tx>11</tx><ty>2</ty><tz>-1.7</tz><rx>0</rx><ry>0</ry><rz>0.5</rz>
<state>2</state><occlusion>-1</occlusion><truncation>1</truncation></item>
</poses></item>
<item><objectType>Person (sitting)</objectType><h>1.2</h><w>0.6</w><l>0.8</l>
<first_frame>1</first_frame><poses><count>1</count>
<item><tx>5</tx><ty>-2</ty><tz>-1.7</tz><rx>0</rx><ry>0</ry><rz>0</rz>
<state>2</state><occlusion>0</occlusion><truncation>0</truncation></item></poses></item>
</tracklets></boost_serialization>
"""


@pytest.fixture
def drive(tmp_path):
    day = tmp_path / "2011_09_26"
    folder = day / "2011_09_26_drive_0001_sync"
    (folder / "velodyne_points/data").mkdir(parents=True)
    (folder / "oxts/data").mkdir(parents=True)
    for name, text in (
        ("cam_to_cam", CAMERAS),
        ("velo_to_cam", VELODYNE),
        ("imu_to_velo", IMU),
    ):
        (day / f"calib_{name}.txt").write_text(text)
    (folder / "tracklet_labels.xml").write_text(TRACKLETS)
    lines = [f"2011-09-26 13:02:25.{number}64389445\n" for number in range(2)]
    (folder / "velodyne_points/timestamps.txt").write_text("".join(lines))
    for number in range(2):
        name = f"{number:010d}"
        points = np.array([[10.0 + number, 2.0, -1.0, 0.5]], dtype="<f4")
        (folder / "velodyne_points/data" / f"{name}.bin").write_bytes(points.tobytes())
        row = [0, 1e-5 * number, 100, 0, 0, 0, *[0] * 24]
        (folder / "oxts/data" / f"{name}.txt").write_text(" ".join(map(str, row)))
    return folder


def read(root, **options):
    source = open_folder(root, ReadOptions(**options))
    return [source.read(index) for index in range(len(source))]


def test_the_real_drive_is_read_with_the_usual_mounting(real_data):
    root = real_data / "kitti_raw"
    assert find_format(root) == "kitti_raw"
    results = read(root)
    assert [[finding.rule.rule_id for finding in result.findings] for result in results] == [
        ["READ018"]
    ] * 4
    for number, result in enumerate(results):
        frame = result.frame
        assert frame.key == ("kitti_raw", "2011_09_26", number * 100_000_000)
        assert frame.boxes is None
        assert frame.split == "pool"
        assert (frame.camera.width_px, frame.camera.height_px) == (1242, 375)
        below = frame.points_in_ego()
        near = np.hypot(below[:, 0], below[:, 1]) < 12
        assert np.median(below[near & (below[:, 2] < 0.5), 2]) == pytest.approx(0.0, abs=0.1)


def test_a_whole_drive_by_hand(drive):
    results = read(drive.parents[1])
    first, second = (result.frame for result in results)
    assert [result.findings for result in results] == [(), ()]
    assert first.key.scene == "2011_09_26_drive_0001_sync"
    assert first.key.timestamp_ns == 1_317_042_145_064_389_445
    assert first.boxes.category.tolist() == ["car"]
    assert second.boxes.category.tolist() == ["car", "person_sitting"]
    np.testing.assert_allclose(
        first.boxes.as_7()[0], [9.73, 2.0, 1.65 + 0.08 - 1.7 + 0.75, 4, 1.8, 1.5, 0.5], atol=1e-9
    )
    assert first.boxes.num_points.tolist() == [1]
    assert second.boxes.occlusion.tolist() == [-1, 0]
    assert second.boxes.attributes.tolist() == ['{"truncation_level": 1}', ""]
    assert second.boxes.track_id.tolist() == ["0", "1"]
    step = invert(first.global_from_ego) @ second.global_from_ego
    assert step[0, 3] == pytest.approx(6_378_137 * np.deg2rad(1e-5))
    assert np.linalg.norm(step[1:3, 3]) < 1e-6


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("../calib_velo_to_cam.txt", "R: 1 2\nT: 0 0 0", "READ005"),
        ("../calib_imu_to_velo.txt", "nothing", "READ005"),
        ("tracklet_labels.xml", TRACKLETS.replace("<rz>0.5</rz>", ""), "READ006"),
        ("tracklet_labels.xml", TRACKLETS.replace("<w>1.8</w>", "<w>-1</w>"), "READ011"),
        ("tracklet_labels.xml", TRACKLETS.replace("Car", "Boat"), "READ010"),
        (
            "tracklet_labels.xml",
            TRACKLETS.replace(
                "<!DOCTYPE boost_serialization>",
                '<!DOCTYPE boost_serialization [<!ENTITY a "aa">]>',
            ),
            "READ006",
        ),
        ("velodyne_points/timestamps.txt", "yesterday", "READ012"),
        ("velodyne_points/timestamps.txt", "2011-09-26 13:02:25.0", "READ012"),
        ("velodyne_points/timestamps.txt", "9999-09-26 13:02:25.0\n" * 2, "READ012"),
        ("oxts/data/0000000000.txt", "1 2 3", "READ012"),
        ("oxts/data/0000000000.txt", "0 1e308 100" + " 0" * 27, "READ012"),
        ("velodyne_points/data/0000000000.bin", "odd", "READ002"),
    ],
)
def test_damage_is_named(drive, name, content, rule):
    (drive / name).write_text(content)
    found = {finding.rule.rule_id for result in read(drive) for finding in result.findings}
    assert found == {rule}


def test_a_missing_calibration_file_is_named(drive):
    (drive / "../calib_imu_to_velo.txt").resolve().unlink()
    assert [result.findings[0].rule.rule_id for result in read(drive)] == ["READ001"] * 2


def test_a_missing_pose_costs_its_frame(drive):
    (drive / "oxts/data/0000000001.txt").unlink()
    assert [result.frame is None for result in read(drive)] == [False, True]


def test_no_drive(tmp_path):
    with pytest.raises(DataError, match="no KITTI raw drive"):
        open_folder(tmp_path, ReadOptions())
    shutil.rmtree(tmp_path)

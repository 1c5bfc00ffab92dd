"""Formats whose folders resemble each other are told apart, and options hold in each."""

import pytest

from admlops.errors import DataError
from admlops.formats.source import ReadOptions
from admlops.steps.sources import find_format, open_source


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["training/segment-1.tfrecord", "validation/segment-2.tfrecord"], "waymo"),
        (["training/velodyne/0000/000000.bin", "training/label_02/0000.txt"], "kitti_tracking"),
        (["training/velodyne/0000/000000.bin", "training/oxts/0000.txt"], "kitti_tracking"),
        (["training/velodyne/000000.bin", "training/calib/000000.txt"], "kitti_object"),
        (["testing/velodyne/000000.bin", "testing/image_2/000000.png"], "kitti_object"),
        (["2011_09_26/drive_0001_sync/velodyne_points/data/0000000000.bin"], "kitti_raw"),
        (
            ["sensor/train/log/sensors/lidar/1.feather", "sensor/train/log/calibration/a"],
            "argoverse2",
        ),
        (["data/000076/lidar_roof/1.bin"], "once"),
    ],
)
def test_layouts(tmp_path, files, wanted):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert find_format(tmp_path) == wanted


@pytest.mark.parametrize("name", ["labels/a.json", "a.json", "a.xml"])
def test_a_link_to_nowhere_is_in_no_format(tmp_path, name):
    """Folders of data under git-annex or DVC have them until the data is fetched."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="in no format that can be read"):
        find_format(tmp_path)


def test_folders_named_as_kitti_names_them_are_not_enough(tmp_path):
    (tmp_path / "training" / "photographs").mkdir(parents=True)
    with pytest.raises(DataError, match="in no format that can be read"):
        find_format(tmp_path)


class TestKittiOptions:
    @pytest.mark.parametrize("name", ["Car", "car", "CAR"])
    def test_categories_may_be_written_as_in_the_files(self, real_data, name):
        options = ReadOptions(categories={name: "vehicle", "Person (sitting)": ""})
        for format_name in ("kitti_object", "kitti_tracking"):
            source = open_source(real_data / format_name, format_name, options)
            results = [source.read(index) for index in range(len(source))]
            cars = sum(result.mapped["car", "vehicle"] for result in results)
            assert cars == sum((r.frame.boxes.category == "vehicle").sum() for r in results) > 0

    def test_images_can_be_left_out(self, real_data):
        options = ReadOptions(cameras="none")
        source = open_source(real_data / "kitti_object", "kitti_object", options)
        result = source.read(0)
        assert result.findings == ()
        assert [image.encoded for image in result.frame.cameras] == [b""]

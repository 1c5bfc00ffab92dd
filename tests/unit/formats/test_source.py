"""The interface of all readers, and how a folder's format is told."""

import numpy as np
import pytest

from admlops.errors import ConfigError, DataError
from admlops.formats.source import CategoryTable, ReadOptions, read_all
from admlops.steps.sources import find_format, open_source
from admlops.structures.finding import Finding
from admlops.structures.frame import Frame


def test_every_box_of_a_source_is_accounted_for():
    table = CategoryTable({"Car": "car", "Van": "car", "Tram": ""})
    ours, kept, mapped = table.apply(["Car", "Tram", "Van", "Car"])
    assert ours.tolist() == ["car", "car", "car"]
    assert kept.tolist() == [True, False, True, True]
    assert mapped == {("Car", "car"): 2, ("Tram", ""): 1, ("Van", "car"): 1}
    assert table.unknown(np.array(["Bus", "Car", "Bus"], dtype=object)) == ["Bus"]


def test_a_folder_in_no_known_format_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"no format that can be read.*kitti_object"):
        find_format(tmp_path)
    with pytest.raises(ConfigError, match=r"no format is called 'kiti'.*kitti_object"):
        open_source(tmp_path, "kiti")
    with pytest.raises(DataError, match="no such file"):
        open_source(tmp_path / "absent")


def test_categories_are_renamed_and_left_out_on_request(real_data):
    options = ReadOptions(categories={"van": "car", "cyclist": ""})
    source = open_source(real_data / "kitti_object", options=options)
    frames = [item for item in read_all(source) if not isinstance(item, Finding)]
    assert len(frames) == len(source) == 6
    assert all(isinstance(frame, Frame) for frame in frames)
    found = {name for frame in frames if frame.boxes is not None for name in frame.boxes.category}
    assert "car" in found
    assert not found & {"van", "cyclist"}

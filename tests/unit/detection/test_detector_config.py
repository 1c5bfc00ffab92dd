"""Detector configs: what is refused, what is derived, and reading them back."""

import json

import pytest

from admlops.config import Config
from admlops.detection.config import (
    DetectorConfig,
    PointPillarsConfig,
    detector_config_json,
    parse_detector_config,
    read_detector_config,
)
from admlops.detection.presets import centerpoint_kitti, pointpillars_kitti, small_detector
from admlops.errors import ConfigError, DataError

PRESETS = [
    pointpillars_kitti(),
    centerpoint_kitti(),
    small_detector("centerpoint"),
    small_detector("pointpillars"),
]


class _Holder(Config):
    detector: DetectorConfig


@pytest.mark.parametrize("config", PRESETS, ids=lambda c: c.kind)
def test_every_preset_survives_json(config, tmp_path):
    (tmp_path / "detector.json").write_text(detector_config_json(config))
    assert read_detector_config(tmp_path) == config
    held = _Holder(detector=config)
    assert _Holder.parse(json.loads(json.dumps(held.to_json_dict()))) == held


def test_the_papers_grid_has_the_papers_size():
    assert pointpillars_kitti().grid_shape == (496, 432)
    assert pointpillars_kitti().output_shape == (248, 216)


def test_an_unknown_kind_names_the_choices():
    with pytest.raises(ConfigError, match=r"'yolo'.*pointpillars, centerpoint"):
        parse_detector_config({"kind": "yolo"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"voxel_size_m": (0.15, 0.16)}, "whole numbers"),
        ({"voxel_size_m": (0.32, 0.32), "backbone": {"strides": (2, 2, 16)}}, "divisible"),
        ({"point_cloud_range_m": (0, 0, 0, 0, 1, 1)}, "exceed"),
        ({"neck": {"strides": (1, 2, 2)}}, "same resolution"),
        ({"neck": {"strides": (1, 2)}}, "one per block"),
        ({"backbone": {"strides": (2, 2)}}, "one entry per block"),
        ({"categories": ("car",)}, "head.anchors"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        PointPillarsConfig.parse(pointpillars_kitti().model_dump() | changes)


def test_reading_from_a_wrong_folder_says_so(tmp_path):
    with pytest.raises(DataError, match="is .* a model, exported or built"):
        read_detector_config(tmp_path)
    (tmp_path / "detector.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read_detector_config(tmp_path)

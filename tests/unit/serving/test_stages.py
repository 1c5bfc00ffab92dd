import json
import subprocess
import sys

import numpy as np
import pytest

from admlops.detection.config import CENTER_REGRESSION, HEATMAP_LOGITS, detector_config_json
from admlops.detection.presets import small_detector
from admlops.errors import ConfigError, DataError
from admlops.serving.release import copy_source
from admlops.serving.server import SOURCE_VARIABLE
from admlops.serving.stages import (
    BOXES,
    LABELS,
    NUM_PILLARS,
    POINTS,
    SCORES,
    arrays_to_boxes,
    boxes_to_arrays,
    load_stage,
)
from admlops.structures.boxes import Boxes


@pytest.fixture
def release(tmp_path):
    """Return a folder with the settings that the first and the last stage need."""
    config = small_detector()
    rows, columns = config.output_shape
    settings = {
        "ego_from_lidar": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1.5], [0, 0, 0, 1]],
        "max_points": 1000,
        "output_shapes": {
            HEATMAP_LOGITS: [1, 3, rows, columns],
            CENTER_REGRESSION: [1, 8, rows, columns],
        },
    }
    (tmp_path / "serving.json").write_text(json.dumps(settings))
    (tmp_path / "detector.json").write_text(detector_config_json(config))
    return tmp_path


def test_voxelize_moves_points_into_the_ego_frame(release):
    outputs = load_stage("voxelize", release)({POINTS: np.array([[10, 2, -1, 0.5]], np.float32)})
    np.testing.assert_array_equal(outputs[NUM_PILLARS], [1])
    np.testing.assert_allclose(outputs["point_features"][0, :4], [10, 2, 0.5, 0.5])


@pytest.mark.parametrize(
    "points", [np.empty((0, 4)), np.full((5, 4), np.nan), np.full((5, 4), 1e6)]
)
def test_a_cloud_with_nothing_in_it_becomes_a_placeholder(release, points):
    outputs = load_stage("voxelize", release)({POINTS: points.astype(np.float32)})
    np.testing.assert_array_equal(outputs[NUM_PILLARS], [0])
    assert outputs["point_features"].shape == (1, 9)
    assert outputs["pillar_cell"].shape == (1,)


def test_too_many_points_are_refused(release):
    with pytest.raises(DataError, match="1001 points, this release takes at most 1000"):
        load_stage("voxelize", release)({POINTS: np.zeros((1001, 4), np.float32)})


def test_decode_finds_nothing_in_a_placeholder(release):
    stage = load_stage("decode", release)
    rows, columns = small_detector().output_shape
    outputs = {
        HEATMAP_LOGITS: np.full((1, 3, rows, columns), 9.0, np.float32),
        CENTER_REGRESSION: np.zeros((1, 8, rows, columns), np.float32),
    }
    assert len(stage(outputs | {NUM_PILLARS: np.array([1])})[BOXES]) > 0
    nothing = stage(outputs | {NUM_PILLARS: np.array([0])})
    assert nothing[BOXES].shape == (0, 7)
    assert nothing[SCORES].shape == (0,)
    assert nothing[LABELS].shape == (0,)


def test_an_unknown_stage_is_refused(release):
    with pytest.raises(ConfigError, match="stages are voxelize, network, decode"):
        load_stage("track", release)


def test_boxes_survive_the_wire():
    boxes = Boxes.make([[1, 2, 3]], [[4, 5, 6]], [0.5], ["person_sitting"], score=[0.25])
    arrays = boxes_to_arrays(boxes)
    assert arrays[BOXES].dtype == np.float32
    back = arrays_to_boxes(arrays)
    np.testing.assert_array_equal(back.as_7(), boxes.as_7())
    assert back.category.tolist() == ["person_sitting"]
    assert back.score.tolist() == [0.25]


def test_the_copied_source_is_all_that_the_stages_need(tmp_path):
    copy_source(tmp_path)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import admlops.serving.stages, admlops\n"
        f"assert admlops.__file__.startswith({str(tmp_path)!r}), admlops.__file__\n"
        "loaded = {'torch', 'pyarrow', 'lance', 'kfp', 'onnx'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        f"strange = [m.__file__ for n, m in sys.modules.items() if n.startswith('admlops.') "
        f"and not m.__file__.startswith({str(tmp_path)!r})]\n"
        "assert not strange, strange\n"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_the_model_file_reads_the_variable_that_the_server_sets():
    from pathlib import Path

    import admlops.serving.server as server

    text = Path(server.__file__).with_name("triton_model.py").read_text()
    assert f'SOURCE_VARIABLE = "{SOURCE_VARIABLE}"' in text

import json

import pytest

from admlops.detection.config import detector_config_json
from admlops.detection.presets import small_detector
from admlops.errors import ConfigError, DataError
from admlops.export.audit import Audit
from admlops.export.onnx_file import OPSET
from admlops.steps.build import BuildConfig, BuildInputs, BuildOutputs, build
from admlops.steps.export import ExportConfig, ExportInputs, ExportOutputs, export
from admlops.structures.manifest import Manifest


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    """Return a folder that holds the settings of a detector and no weights."""
    folder = tmp_path_factory.mktemp("design")
    (folder / "detector.json").write_text(detector_config_json(small_detector()))
    return folder


@pytest.fixture(scope="module")
def exported(design, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "exported"
    export(ExportInputs(design), ExportOutputs(folder), ExportConfig(random_weights=True))
    return folder


def test_a_design_is_audited_before_it_is_trained(exported):
    audit = Audit.load(exported / "audit.json")
    assert audit.opset == OPSET
    assert len(audit.tables) == 3
    assert audit.findings == ()
    manifest = Manifest.read(exported / "manifest.json", "exported")
    assert manifest.provenance["weights"] == "random"


def test_a_model_without_weights_is_refused(design, tmp_path):
    with pytest.raises(DataError, match=r"weights\.pt"):
        export(ExportInputs(design), ExportOutputs(tmp_path / "exported"), ExportConfig())
    assert not (tmp_path / "exported").exists()


def test_an_opset_without_a_maximum_is_refused():
    with pytest.raises(ConfigError, match="opset"):
        ExportConfig.parse({"opset": 17})


def test_build_writes_what_it_built(exported, tmp_path):
    scores = build(BuildInputs(exported), BuildOutputs(tmp_path / "built"), BuildConfig())
    assert scores["openvino_f32_bytes"] > 100_000
    written = json.loads((tmp_path / "built" / "build.json").read_text())
    files = [item["file"] for item in written["targets"]]
    assert files == ["model.onnx", "openvino/model.xml"]
    assert all((tmp_path / "built" / name).is_file() for name in files)


def test_half_precision_storage_halves_the_weights(exported, tmp_path):
    config = BuildConfig(targets=("openvino",), storage="f16")
    scores = build(BuildInputs(exported), BuildOutputs(tmp_path / "half"), config)
    full = build(
        BuildInputs(exported), BuildOutputs(tmp_path / "full"), BuildConfig(targets=("openvino",))
    )
    assert scores["openvino_f16_bytes"] < 0.7 * full["openvino_f32_bytes"]


def test_int8_without_a_dataset_is_refused(exported, tmp_path):
    with pytest.raises(DataError, match="INT8 needs calibration frames; give the step a dataset"):
        build(BuildInputs(exported), BuildOutputs(tmp_path / "built"), BuildConfig(int8=True))
    assert not (tmp_path / "built").exists()


def test_an_exported_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json"):
        build(BuildInputs(tmp_path), BuildOutputs(tmp_path / "built"), BuildConfig())

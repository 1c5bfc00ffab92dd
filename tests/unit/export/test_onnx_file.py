import numpy as np
import onnx
import pytest
import torch

from admlops.detection.backends import load_network
from admlops.detection.config import NETWORK_INPUTS, detector_config_json
from admlops.detection.presets import small_detector
from admlops.errors import ConfigError, DataError, ServiceError
from admlops.export.audit import audit_model
from admlops.export.onnx_file import export_onnx, module_path
from admlops.export.operator_table import TARGETS
from admlops.export.targets import TargetOptions, Workpiece, find_builder
from admlops.models.detector import build_detector
from admlops.models.encoder import warm_inputs


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return build_detector(small_detector())


@pytest.fixture(scope="module")
def built(detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    export_onnx(detector, folder / "model.onnx")
    (folder / "detector.json").write_text(detector_config_json(detector.config))
    work = Workpiece(folder / "model.onnx", folder, TargetOptions())
    for target in ("onnxruntime", "openvino"):
        assert [item.target for item in find_builder(target)(work)] == [target]
    return folder


def make_inputs(num_points, num_pillars):
    tensors = warm_inputs(num_points, num_pillars)
    return {name: t.numpy() for name, t in zip(NETWORK_INPUTS, tensors, strict=True)}


def test_names_opset_and_dynamic_dimensions(built, detector):
    model = onnx.load(built / "model.onnx")
    assert model.opset_import[0].version == 20
    assert tuple(value.name for value in model.graph.input) == NETWORK_INPUTS
    assert tuple(value.name for value in model.graph.output) == detector.config.output_names
    dims = [value.type.tensor_type.shape.dim[0].dim_param for value in model.graph.input]
    assert dims == ["num_points", "num_points", "num_pillars"]


def test_nodes_name_their_modules_and_nothing_of_this_machine(built):
    model = onnx.load(built / "model.onnx")
    paths = [module_path(node) for node in model.graph.node if node.op_type == "Conv"]
    assert paths[0] == "backbone.blocks.0.1 (BatchNorm2d)"
    assert b"site-packages" not in (built / "model.onnx").read_bytes()


def test_the_file_is_the_same_every_time(built, detector, tmp_path):
    export_onnx(detector, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (built / "model.onnx").read_bytes()


def test_a_design_is_audited_before_it_is_trained(built):
    audit = audit_model(onnx.load(built / "model.onnx"), TARGETS)
    assert audit.findings == ()
    assert any("ScatterElements plugin" in note for note in audit.notes)


@pytest.mark.parametrize(("num_points", "num_pillars"), [(1, 1), (7, 7), (64, 16), (5000, 700)])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_runtimes_agree_with_torch_for_any_number_of_pillars(
    built, detector, runtime, num_points, num_pillars
):
    inputs = make_inputs(num_points, num_pillars)
    network = load_network(built, runtime)
    expected = detector.infer(inputs)
    answered = network(inputs)
    for name in detector.config.output_names:
        np.testing.assert_allclose(answered[name], expected[name], atol=1e-4)


def test_one_network_object_takes_frames_of_different_sizes(built, detector):
    network = load_network(built, "openvino", num_threads=1)
    for size in (64, 500, 8):
        inputs = make_inputs(size, size // 2)
        name = detector.config.output_names[0]
        expected = detector.infer(inputs)[name]
        np.testing.assert_allclose(network(inputs)[name], expected, atol=1e-4)


def test_precision_is_refused_where_it_does_not_fit(built):
    with pytest.raises(ConfigError, match="'int8' is not for onnxruntime"):
        load_network(built, "onnxruntime", "int8")
    with pytest.raises(DataError, match=r"model_int8\.xml: there is no such file"):
        load_network(built, "openvino", "int8")
    with pytest.raises(ConfigError, match="choose 'onnxruntime', 'openvino' or 'tensorrt'"):
        load_network(built, "tflite")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_damaged_file_is_named(runtime, tmp_path):
    (tmp_path / "openvino").mkdir()
    for name in ("model.onnx", "openvino/model.xml", "openvino/model.bin"):
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot load it"):
        load_network(tmp_path, runtime)


def test_int8_needs_calibration_frames(built):
    work = Workpiece(built / "model.onnx", built, TargetOptions(int8=True))
    with pytest.raises(DataError, match="INT8 needs calibration frames"):
        find_builder("openvino")(work)


def test_tensorrt_says_what_it_needs(built):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    work = Workpiece(built / "model.onnx", built, TargetOptions())
    with pytest.raises(ServiceError, match=r"needs an NVIDIA GPU .*tensorrt.*polygraphy"):
        find_builder("tensorrt")(work)

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from admlops.export.rewrites import use_depth_to_space


def make_model(size, with_relu=True, with_bias=True, **attributes):
    """Return ConvTranspose with kernel and stride `size`, from 3 to 5 channels, and Relu."""
    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 5, size, size)).astype(np.float32)
    initializers = [numpy_helper.from_array(kernel, "w")]
    names = ["x", "w"]
    if with_bias:
        bias = random.normal(size=5).astype(np.float32)
        initializers.append(numpy_helper.from_array(bias, "b"))
        names.append("b")
    given = {"strides": [size, size], "kernel_shape": [size, size]} | attributes
    up = helper.make_node("ConvTranspose", names, ["up"], name="up", **given)
    up.metadata_props.add(key="admlops.module", value="neck")
    relu = helper.make_node("Relu", ["up"], ["y"], name="relu")
    nodes = [up, relu] if with_relu else [up]
    result = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [1, 5, "H", "W"])
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])
    graph = helper.make_graph(nodes, "up", [value], [result], initializer=initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model):
    x = np.random.default_rng(1).normal(size=(1, 3, 4, 6)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("with_relu", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
def test_results_stay_as_they_are(size, with_relu, with_bias):
    model = make_model(size, with_relu, with_bias)
    expected = run(model)
    assert use_depth_to_space(model, min_size=1) == 1
    onnx.checker.check_model(model)
    assert "ConvTranspose" not in {node.op_type for node in model.graph.node}
    answered = run(model)
    assert answered.shape == (1, 5, 4 * size, 6 * size)
    np.testing.assert_allclose(answered, expected, atol=1e-5)


def test_the_rectifier_follows_the_convolution_and_modules_are_kept():
    model = make_model(4)
    use_depth_to_space(model)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "DepthToSpace"]
    assert model.graph.node[0].metadata_props[0].value == "neck"
    assert {item.name for item in model.graph.initializer} == {"up.kernel", "up.bias"}


@pytest.mark.parametrize(
    "attributes",
    [{"strides": [2, 2]}, {"pads": [1, 1, 1, 1]}, {"output_padding": [1, 1]}, {"group": 3}],
)
def test_overlapping_or_padded_ones_stay(attributes):
    model = make_model(4, **attributes)
    before = model.SerializeToString(deterministic=True)
    assert use_depth_to_space(model) == 0
    assert model.SerializeToString(deterministic=True) == before


def test_small_ones_stay():
    assert use_depth_to_space(make_model(2)) == 0

import onnx
import pytest
from onnx import TensorProto, helper

from admlops.errors import ConfigError
from admlops.export.audit import audit_model, require_supported
from admlops.export.onnx_file import MODULE_CLASS, MODULE_PATH


def make_model(node, inputs, opset=20, initializers=()):
    """Return a model of one node, with inputs given as name to (type, dims)."""
    values = [helper.make_tensor_value_info(n, *spec) for n, spec in inputs.items()]
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", values, [output], initializer=list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def named(node, path, kind):
    node.metadata_props.add(key=MODULE_PATH, value=path)
    node.metadata_props.add(key=MODULE_CLASS, value=kind)
    return node


FLOAT_ROWS = (TensorProto.FLOAT, ["n", 4])


def test_an_unsupported_operator_is_named_with_its_module_and_a_rewrite():
    node = named(helper.make_node("Unique", ["x"], ["y"], name="find"), "encoder.find", "Finder")
    audit = audit_model(make_model(node, {"x": FLOAT_ROWS}), ("tensorrt", "onnxruntime"))
    (finding,) = audit.findings
    assert finding.target == "tensorrt-10.13"
    assert (finding.node, finding.operator) == ("find", "Unique")
    assert finding.module == "encoder.find (Finder)"
    assert finding.reason == "the operator is not supported"
    assert "find pillars when voxelising" in finding.rewrite
    assert str(finding).startswith("tensorrt-10.13: Unique (find) in encoder.find (Finder): ")
    assert audit.of("onnxruntime") == ()
    assert audit.dynamic_inputs == {"x": ("n",)}


def test_a_required_target_refuses():
    node = named(helper.make_node("Unique", ["x"], ["y"], name="find"), "encoder", "Encoder")
    audit = audit_model(make_model(node, {"x": FLOAT_ROWS}), ("tensorrt", "onnxruntime"))
    require_supported(audit, "onnxruntime")
    with pytest.raises(ConfigError, match=r"tensorrt cannot run 1 node\(s\)") as caught:
        require_supported(audit, "tensorrt")
    assert "encoder (Encoder)" in str(caught.value)


def test_an_attribute_that_is_not_respected_is_found():
    node = helper.make_node("ScatterND", ["x", "i", "u"], ["y"], name="s", reduction="max")
    inputs = {"x": FLOAT_ROWS, "i": (TensorProto.INT64, [3, 1]), "u": (TensorProto.FLOAT, [3, 4])}
    audit = audit_model(make_model(node, inputs), ("tensorrt",))
    assert [f.reason for f in audit.findings] == ["reduction=max is not supported, none are"]
    plain = helper.make_node("ScatterND", ["x", "i", "u"], ["y"], name="s")
    assert audit_model(make_model(plain, inputs), ("tensorrt",)).findings == ()


def test_an_element_type_is_checked():
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c")
    inputs = {"x": (TensorProto.DOUBLE, [1, 1, 8, 8]), "w": (TensorProto.DOUBLE, [1, 1, 3, 3])}
    (finding,) = audit_model(make_model(node, inputs), ("tensorrt",)).findings
    assert finding.reason.startswith("element type float64 is not supported, float32, ")


def test_dynamic_dimensions_are_checked():
    node = helper.make_node("EyeLike", ["x"], ["y"], name="e")
    (finding,) = audit_model(make_model(node, {"x": FLOAT_ROWS}), ("tensorrt",)).findings
    assert finding.reason == "dynamic dimensions are not supported"
    fixed = make_model(node, {"x": (TensorProto.FLOAT, [4, 4])})
    assert audit_model(fixed, ("tensorrt",)).findings == ()


def test_inputs_that_must_be_constants_are_checked():
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], name="r")
    model = make_model(node, {"x": FLOAT_ROWS, "axes": (TensorProto.INT64, [1])})
    (finding,) = audit_model(model, ("tensorrt",)).findings
    assert finding.reason == "input 1 (axes) must be a constant"
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    constant = make_model(node, {"x": FLOAT_ROWS}, initializers=[axes])
    assert audit_model(constant, ("tensorrt",)).findings == ()


def test_an_operator_of_another_domain_is_found():
    node = helper.make_node("MyPlugin", ["x"], ["y"], name="p", domain="my.plugins")
    model = make_model(node, {"x": FLOAT_ROWS})
    model.opset_import.append(helper.make_opsetid("my.plugins", 1))
    (finding,) = audit_model(model, ("openvino",)).findings
    assert finding.reason == "operators of the domain 'my.plugins' are not standard"


def test_an_opset_out_of_range_is_found():
    node = helper.make_node("Relu", ["x"], ["y"], name="r")
    (finding,) = audit_model(make_model(node, {"x": FLOAT_ROWS}, opset=8), ("tensorrt",)).findings
    assert finding.reason == "opset 8 is not supported, 9 to 22 are"


def test_nodes_inside_branches_are_audited():
    inner = helper.make_node("Unique", ["x"], ["y"], name="inner")
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    branch = helper.make_graph([inner], "branch", [], [result])
    node = helper.make_node("If", ["c"], ["z"], name="if", then_branch=branch, else_branch=branch)
    inputs = {"c": (TensorProto.BOOL, []), "x": FLOAT_ROWS}
    audit = audit_model(make_model(node, inputs), ("tensorrt",))
    assert [f.node for f in audit.findings] == ["inner", "inner"]
    assert audit.operators == {"If": 1, "Unique": 2}


def test_an_empty_graph_has_no_findings():
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph([], "nothing", [value], [value])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    assert audit_model(model, ("onnxruntime", "openvino", "tensorrt")).findings == ()
    assert isinstance(model, onnx.ModelProto)

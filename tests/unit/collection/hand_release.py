"""A published release of a detector made by hand: it sees a pedestrian where a bright point lies.

Its network is a real ONNX file, so that nothing of the way from a release to a box is left out.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from admlops.detection.backends import ONNX_FILE
from admlops.detection.config import (
    CENTER_REGRESSION,
    HEATMAP_LOGITS,
    NETWORK_INPUTS,
    NUM_POINT_FEATURES,
    POINT_FEATURES,
    detector_config_json,
)
from admlops.detection.presets import small_detector
from admlops.serving.golden import Golden, require_equal
from admlops.serving.in_process import load_release_predictor
from admlops.serving.publication import Papers, publish_release
from admlops.serving.release import ReleaseContent
from admlops.serving.stages import ServingSettings
from admlops.serving.store import ReleaseStore
from admlops.structures.boxes import Boxes

DETECTOR = small_detector()
ROWS, COLUMNS = DETECTOR.output_shape
CELL_M = 0.8
SHAPES = {HEATMAP_LOGITS: (1, 3, ROWS, COLUMNS), CENTER_REGRESSION: (1, 8, ROWS, COLUMNS)}
LIDAR_HEIGHT_M = 1.5
SCORE = 1 / (1 + np.exp(-6))


def bright_network():
    """Return a network with the logit 12 i - 6 in the cell of each point of intensity i."""

    def constant(name, values):
        return numpy_helper.from_array(np.asarray(values), name)

    nodes = [
        helper.make_node("Gather", [POINT_FEATURES, "xy"], ["place"], axis=1),
        helper.make_node("Sub", ["place", "low"], ["ahead"]),
        helper.make_node("Div", ["ahead", "cell"], ["cells"]),
        helper.make_node("Cast", ["cells"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mul", ["whole", "strides"], ["parts"]),
        helper.make_node("ReduceSum", ["parts", "last"], ["index"], keepdims=0),
        helper.make_node("Gather", [POINT_FEATURES, "intensity"], ["bright"], axis=1),
        helper.make_node("Mul", ["bright", "twelve"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "six"], ["logit"]),
        helper.make_node("ScatterElements", ["dark", "index", "logit"], ["map"], reduction="max"),
        helper.make_node("Concat", ["dark", "map", "dark"], ["maps"], axis=0),
        helper.make_node("Reshape", ["maps", "shape"], [HEATMAP_LOGITS]),
        helper.make_node("Identity", ["unit_boxes"], [CENTER_REGRESSION]),
    ]
    constants = [
        constant("xy", np.array([0, 1])),
        constant("low", DETECTOR.range_low_m[:2].astype(np.float32)),
        constant("cell", np.float32(CELL_M)),
        constant("strides", np.array([1, COLUMNS])),
        constant("last", np.array([1])),
        constant("intensity", np.array(3)),
        constant("twelve", np.float32(12)),
        constant("six", np.float32(6)),
        constant("dark", np.full(ROWS * COLUMNS, -9, np.float32)),
        constant("shape", np.array(SHAPES[HEATMAP_LOGITS])),
        constant("unit_boxes", np.zeros(SHAPES[CENTER_REGRESSION], np.float32)),
    ]
    kinds = (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT64)
    widths = ([NUM_POINT_FEATURES], [], [])
    inputs = [
        helper.make_tensor_value_info(name, kind, [f"num_{name}", *width])
        for name, kind, width in zip(NETWORK_INPUTS, kinds, widths, strict=True)
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in SHAPES.items()
    ]
    graph = helper.make_graph(nodes, "bright", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def publish_bright_detector(folder, categories=DETECTOR.categories):
    """Publish the detector, proved in this process; return the store."""
    built = folder / "built"
    built.mkdir(parents=True)
    onnx.save(bright_network(), built / ONNX_FILE)
    config = DETECTOR.replace(categories=categories)
    (built / "detector.json").write_text(detector_config_json(config))
    mounting = np.eye(4)
    mounting[2, 3] = LIDAR_HEIGHT_M
    settings = ServingSettings(
        ego_from_lidar=tuple(tuple(row) for row in mounting.tolist()),
        runtime="onnxruntime",
        output_shapes=SHAPES,
    )
    cloud = np.array([[4.3, 0.3, -0.5, 1.0], [30.0, 1.0, -0.5, 0.2]], np.float32)
    found = Boxes.make([[4.0, 0.0, 0.0]], [[1.0, 1.0, 1.0]], [0.0], categories[1:2], score=[SCORE])
    store = ReleaseStore(str(folder / "releases"))
    content = ReleaseContent(built, settings, [Golden("one", cloud, found)])
    publish_release(store, content, Papers(), prove=prove_in_process)
    return store


def prove_in_process(release, goldens, tolerance):
    detect = load_release_predictor(release)
    mounting = np.array(ServingSettings.load(release / "serving.json").ego_from_lidar)
    differences = []
    for golden in goldens:
        points = golden.points.copy()
        points[:, :3] += mounting[:3, 3].astype(np.float32)
        differences.append(require_equal(golden, detect(points), tolerance))
    return max(differences)

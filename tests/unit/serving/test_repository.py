import numpy as np

from admlops.serving.repository import ModelSpec, TensorSpec, detector_models


def test_model_text():
    model = ModelSpec(
        "decode",
        (TensorSpec("logits", np.float32, (1, 2, -1)),),
        (TensorSpec("labels", np.object_, (-1,)), TensorSpec("count", np.int64, (1,))),
    )
    assert model.to_text() == (
        'name: "decode"\n'
        'backend: "python"\n'
        "max_batch_size: 0\n"
        "input [\n"
        '  { name: "logits" data_type: TYPE_FP32 dims: [ 1, 2, -1 ] }\n'
        "]\n"
        "output [\n"
        '  { name: "labels" data_type: TYPE_STRING dims: [ -1 ] },\n'
        '  { name: "count" data_type: TYPE_INT64 dims: [ 1 ] }\n'
        "]\n"
        "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
    )


def test_ensemble_joins_stages_by_tensor_names():
    ensemble, stages = detector_models({"heatmap_logits": (1, 3, 8, 8)})
    text = ensemble.to_ensemble_text(stages, {"release": "0001-0123456789ab"})
    assert text.startswith('name: "points_to_boxes"\nplatform: "ensemble"\nmax_batch_size: 0\n')
    assert '{ name: "points" data_type: TYPE_FP32 dims: [ -1, 4 ] }' in text
    assert '{ name: "boxes" data_type: TYPE_FP32 dims: [ -1, 7 ] }' in text
    assert text.count("model_name:") == 3
    assert text.count('output_map { key: "heatmap_logits" value: "heatmap_logits" }') == 1
    assert text.count('input_map { key: "heatmap_logits" value: "heatmap_logits" }') == 1
    assert text.endswith(
        'parameters { key: "release" value { string_value: "0001-0123456789ab" } }\n'
    )


def test_every_stage_input_comes_from_the_cloud_or_a_stage_before():
    ensemble, stages = detector_models({"a": (1, 1, 2, 2), "b": (1, 8, 2, 2)})
    known = {tensor.name for tensor in ensemble.inputs}
    for stage in stages:
        assert {tensor.name for tensor in stage.inputs} <= known
        known |= {tensor.name for tensor in stage.outputs}
    assert {tensor.name for tensor in ensemble.outputs} <= known

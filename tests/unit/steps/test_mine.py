import json
from dataclasses import replace

import numpy as np
import pytest

from admlops.curation.mining import SignalWeights
from admlops.errors import ConfigError, DataError, GateError
from admlops.evaluation.result import BootstrapConfig, Evaluation, Failure
from admlops.lake.predictions import write_predictions
from admlops.lake.store import Dataset
from admlops.steps.candidates import narrow
from admlops.steps.mine import MineConfig, MineInputs, MineOutputs, mine
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey, LidarSweep
from admlops.structures.label_request import LabelRequest
from admlops.structures.manifest import Manifest

NUM_LABELLED, NUM_POOL = 4, 12


def boxes_of(scores, category="car"):
    count = len(scores)
    zeros = np.zeros((count, 3))
    return Boxes.make(zeros, zeros + 2, np.zeros(count), [category] * count, score=scores)


def make_frame(index):
    """The last two pool frames and the first labelled one are of the same, sparse kind."""
    labelled = index < NUM_LABELLED
    sparse = index == 0 or index >= NUM_LABELLED + NUM_POOL - 2
    rng = np.random.default_rng(index)
    points = rng.uniform(-1, 1, (50 if sparse else 2000, 4)) * [40, 40, 2, 1]
    sensor = CalibratedSensor("lidar_top", "lidar", np.eye(4))
    return Frame(
        key=FrameKey("log", "scene", index),
        frame_id=f"{index:06d}",
        global_from_ego=np.eye(4),
        lidar=LidarSweep(sensor, np.abs(points).astype(np.float32)),
        boxes=boxes_of([np.nan]) if labelled else None,
        split="val" if labelled else "pool",
    )


@pytest.fixture
def inputs(tmp_path):
    dataset = Dataset.create(str(tmp_path / "lake.lance"))
    dataset.append(make_frame(index) for index in range(NUM_LABELLED + NUM_POOL))
    dataset.manifest().write(tmp_path / "dataset.json")
    write_predictions(
        tmp_path / "predictions" / "predictions.parquet",
        [
            (FrameKey("log", "scene", index), boxes_of([0.5 if index == 7 else 0.99]))
            for index in range(NUM_LABELLED + NUM_POOL)
        ],
    )
    return MineInputs(tmp_path / "dataset.json", tmp_path / "predictions")


def write_evaluation(folder, key):
    failure = Failure(
        frame=str(key),
        **key._asdict(),
        kind="missed",
        category="car",
        range_m=10.0,
        box_7=(0, 0, 0, 1, 1, 1, 0),
    )
    folder.mkdir()
    Evaluation(
        protocol="kitti",
        labels="",
        predictions="",
        num_frames=4,
        frames_digest="",
        bootstrap=BootstrapConfig(),
        scores={},
        measures=(),
        curves=(),
        failures=(failure,),
    ).write(folder)
    return folder


def run(inputs, tmp_path, **config):
    outputs = MineOutputs(tmp_path / "request")
    scores = mine(inputs, outputs, MineConfig.parse(config))
    return scores, LabelRequest.read(outputs.request)


def only(signal):
    weights = dict.fromkeys(SignalWeights.model_fields, 0.0)
    return weights | {signal: 1.0}


def test_the_doubtful_frame_is_asked_for_first(inputs, tmp_path):
    scores, request = run(inputs, tmp_path, num_frames=3, weights=only("uncertainty"))
    assert request.keys[0] == FrameKey("log", "scene", 7)
    assert len(request.frames) == 3
    assert scores == {"num_candidates": 12.0, "num_requested": 3.0, "expected_boxes": 3.0}
    assert request.cost.frames == 3
    assert request.num_candidates == 12
    assert request.dataset.endswith("lake.lance@2")


def test_frames_like_the_failures_are_asked_for(inputs, tmp_path):
    folder = write_evaluation(tmp_path / "evaluation", FrameKey("log", "scene", 0))
    with_failures = MineInputs(inputs.dataset, inputs.predictions, folder)
    _, request = run(with_failures, tmp_path, num_frames=2, weights=only("failure_similarity"))
    assert {key.timestamp_ns for key in request.keys} == {14, 15}


def test_an_evaluation_of_other_data_is_refused(inputs, tmp_path):
    folder = write_evaluation(tmp_path / "evaluation", FrameKey("else", "scene", 0))
    with pytest.raises(DataError, match="evaluate on this dataset"):
        run(MineInputs(inputs.dataset, inputs.predictions, folder), tmp_path)


def test_mining_twice_asks_for_the_same(inputs, tmp_path):
    _, first = run(inputs, tmp_path, num_frames=5)
    _, second = run(inputs, tmp_path, num_frames=5)
    assert first == second


def test_the_random_strategy_follows_its_seed(inputs, tmp_path):
    _, first = run(inputs, tmp_path, num_frames=5, strategy="random", seed=1)
    _, again = run(inputs, tmp_path, num_frames=5, strategy="random", seed=1)
    _, other = run(inputs, tmp_path, num_frames=5, strategy="random", seed=2)
    assert first == again != other
    assert len(set(first.keys)) == 5


def test_the_budget_is_charged_once_and_kept(inputs, tmp_path):
    config = {
        "ledger": str(tmp_path / "ledger.jsonl"),
        "limit": {"frames": 8},
        "num_frames": 5,
    }
    scores, request = run(inputs, tmp_path, round_name="first", **config)
    assert request.budget == {"spent_frames": 5.0, "spent_boxes": 5.0, "limit_frames": 8.0}
    assert scores["budget_spent_frames"] == 5.0
    _, again = run(inputs, tmp_path, round_name="first", **config)
    assert again.budget["spent_frames"] == 5.0
    with pytest.raises(GateError, match="5 spent"):
        run(inputs, tmp_path, round_name="second", **config)
    assert LabelRequest.read(tmp_path / "request").round_name == "first"


def test_embeddings_of_the_dataset_are_used(inputs, tmp_path):
    dataset = Dataset.open(str(tmp_path / "lake.lance"))
    keys = dataset.keys()
    vectors = {key: np.float32([key.timestamp_ns == 9, 0]) for key in keys}
    dataset.add_embedding("detector", vectors)
    dataset.manifest().write(inputs.dataset)
    _, request = run(inputs, tmp_path, num_frames=1, weights=only("diversity"))
    assert request.keys == [FrameKey("log", "scene", 9)]
    dataset.add_embedding("part", {FrameKey("log", "scene", 9): np.float32([1])})
    dataset.manifest().write(inputs.dataset)
    with pytest.raises(DataError, match="15 of 16 frames have no embedding 'part'"):
        run(inputs, tmp_path, embedding="part")


def test_missing_predictions_are_told(inputs, tmp_path):
    write_predictions(
        inputs.predictions / "predictions.parquet", [(FrameKey("log", "scene", 4), Boxes.empty())]
    )
    with pytest.raises(DataError, match="for 11 of 12 candidates.*run predict on the pool"):
        run(inputs, tmp_path)


def test_no_candidates_is_told(inputs, tmp_path):
    with pytest.raises(DataError, match="no unlabelled frame meets"):
        run(inputs, tmp_path, candidates="split = 'val'")
    with pytest.raises(DataError, match="frame_id"):
        run(inputs, tmp_path, candidates="no_such_column = 1")


def test_a_wrong_config_is_told():
    with pytest.raises(ConfigError, match="num_frames"):
        MineConfig.parse({"num_frames": 0})


def test_the_request_is_plain_json(inputs, tmp_path):
    run(inputs, tmp_path, num_frames=2)
    values = json.loads((tmp_path / "request" / "request.json").read_text())
    assert set(values["frames"][0]["signals"]) == set(only("rarity"))


def predict_all(folder, category_of, frames=range(NUM_LABELLED + NUM_POOL)):
    items = [(FrameKey("log", "scene", i), boxes_of([0.4], category_of(i))) for i in frames]
    write_predictions(folder / "predictions.parquet", items)
    return folder


def test_frames_like_the_named_ones_are_asked_for(inputs, tmp_path):
    _, request = run(inputs, tmp_path, num_frames=2, weights=only("likeness"), like=["log/scene/0"])
    assert {key.timestamp_ns for key in request.keys} == {14, 15}
    with pytest.raises(DataError, match="no frame is called 'log/scene/99'.*'log/scene/0'"):
        run(inputs, tmp_path, like=["log/scene/99"])


def test_what_a_requirement_lacks_is_asked_for_until_it_is_there(inputs, tmp_path):
    predict_all(inputs.predictions, lambda i: "cyclist" if i == 9 else "car")
    row = {"categories": ["cyclist"], "range_edges_m": [0, 20], "min_boxes": 1}
    config = {"num_frames": 1, "weights": only("requirement")}
    _, request = run(inputs, tmp_path, **config, requirement={"rows": [row]})
    assert request.keys == [FrameKey("log", "scene", 9)]
    assert "1.0 cyclist" not in request.frames[0].reason
    dataset = Dataset.open(str(tmp_path / "lake.lance"))
    dataset.relabel({FrameKey("log", "scene", 9): boxes_of([np.nan], "cyclist")})
    dataset.manifest().write(inputs.dataset)
    _, request = run(inputs, tmp_path, **config, requirement={"rows": [row]})
    assert request.frames[0].signals["requirement"] == 0.0


def test_missing_scenes_are_asked_for_from_scenes_that_are_not_there(inputs, tmp_path):
    dataset = Dataset.open(Manifest.read(inputs.dataset, "dataset").reference)
    known = [FrameKey("log", "scene", index) for index in range(NUM_LABELLED + NUM_POOL)]
    dataset.append(replace(make_frame(15), key=FrameKey("log", "new", n)) for n in (1, 2))
    dataset.manifest().write(inputs.dataset)
    items = [(key, boxes_of([0.4])) for key in dataset.keys()]  # noqa: SIM118 - not a mapping
    write_predictions(inputs.predictions / "predictions.parquet", items)
    row = {"categories": ["car"], "range_edges_m": [0, 20], "min_boxes": 1, "min_scenes": 2}
    config = {"weights": only("requirement"), "requirement": {"rows": [row]}}
    _, request = run(inputs, tmp_path, num_frames=2, **config)
    assert request.keys[0] == FrameKey("log", "new", 1)
    assert request.keys[1] in known


def test_frames_that_models_differ_on_are_asked_for(inputs, tmp_path):
    predict_all(inputs.predictions, lambda _: "car")
    for name, odd in (("one", 6), ("two", 11)):
        predict_all(tmp_path / "rivals" / name, lambda i, odd=odd: "van" if i == odd else "car")
    both = MineInputs(inputs.dataset, inputs.predictions, rivals=tmp_path / "rivals")
    _, request = run(both, tmp_path, num_frames=2, weights=only("disagreement"))
    assert {key.timestamp_ns for key in request.keys} == {6, 11}
    (tmp_path / "empty").mkdir()
    none = MineInputs(inputs.dataset, inputs.predictions, rivals=tmp_path / "empty")
    with pytest.raises(DataError, match="no predictions.parquet in it"):
        run(none, tmp_path)


def test_judged_frames_must_be_labelled_and_of_the_same_model(inputs, tmp_path):
    pool_only = predict_all(tmp_path / "judged", lambda _: "car", range(4, 8))
    judged = MineInputs(inputs.dataset, inputs.predictions, judged=pool_only)
    with pytest.raises(DataError, match="no predictions of a labelled frame"):
        run(judged, tmp_path)
    for folder, digest in ((inputs.predictions, "a" * 64), (pool_only, "b" * 64)):
        Manifest(
            kind="predictions", uri="x", digest="y", provenance={"model_digest": digest}
        ).write(folder / "manifest.json")
    with pytest.raises(DataError, match="different models"):
        run(judged, tmp_path)


def test_a_large_pool_is_narrowed_to_the_neighbours_of_failures_and_others(inputs, tmp_path):
    dataset = Dataset.open(str(tmp_path / "lake.lance"))
    keys = dataset.keys()
    vectors = {key: np.float32([key.timestamp_ns % 7, 1]) for key in keys}
    dataset.add_embedding("detector", vectors)
    dataset.manifest().write(inputs.dataset)
    folder = write_evaluation(tmp_path / "evaluation", FrameKey("log", "scene", 0))
    with_failures = MineInputs(inputs.dataset, inputs.predictions, folder)
    scores, request = run(with_failures, tmp_path, num_frames=6, shortlist=6)
    assert scores["num_candidates"] == 6
    assert {7, 14} <= {key.timestamp_ns for key in request.keys}


def test_labelled_neighbours_of_a_failure_take_no_candidate_s_place(inputs):
    dataset = Dataset.open(Manifest.read(inputs.dataset, "dataset").reference)
    keys = dataset.keys()
    near = {9: 0.1, 13: 0.1} | dict.fromkeys(range(NUM_LABELLED), 0.0)
    vectors = {key: np.float32([near.get(key.timestamp_ns, 5.0), 1]) for key in keys}
    dataset.add_embedding("detector", vectors)
    rows = np.arange(NUM_LABELLED, NUM_LABELLED + NUM_POOL)
    kept = narrow(dataset, rows, np.array([0]), 4, ["detector"])
    assert len(kept) == 4
    assert {9, 13} <= set(kept.tolist())

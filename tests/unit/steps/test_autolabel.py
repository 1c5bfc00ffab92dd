import json

import numpy as np
import pytest

from admlops.errors import ConfigError, DataError
from admlops.lake.predictions import iterate_predictions, write_predictions
from admlops.lake.store import Dataset
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import frame_keys, oracle_labels, simulate
from admlops.steps.autolabel import AutolabelConfig, AutolabelInputs, AutolabelOutputs, autolabel
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey
from admlops.structures.label_request import LabelRequest
from admlops.structures.manifest import Manifest

WORLD = WorldConfig(
    seed=2,
    train=SceneGroup(num_scenes=3, frames_per_scene=8),
    val=SceneGroup(num_scenes=0),
    pool=SceneGroup(num_scenes=2, frames_per_scene=8),
    keyframe_interval_s=0.25,
    images=False,
    lidar=LidarConfig(azimuth_step_deg=0.6),
)
KEYS = frame_keys(WORLD)
POOL = [key for key in KEYS if key.scene.startswith("pool")]


def detect(truth, seed, missed=0.1):
    """Return what a model shows: noise, missed objects, and wrong boxes with lower scores."""
    random = np.random.default_rng(seed)
    shown = truth.select(random.random(len(truth)) >= missed)
    count = len(shown)
    right = Boxes.make(
        shown.center_m + random.normal(0, [0.1, 0.1, 0.03], (count, 3)),
        shown.size_m * random.normal(1, 0.03, (count, 3)),
        shown.yaw_rad + random.normal(0, 0.05, count),
        shown.category,
        score=random.uniform(0.6, 0.95, count),
    )
    place = np.column_stack([random.uniform([5, -15], [45, 15], (2, 2)), [0.8, 0.8]])
    wrong = Boxes.make(
        place, [[4, 1.8, 1.6]] * 2, [0, 0], ["car"] * 2, score=random.uniform(0.1, 0.5, 2)
    )
    return Boxes.concatenate([right, wrong])


@pytest.fixture(scope="module")
def truth():
    return oracle_labels(WORLD, KEYS)


@pytest.fixture
def inputs(tmp_path, truth):
    dataset = Dataset.create(str(tmp_path / "lake"), licences=["CC0-1.0"])
    dataset.append(simulate(WORLD))
    dataset.manifest().write(tmp_path / "dataset.json")
    for model, name in enumerate(("own", "rivals/first", "rivals/second")):
        items = [(key, detect(truth[key], [model, row])) for row, key in enumerate(KEYS)]
        write_predictions(tmp_path / name / "predictions.parquet", items)
        Manifest(
            kind="predictions",
            uri=name,
            digest="",
            licences=("CC-BY-4.0",),
            provenance={"model_digest": f"model {model}"},
        ).write(tmp_path / name / "manifest.json")
    return AutolabelInputs(tmp_path / "dataset.json", tmp_path / "own", tmp_path / "rivals")


def run(inputs, tmp_path, name="out", **config):
    outputs = AutolabelOutputs(
        tmp_path / name / "prelabels",
        tmp_path / name / "request",
        tmp_path / name / "labelled.json",
    )
    return autolabel(inputs, outputs, AutolabelConfig.parse(config)), outputs


def share_found(boxes_of, truth, keys):
    found = total = 0
    for key in keys:
        labels, boxes = truth[key], boxes_of[key]
        apart = np.linalg.norm(labels.center_m[:, None] - boxes.center_m[None], axis=-1)
        apart[labels.category[:, None] != boxes.category[None]] = np.inf
        found += int((apart.min(axis=1, initial=np.inf) < 0.5).sum())
        total += len(labels)
    return found / total


def test_three_models_and_tracks_find_more_than_one_model(inputs, tmp_path, truth):
    scores, outputs = run(inputs, tmp_path)
    alone = dict(iterate_predictions(inputs.predictions / "predictions.parquet"))
    together = dict(iterate_predictions(outputs.prelabels / "predictions.parquet"))
    assert set(together) == set(KEYS)
    assert share_found(together, truth, POOL) > max(0.95, share_found(alone, truth, POOL))
    assert scores["num_frames"] == len(POOL)
    assert scores["num_tracks"] > 5
    assert scores["expected_precision"] > 0.9
    assert 0 < scores["expected_recall"] < 1
    manifest = Manifest.read(outputs.prelabels / "manifest.json", "predictions")
    assert manifest.licences == ("CC-BY-4.0", "CC0-1.0")
    assert manifest.provenance["models"] == "model 0, model 1, model 2"
    page = (outputs.prelabels / "autolabel.html").read_text()
    assert page.count("<figure>") == 2
    assert f"{scores['expected_precision']:.1%}" in page
    boxes = together[POOL[0]]
    assert {json.loads(text)["auto"] for text in boxes.attributes} == {True}
    assert ((boxes.score >= 0) & (boxes.score <= 1)).all()


def test_the_request_names_the_frames_that_need_a_person(inputs, tmp_path):
    scores, outputs = run(inputs, tmp_path, round_name="second")
    request = LabelRequest.read(outputs.request)
    assert 0 < scores["num_requested"] == len(request.frames)
    assert (
        scores["num_accepted_frames"] + len(request.frames) == len(POOL) == request.num_candidates
    )
    assert [frame.score for frame in request.frames] == sorted(
        (frame.score for frame in request.frames), reverse=True
    )
    assert set(request.keys) <= set(POOL)
    assert request.round_name == "second"
    _, fewer = run(inputs, tmp_path, "fewer", round_name="second", max_frames=2)
    assert LabelRequest.read(fewer.request).keys == request.keys[:2]
    reference = Manifest.read(outputs.labelled, "dataset").reference
    assert reference == request.dataset == Manifest.read(inputs.dataset, "dataset").reference


def test_twice_is_the_same(inputs, tmp_path):
    first, once = run(inputs, tmp_path, "once")
    second, again = run(inputs, tmp_path, "again")
    assert first == second
    for name in ("predictions.parquet", "autolabel.html"):
        assert (once.prelabels / name).read_bytes() == (again.prelabels / name).read_bytes()
    assert LabelRequest.read(once.request) == LabelRequest.read(again.request)


TRUSTING = {"routing": {"accept": {"": 0.0}, "min_agreement": 0, "min_hits": 1, "doubt": 0.3}}


def test_frames_that_pass_become_labelled_once_and_apart(inputs, tmp_path):
    trusting = TRUSTING | {"fusion": {"min_score": 0.55}, "merge": True}
    scores, outputs = run(inputs, tmp_path, **trusting)
    merged = Dataset.open(Manifest.read(outputs.labelled, "dataset").reference)
    auto = list(merged.iterate(merged.rows_where("split = 'auto'")))
    assert 0 < len(auto) == scores["num_merged_frames"] == scores["num_accepted_frames"]
    assert merged.licences == ("CC-BY-4.0", "CC0-1.0")
    for frame in auto:
        assert np.isnan(frame.boxes.score).all()
        assert (frame.boxes.num_points >= 0).all()
        assert all(json.loads(text)["auto"] for text in frame.boxes.attributes)
    requested = LabelRequest.read(outputs.request)
    assert requested.dataset == merged.reference
    assert not {frame.key for frame in auto} & set(requested.keys)
    _, again = run(inputs, tmp_path, "again", **trusting)
    assert Manifest.read(again.labelled, "dataset").reference == merged.reference
    assert Dataset.open(merged.uri).version == merged.version


def test_labels_that_people_gave_meanwhile_stay(inputs, tmp_path, truth):
    lake = Dataset.open(str(tmp_path / "lake"))
    lake.relabel({key: truth[key].select([0]) for key in POOL}, split="train")
    trusting = TRUSTING | {"fusion": {"min_score": 0.55}, "merge": True}
    scores, outputs = run(inputs, tmp_path, **trusting)
    assert scores["num_accepted_frames"] > scores["num_merged_frames"] == 0
    merged = Dataset.open(Manifest.read(outputs.labelled, "dataset").reference)
    assert len(merged.rows_where("split = 'auto'")) == 0


def test_without_labels_scores_stand_for_themselves(inputs, tmp_path):
    scores, _ = run(inputs, tmp_path, judged="false")
    assert scores["num_calibrated_categories"] == 0
    assert "expected_precision" not in scores
    calibrated, _ = run(inputs, tmp_path, "calibrated")
    assert calibrated["num_calibrated_categories"] > 0


def test_what_is_missing_is_named(inputs, tmp_path):
    with pytest.raises(DataError, match="no unlabelled frame meets"):
        run(inputs, tmp_path, candidates="split = 'train'")
    with pytest.raises(ConfigError, match="2 weights for 3 models"):
        run(inputs, tmp_path, fusion={"weights": (1.0, 2.0)})
    write_predictions(
        tmp_path / "few" / "predictions.parquet", [(FrameKey("a", "b", 1), Boxes.empty())]
    )
    with pytest.raises(DataError, match="no predictions for 16 frames"):
        run(AutolabelInputs(inputs.dataset, tmp_path / "few"), tmp_path)

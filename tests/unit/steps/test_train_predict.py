"""The steps train, predict and join: artifacts, refusals, shards and a single cloud."""

import shutil
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from admlops.detection.config import BackboneConfig, NeckConfig, PillarEncoderConfig
from admlops.detection.presets import small_detector
from admlops.errors import ConfigError, DataError
from admlops.lake.predictions import iterate_predictions
from admlops.lake.store import Dataset
from admlops.loading.config import AugmentationConfig, LoadingConfig
from admlops.steps.join import JoinConfig, JoinInputs, JoinOutputs, join
from admlops.steps.predict import (
    PredictConfig,
    PredictInputs,
    PredictOutputs,
    _table,
    predict,
)
from admlops.steps.shards import WHOLE, list_shards
from admlops.steps.train import TrainConfig, TrainInputs, TrainOutputs, train
from admlops.structures.boxes import Boxes
from admlops.structures.manifest import Manifest


@pytest.fixture(scope="module")
def dataset_file(toy_dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("dataset") / "dataset.json"
    toy_dataset.manifest({}, {}).write(path)
    return path


@pytest.fixture(scope="module")
def model(dataset_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    detector = small_detector().replace(
        encoder=PillarEncoderConfig(num_channels=8),
        backbone=BackboneConfig(num_layers=(1,), strides=(2,), num_channels=(8,)),
        neck=NeckConfig(strides=(1,), num_channels=(8,)),
    )
    config = TrainConfig(
        detector=detector,
        loading=LoadingConfig(augmentation=AugmentationConfig.none()),
        num_steps=4,
        batch_size=3,
        progress=False,
    )
    scores = train(TrainInputs(dataset_file), TrainOutputs(folder), config)
    assert scores["train_steps"] == 4
    assert scores["train_frames"] == 6
    return folder


def test_training_leaves_a_model_and_nothing_else(model):
    names = {path.name for path in model.iterdir()}
    assert names == {"detector.json", "logs", "manifest.json", "training.json", "weights.pt"}
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_predictions_name_dataset_and_model_and_hold_every_frame(
    dataset_file, model, toy_dataset, tmp_path
):
    out = tmp_path / "predictions"
    config = PredictConfig(split="val", score_threshold=0.01)
    scores = predict(PredictInputs(dataset_file, model), PredictOutputs(out), config)
    items = dict(iterate_predictions(out / "predictions.parquet"))
    rows = toy_dataset.rows_where("split = 'val'")
    assert set(items) == {frame.key for frame in toy_dataset.take(rows)}
    assert scores["predict_frames"] == 2
    assert scores["predict_boxes"] == sum(len(boxes) for boxes in items.values())
    manifest = Manifest.read(out / "manifest.json", kind="predictions")
    assert manifest.provenance["dataset"] == toy_dataset.reference
    assert manifest.provenance["model_digest"] == Manifest.read_any(model / "manifest.json").digest
    assert manifest.licences == ("CC0-1.0",)


def test_the_detectors_features_are_written_into_the_lake(
    dataset_file, model, toy_dataset, tmp_path
):
    plain, embedded = PredictOutputs(tmp_path / "plain"), PredictOutputs(tmp_path / "embedded")
    config = PredictConfig(split="val", score_threshold=0.01)
    predict(PredictInputs(dataset_file, model), plain, config)
    predict(PredictInputs(dataset_file, model), embedded, config.replace(embed=True))
    name = Manifest.read_any(tmp_path / "embedded" / "manifest.json").provenance["embedding"]
    assert name == f"detector_{Manifest.read_any(model / 'manifest.json').digest[:8]}"
    newest = Dataset.open(toy_dataset.uri)
    vectors = newest.embedding(name)
    assert vectors.shape == (newest.num_frames, 2 * 8)
    has_one = np.isfinite(vectors).all(axis=1)
    assert np.flatnonzero(has_one).tolist() == newest.rows_where("split = 'val'").tolist()
    assert (vectors[has_one][:, 8:] >= vectors[has_one][:, :8]).all()
    assert newest.digest == toy_dataset.digest
    found = [
        dict(iterate_predictions(folder.predictions / "predictions.parquet"))
        for folder in (plain, embedded)
    ]
    for key, boxes in found[0].items():
        np.testing.assert_allclose(boxes.score, found[1][key].score, atol=1e-6)


def test_boxes_in_front_of_the_camera_get_their_place_in_the_image(dataset_file, model, tmp_path):
    config = PredictConfig(split="", score_threshold=0.001)
    predict(PredictInputs(dataset_file, model), PredictOutputs(tmp_path / "p"), config)
    found = [boxes for _, boxes in iterate_predictions(tmp_path / "p" / "predictions.parquet")]
    assert any(np.isfinite(boxes.box2d_px).all(axis=1).any() for boxes in found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"split": "pool"}, "'train'.*'val'|splits are"), ({"condition": "frame_id = 'x'"}, "splits")],
)
def test_choosing_no_frame_is_refused(dataset_file, model, tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        predict(
            PredictInputs(dataset_file, model),
            PredictOutputs(tmp_path / "p"),
            PredictConfig(**changes),
        )
    assert not (tmp_path / "p").exists()


def test_inputs_and_runtimes_that_do_not_fit_are_refused(dataset_file, model, tmp_path):
    out = PredictOutputs(tmp_path / "p")
    with pytest.raises(ConfigError, match="--cloud FILE"):
        predict(PredictInputs(dataset_file), out, PredictConfig())
    with pytest.raises(ConfigError, match="needs a built folder"):
        predict(PredictInputs(dataset_file, model), out, PredictConfig(runtime="openvino"))


def test_one_cloud_is_detected_and_printed(model, toy_dataset, tmp_path, capsys):
    path = tmp_path / "cloud.bin"
    points = toy_dataset.take([0])[0].points_in_ego()
    path.write_bytes(points.tobytes())
    scores = predict(
        PredictInputs(model=model, cloud=path),
        PredictOutputs(),
        PredictConfig(score_threshold=0.01),
    )
    assert scores["predict_points"] == len(points)
    assert "boxes in cloud.bin" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--url HOST:PORT or --model"):
        predict(PredictInputs(cloud=path), PredictOutputs(), PredictConfig())


def predict_shard(dataset_file, model, folder, shard, **changes):
    config = PredictConfig(split="", score_threshold=0.01, shard=shard, **changes)
    predict(PredictInputs(dataset_file, model), PredictOutputs(folder), config)
    return folder


@pytest.fixture(scope="module")
def shards(dataset_file, model, tmp_path_factory):
    """Return predictions of eight frames in three shards."""
    home = tmp_path_factory.mktemp("shards")
    return tuple(
        predict_shard(dataset_file, model, home / str(number), shard)
        for number, shard in enumerate(list_shards(3))
    )


def test_joined_shards_are_what_one_worker_writes_byte_by_byte(
    dataset_file, model, shards, tmp_path
):
    predict_shard(dataset_file, model, tmp_path / "whole", WHOLE)
    scores = join(JoinInputs(shards[::-1]), JoinOutputs(tmp_path / "joined"), JoinConfig())
    files = [tmp_path / name / "predictions.parquet" for name in ("whole", "joined")]
    assert files[0].read_bytes() == files[1].read_bytes()
    manifests = [Manifest.read(file.parent / "manifest.json", "predictions") for file in files]
    assert manifests[1] == manifests[0].replace(uri=manifests[1].uri)
    assert scores == manifests[0].scores
    assert scores["predict_frames"] == 8
    assert scores["predict_boxes"] > 0


def test_one_shard_is_joined_too(dataset_file, model, tmp_path):
    whole = predict_shard(dataset_file, model, tmp_path / "whole", WHOLE)
    join(JoinInputs((whole,)), JoinOutputs(tmp_path / "joined"), JoinConfig())
    files = [folder / "predictions.parquet" for folder in (whole, tmp_path / "joined")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_shard_beyond_the_last_frame_needs_no_network(dataset_file, model, tmp_path):
    bare = tmp_path / "model"
    shutil.copytree(model, bare)
    (bare / "weights.pt").write_bytes(b"no weights")
    folder = predict_shard(dataset_file, bare, tmp_path / "empty", "1/9")
    assert list(iterate_predictions(folder / "predictions.parquet")) == []


def test_incomplete_and_mixed_shards_are_refused(dataset_file, model, shards, tmp_path):
    out = JoinOutputs(tmp_path / "joined")
    for wrong in ((), shards[:2], (*shards, shards[0])):
        with pytest.raises(DataError, match="exactly once"):
            join(JoinInputs(wrong), out, JoinConfig())
    other = predict_shard(dataset_file, model, tmp_path / "other", "3/3", camera_view=True)
    with pytest.raises(DataError, match="differ in camera_view"):
        join(JoinInputs((*shards[:2], other)), out, JoinConfig())
    assert not out.joined.exists()


def test_provenance_says_what_decides_which_boxes_are_found(shards):
    provenance = Manifest.read_any(shards[1] / "manifest.json").provenance
    names = ("shard", "precision", "camera_view", "score_threshold")
    assert [provenance[name] for name in names] == ["2/3", "f32", "false", "0.01"]


def test_features_of_shards_are_written_at_once_by_join(dataset_file, model, tmp_path):
    before = Dataset.open(Manifest.read(dataset_file, "dataset").uri)
    lakes = []
    for name in ("one", "shards"):
        lake = Dataset.create(str(tmp_path / name))
        lake.append(before.iterate(camera=True))
        lake.manifest().write(tmp_path / f"{name}.json")
        lakes.append(lake)
    predict_shard(tmp_path / "one.json", model, tmp_path / "whole", WHOLE, embed=True)
    parts = tuple(
        predict_shard(tmp_path / "shards.json", model, tmp_path / str(n), shard, embed=True)
        for n, shard in enumerate(list_shards(9))
    )
    assert Dataset.open(lakes[1].uri).embeddings() == []
    join(JoinInputs(parts), JoinOutputs(tmp_path / "joined"), JoinConfig())
    name = Manifest.read_any(tmp_path / "joined" / "manifest.json").provenance["embedding"]
    vectors = [Dataset.open(lake.uri).embedding(name) for lake in lakes]
    assert np.isfinite(vectors[0]).all()
    np.testing.assert_array_equal(*vectors)
    assert Dataset.open(lakes[1].uri).version == lakes[1].version + 1


def test_a_quote_in_the_name_of_a_split_is_no_sql(dataset_file, model, tmp_path):
    with pytest.raises(DataError, match="no frame of split"):
        predict(
            PredictInputs(dataset_file, model),
            PredictOutputs(tmp_path / "p"),
            PredictConfig(split="x' OR 'a' = 'a"),
        )


def test_boxes_of_a_cloud_fit_a_narrow_terminal():
    far = ([[-60.25, -20.5, -0.15]], [[12.1, 2.8, 3.5]], [-3.05])
    boxes = Boxes.make(*far, ["person_sitting"], score=[0.5])
    console = Console(width=80, record=True, file=StringIO())
    console.print(_table(boxes, "000042.bin"))
    row = console.export_text().splitlines()[-2]
    assert " ".join(row.split()) == (
        "person_sitting 0.50 -60.25 -20.50 -0.15 12.10 2.80 3.50 -3.05"
    )

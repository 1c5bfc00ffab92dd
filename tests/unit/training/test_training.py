"""Training: a tiny overfit, resuming, the model folder and precision."""

import json

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import Callback

from admlops.detection.config import BackboneConfig, NeckConfig, PillarEncoderConfig
from admlops.detection.predictor import Predictor
from admlops.detection.presets import small_detector
from admlops.errors import DataError
from admlops.geometry.boxes import iou_bev
from admlops.loading.config import AugmentationConfig, LoadingConfig
from admlops.structures.manifest import Manifest
from admlops.training.config import OptimizerConfig, TrainConfig, TrainerConfig
from admlops.training.data_module import EpochSampler
from admlops.training.model_folder import TRAINING_FILE, Origin, read_model, write_model
from admlops.training.precision import choose_precision, cpu_multiplies_bf16
from admlops.training.presets import train_centerpoint_kitti, train_pointpillars_kitti, train_small
from admlops.training.running import fingerprint, train_detector


def tiny_detector(kind="centerpoint"):
    """Return a detector of a few thousand weights."""
    return small_detector(kind).replace(
        encoder=PillarEncoderConfig(num_channels=16),
        backbone=BackboneConfig(num_layers=(1, 1), strides=(2, 2), num_channels=(16, 24)),
        neck=NeckConfig(strides=(1, 2), num_channels=(16, 16)),
    )


def tiny_config(kind="centerpoint", **changes):
    """Return a training of a few steps."""
    values = {
        "detector": tiny_detector(kind),
        "loading": LoadingConfig(augmentation=AugmentationConfig(objects_per_frame={"car": 3})),
        "optimizer": OptimizerConfig(learning_rate=0.01),
        "trainer": TrainerConfig(precision="32-true", accelerator="cpu"),
        "num_steps": 6,
        "batch_size": 3,
        "progress": False,
    }
    return TrainConfig(**(values | changes))


class StopAfter(Callback):
    """Stops a training as a lost machine would."""

    def __init__(self, epoch):
        self._epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):  # noqa: ARG002
        if trainer.current_epoch == self._epoch:
            raise RuntimeError("the machine is gone")


def _weights(detector):
    return torch.cat([value.flatten().float() for value in detector.state_dict().values()])


@pytest.mark.parametrize("kind", ["centerpoint", "pointpillars"])
def test_a_stopped_training_goes_on_to_the_same_weights(toy_dataset, tmp_path, kind):
    config = tiny_config(kind)
    whole = train_detector(toy_dataset, config, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="machine is gone"):
        train_detector(toy_dataset, config, tmp_path / "parts", callbacks=[StopAfter(2)])
    resumed = train_detector(toy_dataset, config, tmp_path / "parts")
    torch.testing.assert_close(
        _weights(resumed.detector), _weights(whole.detector), rtol=0, atol=1e-6
    )


def test_another_config_or_dataset_never_resumes(toy_dataset):
    config = tiny_config()
    assert fingerprint(toy_dataset, config) != fingerprint(toy_dataset, config.replace(seed=1))
    assert fingerprint(toy_dataset, config) == fingerprint(
        toy_dataset, config.replace(work_folder="elsewhere", progress=True)
    )


def test_a_few_frames_are_learnt_by_heart(toy_dataset, tmp_path):
    config = tiny_config(
        loading=LoadingConfig(augmentation=AugmentationConfig.none()), num_steps=120, batch_size=2
    )
    detector = train_detector(toy_dataset, config, tmp_path).detector
    predictor = Predictor(detector.config, detector.infer)
    missed = 0
    for frame in toy_dataset.take(toy_dataset.rows_where("split = 'train'")):
        cars = frame.boxes.select(frame.boxes.category == "car")
        found = predictor(frame.points_in_ego())
        found = found.select(found.category == "car")
        best = iou_bev(cars.as_7(), found.as_7()).max(axis=1, initial=0)
        missed += int((best < 0.5).sum())
    assert missed <= 1  # of 12


def test_validation_and_logs(toy_dataset, tmp_path):
    config = tiny_config(validate_every_steps=2, logger="csv")
    trained = train_detector(toy_dataset, config, tmp_path)
    text = (trained.logs / "metrics.csv").read_text()
    assert "val_loss" in text
    assert trained.num_frames == 6
    assert np.isfinite(trained.loss)


def test_a_model_folder_says_where_it_comes_from_and_predicts_the_same(toy_dataset, tmp_path):
    config = tiny_config(num_steps=2)
    trained = train_detector(toy_dataset, config, tmp_path / "work")
    path = tmp_path / "model"
    write_model(path, trained.detector, Origin(toy_dataset, config, {"train_loss": 1.0}))
    manifest = Manifest.read(path / "manifest.json", kind="model")
    assert manifest.licences == ("CC0-1.0",)
    assert manifest.provenance["dataset"] == toy_dataset.reference
    assert manifest.provenance["seed"] == "0"
    assert manifest.provenance["torch"] == torch.__version__
    assert TrainConfig.load(path / TRAINING_FILE) == config
    points = toy_dataset.take([0])[0].points_in_ego()
    one = Predictor(config.detector, trained.detector.infer)
    two = Predictor(config.detector, read_model(path).infer)
    np.testing.assert_array_equal(one(points).as_7(), two(points).as_7())


def test_damaged_or_foreign_weights_are_refused(toy_dataset, tmp_path):
    config = tiny_config(num_steps=1)
    trained = train_detector(toy_dataset, config, tmp_path / "work")
    path = tmp_path / "model"
    write_model(path, trained.detector, Origin(toy_dataset, config, {}))
    detector = json.loads((path / "detector.json").read_text())
    detector["encoder"]["num_channels"] = 8
    (path / "detector.json").write_text(json.dumps(detector))
    with pytest.raises(DataError, match="not weights of the detector"):
        read_model(path)
    (path / "weights.pt").write_bytes(b"not weights")
    with pytest.raises(DataError, match="damaged weights"):
        read_model(path)
    (path / "weights.pt").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_model(path)


def test_every_process_takes_its_share_and_orders_change_by_epoch():
    def numbers(rank, epoch):
        sampler = EpochSampler(10, 4, seed=3, shuffled=True).share(rank, 2)
        sampler.set_epoch(epoch)
        return [place.number for batch in sampler for place in batch]

    first, second = numbers(0, 0), numbers(1, 0)
    assert len(first) == len(second) == 4
    assert not set(first) & set(second)
    assert numbers(0, 1) != first
    assert numbers(0, 0) == first


def test_a_dataset_smaller_than_a_batch_still_gives_one():
    assert len(EpochSampler(2, 4, seed=0, shuffled=True)) == 1
    assert len(EpochSampler(5, 4, seed=0, shuffled=False)) == 2


def test_bf16_is_chosen_only_where_the_cpu_has_it(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("flags\t\t: fpu avx512f avx512_vnni\n")
    assert not cpu_multiplies_bf16(info)
    info.write_text("flags\t\t: fpu amx_bf16\n")
    assert cpu_multiplies_bf16(info)
    assert not cpu_multiplies_bf16(tmp_path / "absent")
    assert choose_precision("16-mixed", "gpu") == "16-mixed"
    assert choose_precision("auto", "cpu") in {"bf16-mixed", "32-true"}


@pytest.mark.parametrize(
    "config", [train_pointpillars_kitti(), train_centerpoint_kitti(), train_small()]
)
def test_presets_survive_json(config):
    assert TrainConfig.parse(json.loads(json.dumps(config.to_json_dict()))) == config

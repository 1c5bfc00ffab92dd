"""Training in several processes: the same batches and losses as one, and when one dies.

The processes are real, started by torchrun, and talk through gloo.
"""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from admlops.detection.config import BackboneConfig, NeckConfig, PillarEncoderConfig
from admlops.detection.presets import small_detector
from admlops.errors import ConfigError, DataError, ServiceError
from admlops.loading.config import AugmentationConfig, LoadingConfig
from admlops.steps.train import TrainConfig, TrainInputs, TrainOutputs, train
from admlops.training.config import OptimizerConfig
from admlops.training.data_module import EpochSampler
from admlops.training.model_folder import read_model
from admlops.training.processes import run_processes
from admlops.training.running import fingerprint

LOSS_TOLERANCE = 1e-4
"""Relative, over eight steps: sums are taken in another order. Seen: 1e-5."""


@pytest.fixture(scope="module")
def dataset_file(toy_dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("dataset") / "dataset.json"
    toy_dataset.manifest({}, {}).write(path)
    return path


@pytest.fixture(autouse=True)
def one_thread_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def config_of(**changes):
    """Return eight steps of three frames: two processes share each batch unequally."""
    detector = small_detector("centerpoint").replace(
        encoder=PillarEncoderConfig(num_channels=8),
        backbone=BackboneConfig(num_layers=(1,), strides=(2,), num_channels=(8,)),
        neck=NeckConfig(strides=(1,), num_channels=(8,)),
    )
    values = {
        "detector": detector,
        "loading": LoadingConfig(augmentation=AugmentationConfig(objects_per_frame={"car": 3})),
        "optimizer": OptimizerConfig(learning_rate=0.002),
        "trainer": {"precision": "32-true", "accelerator": "cpu"},
        "num_steps": 8,
        "batch_size": 3,
        "progress": False,
    }
    return TrainConfig(**(values | changes))


def losses(model: Path) -> list[float]:
    with (model / "logs" / "metrics.csv").open() as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file) if row["train_loss"]]


def test_two_processes_train_as_one_does(dataset_file, tmp_path):
    one, two = tmp_path / "one" / "model", tmp_path / "two" / "model"
    scores_one = train(TrainInputs(dataset_file), TrainOutputs(one), config_of())
    scores_two = train(TrainInputs(dataset_file), TrainOutputs(two), config_of(num_processes=2))
    assert (scores_one["train_processes"], scores_two["train_processes"]) == (1, 2)
    assert scores_one["train_steps"] == scores_two["train_steps"] == 8
    assert len(losses(one)) == 8
    assert losses(two) == pytest.approx(losses(one), rel=LOSS_TOLERANCE)
    assert min(losses(one)) < 0.85 * losses(one)[0]
    weights = [read_model(path).state_dict() for path in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-3)
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    assert [path.name for path in two.parent.iterdir()] == ["model"]


DYING = """
import os, signal, sys
from pathlib import Path
from pytorch_lightning.callbacks import Callback
from admlops.lake.store import Dataset
from admlops.training.config import TrainConfig
from admlops.training.processes import answer_request
from admlops.training.running import train_detector

class Die(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 2 and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

def run(request):
    config = TrainConfig.parse(request["config"])
    dataset = Dataset.open(request["dataset"])
    train_detector(dataset, config, Path(request["work"]), [Die()])
    return {}

answer_request(run)
"""


def test_a_process_that_dies_ends_the_training_and_another_number_goes_on(
    dataset_file, toy_dataset, tmp_path, monkeypatch
):
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    work = tmp_path / "model.training"
    config = config_of(num_processes=2)
    request = {"dataset": toy_dataset.reference, "config": config.to_json_dict(), "work": str(work)}
    with pytest.raises(ServiceError, match="process 1 of 2 was killed by SIGKILL"):
        run_processes(2, "dying", request, what="train")
    assert {path.name for path in tmp_path.iterdir()} == {"dying.py", "model.training"}
    assert list(work.glob("*/last.ckpt"))
    train(TrainInputs(dataset_file), TrainOutputs(tmp_path / "model"), config_of())
    resumed = losses(tmp_path / "model")
    whole = tmp_path / "whole"
    train(TrainInputs(dataset_file), TrainOutputs(whole), config_of())
    assert 4 <= len(resumed) <= 8
    assert resumed[-4:] == pytest.approx(losses(whole)[-4:], rel=LOSS_TOLERANCE)
    assert not work.exists()


TELLING = """
import os, time
from admlops.errors import DataError
from admlops.training.processes import answer_request

def run(request):
    if os.environ["RANK"] == "1":
        if request["kind"] == "explained":
            raise DataError("frame 7: no lidar sweep")
        raise SystemExit(3)
    time.sleep(60)

answer_request(run)
"""


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("explained", DataError, "^frame 7: no lidar sweep$"),
        ("silent", ServiceError, "count: process 1 of 2 ended with exit code 3, so the others"),
    ],
)
def test_what_a_process_says_is_raised_and_the_others_are_ended(
    tmp_path, monkeypatch, kind, error, message
):
    (tmp_path / "telling.py").write_text(TELLING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    start, handler = time.monotonic(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(error, match=message):
        run_processes(2, "telling", {"kind": kind}, what="count")
    assert time.monotonic() - start < 50
    assert signal.getsignal(signal.SIGTERM) is handler


STARTED = """
import os, time
from pathlib import Path
from admlops.training.processes import answer_request

def run(request):
    Path(request["folder"], os.environ["RANK"]).write_text(str(os.getpid()))
    time.sleep(120)

answer_request(run)
"""
STARTER = """
import sys
from admlops.training.processes import run_processes
run_processes(2, "started", {"folder": sys.argv[1]}, what="test")
"""


def test_processes_end_with_their_starter(tmp_path, monkeypatch):
    (tmp_path / "started.py").write_text(STARTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "ranks").mkdir()
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path / "ranks")])
    files = [tmp_path / "ranks" / rank for rank in "01"]
    wait_until(lambda: all(file.is_file() and file.read_text() for file in files))
    processes = [psutil.Process(int(file.read_text())) for file in files]
    starter.kill()
    starter.wait()
    wait_until(lambda: not any(process.is_running() for process in processes))


def wait_until(claim, seconds=60):
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_batch_smaller_than_the_processes_is_refused():
    with pytest.raises(ConfigError, match="batch_size 3: 4 processes share a batch"):
        config_of().replace(num_processes=4)


@pytest.mark.parametrize("num_frames", [3, 10, 11, 13])
@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("num_processes", [2, 3])
def test_the_shares_of_a_batch_are_the_batch(num_frames, shuffled, num_processes):
    def batches(rank, size):
        sampler = EpochSampler(num_frames, 4, seed=3, shuffled=shuffled).share(rank, size)
        sampler.set_epoch(1)
        return [[place.number for place in batch] for batch in sampler]

    whole = batches(0, 1)
    shares = [batches(rank, num_processes) for rank in range(num_processes)]
    assert {len(share) for share in shares} == {len(whole)}
    for number, batch in enumerate(whole):
        together = [frame for share in shares for frame in share[number]]
        assert set(together) == set(batch)
        assert all(share[number] for share in shares)
        assert len(together) == max(len(batch), num_processes)


def test_the_number_of_processes_does_not_change_what_is_resumed(toy_dataset):
    names = {fingerprint(toy_dataset, config_of(num_processes=number)) for number in (1, 2, 3)}
    assert len(names) == 1


NORM = """
import torch
from torch import distributed, nn
from admlops.errors import DataError
from admlops.training.processes import answer_request, join_group
from admlops.training.shared_statistics import SharedBatchNorm

def run(request):
    with join_group(on_gpu=False) as group:
        shared = SharedBatchNorm.like(nn.BatchNorm2d(3, eps=1e-3, momentum=0.1))
        generator = torch.Generator().manual_seed(0)
        whole = torch.randn((5, 3, 2, 4), generator=generator) * 3 + 50
        own = whole[:4] if group.rank == 0 else whole[4:]
        own = own.clone().requires_grad_()
        result = shared(own)
        (result ** 3).sum().backward()
        gathered = [None, None]
        distributed.all_gather_object(gathered, (result.detach(), own.grad, shared.weight.grad))
        results = [torch.cat([one[place] for one in gathered]).tolist() for place in (0, 1)]
        try:
            disagreement = group.agree(group.rank == 1, "last.ckpt")
        except DataError as error:
            disagreement = str(error)
        return {
            "agreed": [group.agree(True, "x"), group.agree(False, "x")],
            "disagreement": disagreement,
            "result": results[0],
            "gradient": results[1],
            "weight": (gathered[0][2] + gathered[1][2]).tolist(),
            "mean": shared.running_mean.tolist(),
            "variance": shared.running_var.tolist(),
        }

answer_request(run)
"""


def test_normalisation_is_that_of_the_whole_batch_and_processes_agree(tmp_path, monkeypatch):
    (tmp_path / "norm.py").write_text(NORM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = run_processes(2, "norm", {}, what="norm")
    assert found["agreed"] == [True, False]
    assert found["disagreement"].startswith("last.ckpt: only the processes [1] of 2 find it")
    norm = torch.nn.BatchNorm2d(3, eps=1e-3, momentum=0.1)
    whole = torch.randn((5, 3, 2, 4), generator=torch.Generator().manual_seed(0)) * 3 + 50
    whole.requires_grad_()
    result = norm(whole)
    (result**3).sum().backward()
    for name, wanted in {
        "result": result,
        "gradient": whole.grad,
        "weight": norm.weight.grad,
        "mean": norm.running_mean,
        "variance": norm.running_var,
    }.items():
        np.testing.assert_allclose(found[name], wanted.detach(), rtol=2e-4, atol=2e-4)

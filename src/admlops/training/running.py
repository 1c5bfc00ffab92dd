"""Training from a dataset and a config to a detector."""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from admlops.errors import ConfigError
from admlops.lake.store import Dataset
from admlops.loading.config import AugmentationConfig
from admlops.loading.loader import FrameLoader, load_ground_truth
from admlops.models.detector import Detector, build_detector
from admlops.training.config import TrainConfig
from admlops.training.data_module import DetectionData
from admlops.training.module import DetectorModule
from admlops.training.precision import choose_precision, trains_on_gpu
from admlops.training.processes import Group, join_group
from admlops.training.shared_statistics import share_statistics

LAST_CHECKPOINT = "last.ckpt"
LOGS = "logs"
FEW_STEPS = 200
"""Trainings up to this length log every step."""
VALIDATION_SPLIT = "val"
_IRRELEVANT = (
    "work_folder",
    "logger",
    "progress",
    "checkpoint_every_epochs",
    "num_workers",
    "num_processes",
)
"""Settings that do not change the weights."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The outcome of a training; every process has it, the first one writes it.

    Attributes:
        detector: with its last weights, on the CPU, in evaluation mode.
        loss: of the last batch.
        num_steps: optimiser steps taken.
        num_frames: frames that it was trained on.
        folder: checkpoints and logs; may be deleted.
        logs: what the logger wrote; absent where it writes nothing.
        num_processes: how many trained together.
        is_first: whether this process is the one that writes.
    """

    detector: Detector
    loss: float
    num_steps: int
    num_frames: int
    folder: Path
    logs: Path
    num_processes: int
    is_first: bool


def train_detector(
    dataset: Dataset, config: TrainConfig, work_folder: Path, callbacks: Sequence[Callback] = ()
) -> Trained:
    """Train a detector, or go on with a training that was stopped.

    Checkpoints are kept in a folder of `work_folder` that is named after the config and the
    dataset's digest: a training is only ever resumed by its own continuation. Where torchrun
    started several processes, each calls this; weights and losses are those of one process, up to
    the order of sums.

    Args:
        dataset: the dataset version.
        config: everything that is set.
        work_folder: where checkpoints, logs and caches go.
        callbacks: more of Lightning's callbacks.

    Raises:
        DataError: the dataset has no frame to train on, or the processes do not see the same files.
        ConfigError: the detector's kind is not installed, or a batch is too small to be shared.
    """
    with join_group(on_gpu=trains_on_gpu(config.trainer.accelerator)) as group, _quiet():
        if config.batch_size < group.size:
            raise ConfigError(
                f"batch_size {config.batch_size}: {group.size} processes share a batch, so it "
                f"needs at least {group.size} frames"
            )
        return _train(dataset, config, work_folder, callbacks, group)


def _train(
    dataset: Dataset,
    config: TrainConfig,
    work_folder: Path,
    callbacks: Sequence[Callback],
    group: Group,
) -> Trained:
    folder = work_folder / fingerprint(dataset, config)
    with group.first_on_machine():
        data = _data(dataset, config, work_folder)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    detector = build_detector(config.detector)
    if group.size > 1:
        share_statistics(detector, on_gpu=group.on_gpu)
    module = DetectorModule(detector, config.optimizer, channels_last=config.channels_last)
    checkpoint = folder / LAST_CHECKPOINT
    resumed = group.agree(checkpoint.is_file(), str(checkpoint))
    trainer = _trainer(config, folder, callbacks, group)
    steps = max(data.num_train_batches // config.trainer.accumulate_grad_batches, 1)
    trainer.fit_loop.max_epochs = -(-config.num_steps // steps)
    trainer.fit(
        module, datamodule=data, ckpt_path=str(checkpoint) if resumed else None, weights_only=True
    )
    group.wait()
    return Trained(
        _plain(module.detector),
        loss=float(trainer.callback_metrics.get("train_loss", float("nan"))),
        num_steps=trainer.global_step,
        num_frames=data.num_frames,
        folder=folder,
        logs=folder / LOGS,
        num_processes=group.size,
        is_first=group.rank == 0,
    )


def _plain(trained: Detector) -> Detector:
    """Return the detector on the CPU, in evaluation mode, with its own kind of normalisation."""
    detector = build_detector(trained.config)
    detector.load_state_dict(trained.state_dict())
    return detector.eval()


def fingerprint(dataset: Dataset, config: TrainConfig) -> str:
    """Return a short name of what determines the weights: the config and the data."""
    relevant = config.to_json_dict()
    for name in _IRRELEVANT:
        relevant.pop(name)
    text = json.dumps([relevant, dataset.digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _data(dataset: Dataset, config: TrainConfig, work_folder: Path) -> DetectionData:
    ground_truth = load_ground_truth(
        dataset, config.detector, config.loading, _cache_folder(dataset, work_folder)
    )
    train = FrameLoader(dataset, config.detector, config.loading, ground_truth, config.seed)
    val = None
    if config.validate_every_steps:
        plain = config.loading.replace(
            split=VALIDATION_SPLIT, augmentation=AugmentationConfig.none()
        )
        val = FrameLoader(dataset, config.detector, plain)
    return DetectionData(train, val, config.batch_size, config.num_workers, config.seed)


def _cache_folder(dataset: Dataset, work_folder: Path) -> Path:
    """Return where objects to paste are kept: beside a local lake, else with the checkpoints."""
    if "://" in dataset.uri:
        return work_folder / "cache"
    lake = Path(dataset.uri)
    return lake.with_name(f"{lake.name}.cache")


def _trainer(
    config: TrainConfig, folder: Path, callbacks: Sequence[Callback], group: Group
) -> pl.Trainer:
    flags = config.trainer
    every = config.validate_every_steps
    return pl.Trainer(
        accelerator=flags.accelerator,
        devices=group.local_size,
        num_nodes=group.num_machines,
        strategy=flags.strategy,
        precision=choose_precision(flags.precision, flags.accelerator),
        gradient_clip_val=flags.gradient_clip_val or None,
        accumulate_grad_batches=flags.accumulate_grad_batches,
        deterministic=flags.deterministic,
        max_epochs=-1,  # set once it is known how many processes share an epoch
        val_check_interval=every or None,
        check_val_every_n_epoch=None if every else 1,
        limit_val_batches=1.0 if every else 0,
        num_sanity_val_steps=0,
        log_every_n_steps=1 if config.num_steps <= FEW_STEPS else 10,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=config.progress,
        logger=_logger(config, folder),
        callbacks=[*_callbacks(config, folder), *callbacks],
        default_root_dir=folder,
    )


def _callbacks(config: TrainConfig, folder: Path) -> list[Callback]:
    callbacks: list[Callback] = [
        ModelCheckpoint(
            dirpath=folder,
            filename="last",
            every_n_epochs=config.checkpoint_every_epochs,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
    ]
    if config.progress:
        callbacks.append(RichProgressBar(console_kwargs={"stderr": True}))
    return callbacks


def _logger(config: TrainConfig, folder: Path) -> Any:  # noqa: ANN401 - a logger or False
    if config.logger == "csv":
        return CSVLogger(folder, name=LOGS, version="")
    if config.logger == "tensorboard":
        return TensorBoardLogger(folder, name=LOGS, version="")
    return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep out Lightning's advice that does not apply here; other warnings pass."""
    chatter = logging.getLogger("pytorch_lightning")
    level = chatter.level
    chatter.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for advice in (
            ".*does not have many workers.*",
            ".*fewer than the logging interval.*",
            ".*number of training batches.*",
            ".*exists and is not empty.*",
            ".*isinstance.treespec, LeafSpec.*",
        ):
            warnings.filterwarnings("ignore", message=advice)
        try:
            yield
        finally:
            chatter.setLevel(level)

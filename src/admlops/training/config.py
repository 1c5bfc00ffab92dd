"""How a detector is trained."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from admlops.config import Config
from admlops.detection.config import DetectorConfig
from admlops.loading.config import LoadingConfig

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


class OptimizerConfig(Config):
    """AdamW under a one-cycle schedule (Smith and Topin, 2018)."""

    learning_rate: PositiveFloat = 0.003
    """Highest learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay."""
    warm_up_share: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Share of the steps in which the learning rate rises."""
    start_division: PositiveFloat = 10.0
    """The learning rate starts at the highest one divided by this."""


class TrainerConfig(Config):
    """Lightning's own flags; see the documentation of `pytorch_lightning.Trainer`."""

    accelerator: str = "auto"
    """For example "cpu" or "gpu"."""
    strategy: str = "auto"
    """How several processes train together; "auto" is "ddp"."""
    precision: Literal[
        "auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"
    ] = "auto"
    """Mixed precision; "auto" is bf16-mixed where the hardware has bfloat16, else 32-true."""
    gradient_clip_val: Annotated[float, Field(ge=0)] = 10.0
    """Largest norm of all gradients; 0 does not clip."""
    accumulate_grad_batches: PositiveInt = 1
    """Batches per optimiser step."""
    deterministic: bool = False
    """Whether torch must use deterministic algorithms."""


class TrainConfig(Config):
    """How a detector is trained."""

    detector: DetectorConfig
    """What is trained."""
    loading: LoadingConfig = LoadingConfig()
    """Which frames, and how they are changed at random."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """How weights change."""
    trainer: TrainerConfig = TrainerConfig()
    """Lightning's own flags."""
    num_steps: PositiveInt = 1000
    """Optimiser steps, rounded up to whole passes over the frames."""
    batch_size: PositiveInt = 4
    """Frames per batch, over all processes: their number does not change the training."""
    num_processes: PositiveInt = 1
    """Processes of this machine that share each batch, a device for each; torchrun starts them. It
    is not looked at where torchrun has started them already, on one machine or several."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of weights, order and augmentation."""
    channels_last: bool = True
    """Whether convolutions keep channels innermost: faster on CPUs and on tensor cores."""
    num_workers: Annotated[int, Field(ge=0)] = 0
    """Processes that load frames; 0 loads in the training process."""
    checkpoint_every_epochs: PositiveInt = 1
    """How often the state is saved, to be resumed from."""
    validate_every_steps: Annotated[int, Field(ge=0)] = 0
    """How often the loss on the split "val" is computed; 0 never does."""
    logger: Literal["csv", "tensorboard", "none"] = "csv"
    """Where losses are logged during training."""
    progress: bool = True
    """Whether Lightning's progress bar is shown."""
    work_folder: str = ""
    """Checkpoints, logs and caches while training; empty: beside the model's folder. Training is
    resumed from it when it was stopped."""

    @model_validator(mode="after")
    def _every_process_has_a_frame(self) -> Self:
        if self.batch_size < self.num_processes:
            raise ValueError(
                f"batch_size {self.batch_size}: {self.num_processes} processes share a batch, so "
                f"it needs at least {self.num_processes} frames"
            )
        return self

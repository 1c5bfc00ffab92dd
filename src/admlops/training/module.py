"""The Lightning module: one detector, its loss and its schedule."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed

from admlops.models.detector import Detector
from admlops.models.losses import TargetTensors
from admlops.training.config import OptimizerConfig
from admlops.training.tensor_batch import TensorBatch


class DetectorModule(pl.LightningModule):  # type: ignore[misc]
    """Trains a detector.

    Attributes:
        detector: the detector.
    """

    def __init__(
        self, detector: Detector, optimizer: OptimizerConfig, *, channels_last: bool
    ) -> None:
        super().__init__()
        self.detector = detector
        if channels_last:
            self.detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.detector.set_channels_last(channels_last)
        self._optimizer = optimizer

    def training_step(self, batch: TensorBatch, _: int) -> Tensor:
        """Return the loss of a batch."""
        return self._loss(batch, "train")

    def validation_step(self, batch: TensorBatch, _: int) -> Tensor:
        """Return the loss of a batch of validation frames."""
        return self._loss(batch, "val")

    def _loss(self, batch: TensorBatch, stage: str) -> Tensor:
        outputs = self.detector(batch.inputs, batch.num_frames)
        parts = self.detector.losses(outputs, self._counted_over_processes(batch.targets))
        loss = torch.stack(list(parts.values())).sum()
        figures: Mapping[str, Tensor] = {name: part.detach() for name, part in parts.items()}
        self.log_dict(
            {f"{stage}_{name}_loss": value for name, value in figures.items()},
            batch_size=batch.num_frames,
            sync_dist=True,
        )
        self.log(
            f"{stage}_loss",
            loss.detach(),
            prog_bar=True,
            batch_size=batch.num_frames,
            sync_dist=True,
        )
        return loss

    def _counted_over_processes(self, targets: TargetTensors) -> TargetTensors:
        """Return targets whose count makes the mean of all processes' losses the whole batch's."""
        size = self.trainer.world_size
        if size == 1:
            return targets
        total = targets.count.new_tensor(float(len(targets.place)))
        distributed.all_reduce(total)
        return replace(targets, count=total.clamp(min=1.0) / size)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's type is a large union
        """Return AdamW and its one-cycle schedule."""
        settings = self._optimizer
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=settings.learning_rate,
            total_steps=int(self.trainer.estimated_stepping_batches) + 1,
            pct_start=settings.warm_up_share,
            div_factor=settings.start_division,
            final_div_factor=1e3,
            base_momentum=0.85,
            max_momentum=0.95,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

"""The Lightning module: one detector, its loss and its schedule."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from admlops.models.detector import Detector
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
        parts = self.detector.losses(outputs, batch.targets)
        loss = torch.stack(list(parts.values())).sum()
        figures: Mapping[str, Tensor] = {name: part.detach() for name, part in parts.items()}
        self.log_dict(
            {f"{stage}_{name}_loss": value for name, value in figures.items()},
            batch_size=batch.num_frames,
            sync_dist=stage == "val",
        )
        self.log(
            f"{stage}_loss",
            loss.detach(),
            prog_bar=True,
            batch_size=batch.num_frames,
            sync_dist=stage == "val",
        )
        return loss

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

"""Batches as tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from admlops.loading.batches import Batch
from admlops.models.losses import TargetTensors


@dataclass(frozen=True, slots=True)
class TensorBatch:
    """What a training step takes.

    Attributes:
        inputs: the network's inputs by name.
        targets: what it should answer.
        num_frames: frames in the batch.
    """

    inputs: dict[str, Tensor]
    targets: TargetTensors
    num_frames: int

    @classmethod
    def from_arrays(cls, batch: Batch) -> "TensorBatch":
        """Return a batch whose tensors share the arrays' memory."""
        targets = batch.targets
        return cls(
            {name: torch.from_numpy(array) for name, array in batch.inputs.as_inputs().items()},
            TargetTensors(
                frame=torch.from_numpy(batch.frame),
                place=torch.from_numpy(targets.place),
                category=torch.from_numpy(targets.category),
                regression=torch.from_numpy(targets.regression),
                direction=torch.from_numpy(targets.direction),
                ignored_frame=torch.from_numpy(batch.ignored_frame),
                ignored=torch.from_numpy(targets.ignored),
                heatmap=torch.from_numpy(targets.heatmap),
                count=torch.tensor(float(max(len(targets.place), 1))),
            ),
            len(batch),
        )

    def to(self, device: torch.device, *, non_blocking: bool = True) -> "TensorBatch":
        """Return the batch on a device."""
        inputs = {
            name: tensor.to(device, non_blocking=non_blocking)
            for name, tensor in self.inputs.items()
        }
        return TensorBatch(inputs, self.targets.to(device), self.num_frames)

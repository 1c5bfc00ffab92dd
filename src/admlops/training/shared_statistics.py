"""Normalisation whose statistics are those of all processes' frames, on GPUs and on CPUs.

Without it each of N processes normalises by its own share of the batch, and training depends on N.
torch's `SyncBatchNorm` refuses CPU tensors; there the sums are reduced by a few lines here.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from admlops.models.detector import Detector


def share_statistics(detector: Detector, *, on_gpu: bool) -> None:
    """Replace every batch normalisation; names, parameters and buffers stay as they are."""
    if on_gpu:
        nn.SyncBatchNorm.convert_sync_batchnorm(detector)  # type: ignore[no-untyped-call]
    else:
        _replace_norms(detector)


def _replace_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, SharedBatchNorm.like(child))
        else:
            _replace_norms(child)


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation over the frames of all processes, for any number of dimensions.

    Mean and variance are taken in two passes, so that they are as exact as one process's.
    """

    @classmethod
    def like(cls, norm: _BatchNorm) -> "SharedBatchNorm":
        """Return a module that shares a normalisation's parameters and buffers."""
        if norm.momentum is None:
            raise ValueError("the running mean of all batches is not supported")
        shared = cls(norm.num_features, norm.eps, norm.momentum)
        shared.weight, shared.bias = norm.weight, norm.bias
        shared.running_mean, shared.running_var = norm.running_mean, norm.running_var
        shared.num_batches_tracked = norm.num_batches_tracked
        return shared

    def forward(self, features: Tensor) -> Tensor:
        """Return the normalised features; channels are the second dimension."""
        if not self.training:
            return super().forward(features)
        others = [dim for dim in range(features.dim()) if dim != 1]
        shape = [1, -1] + [1] * (features.dim() - 2)
        exact = features.float()
        count = exact.new_tensor([float(features.numel() // features.shape[1])])
        sums = _sum_over_processes(torch.cat([exact.sum(others), count]))
        mean_C, total = sums[:-1] / sums[-1], sums[-1].detach()
        centred = exact - mean_C.view(shape)
        variance_C = _sum_over_processes((centred * centred).sum(others)) / total
        self._follow(mean_C.detach(), variance_C.detach() * total / (total - 1))
        factor_C = self.weight * torch.rsqrt(variance_C + self.eps)
        result = centred * factor_C.view(shape) + self.bias.view(shape)
        return result.to(features.dtype)

    def _follow(self, mean_C: Tensor, variance_C: Tensor) -> None:
        """Move the running statistics; the variance is the unbiased one, as in torch."""
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            return
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(variance_C, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)

    def _check_input_dim(self, features: Tensor) -> None:
        """Take any number of dimensions."""


class _Sum(torch.autograd.Function):
    """The sum over processes; so is the gradient, since each process's loss depends on the sum."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def _sum_over_processes(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total

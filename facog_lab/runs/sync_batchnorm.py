"""Batch norm over the parts of a batch that several processes on CPUs have.

PyTorch's own SyncBatchNorm runs on GPUs alone; without one the statistics of a part would be used,
and two processes would train another network than one.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the shares of all processes, on CPUs, as nn.BatchNorm2d is of the whole."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, images: Tensor) -> Tensor:
        """(B', C, H, W) of this process's share, normalised."""
        if not self.training:
            return super().forward(images)
        normal, mean, variance, number = _Normalise.apply(images, self.weight, self.bias, self.eps)
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (number / (number - 1)), self.momentum)
        return normal


class _Normalise(torch.autograd.Function):
    # What all have is gathered and added up here: gloo's all-reduce takes half as long again.

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        own_mean, own_variance = torch.batch_norm_update_stats(x, None, None, 0.0)
        own_number = torch.full_like(own_mean, x.numel() / x.shape[1])
        found, gathered = _of_all(torch.stack([own_mean, own_variance, own_number]))
        gathered.wait()
        means, variances, numbers = found.unbind(1)  # (processes, C) each
        number = numbers[:, 0].sum()
        mean = (means * numbers).sum(0) / number
        # Variance inside the shares, and of their means (Chan et al. 1979): no small difference of
        # large sums.
        variance = ((variances + (means - mean).square()) * numbers).sum(0) / number
        ctx.save_for_backward(x, weight, mean, variance, number)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, number)
        ctx.set_materialize_grads(False)
        normal = F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)
        return normal, mean, variance, number

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *rest: None) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, variance, number = ctx.saved_tensors
        # Σ g x̂ and Σ g over the own share, which are its gradients of weight and bias
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, ctx.eps, [False, True, True]
        )
        found, gathered = _of_all(torch.stack([of_weight, of_bias]))
        # dx = w/σ (g - Σg/n - x̂ Σ(g x̂)/n): the part in g needs no sums, the part in x̂ is a batch
        # norm once more
        scale = weight * (variance + ctx.eps).rsqrt()
        scaled = gradient * scale[:, None, None]
        gathered.wait()
        slope, offset = -scale * found.sum(0) / number
        shift = F.batch_norm(x, mean, variance, slope, offset, False, 0.0, ctx.eps)
        return shift.add_(scaled), of_weight, of_bias, None


def _of_all(own: Tensor) -> tuple[Tensor, dist.Work]:
    """What all processes have, (processes, ...), as soon as the work that gathers it is done."""
    found = own.new_empty(dist.get_world_size(), *own.shape)
    work = dist.all_gather(list(found), own, async_op=True)
    assert work is not None  # as this process is one of the group
    return found, work

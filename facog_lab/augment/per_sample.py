"""What kernels need to treat each sample of a batch in a way of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def apply_where(
    chosen: Tensor, change: Callable[..., Tensor], images: Tensor, *per_sample: Tensor
) -> Tensor:
    """The batch with `change(images, *per_sample)` applied to the chosen samples alone.

    On a CPU only those are computed, and written into `images`. On a GPU all are computed and the
    chosen ones kept: to count them, the CPU would have to wait for the GPU.

    Args:
        chosen: (B,) bool.
        change: keeps shape and dtype of its first argument, and treats samples separately.
        images: (B, C, H, W).
        *per_sample: tensors whose first dimension is B.
    """
    if images.is_cuda:
        return torch.where(column(chosen), change(images, *per_sample), images)
    rows = chosen.nonzero().squeeze(1)
    if len(rows) == 0:
        return images
    return images.index_copy_(0, rows, change(images[rows], *(x[rows] for x in per_sample)))


def column(values: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1), to go with images."""
    return values[:, None, None, None]

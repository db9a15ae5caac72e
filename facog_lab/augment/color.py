"""Kernels that change values, and keep pixels where they are; for a whole batch at once."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from facog_lab.augment.per_sample import apply_where, column


def brightness(images: Tensor, amount: Tensor) -> Tensor:
    """Away from black by (B,) amounts, towards it where they are below 0.

    This and the next two take uint8, or float32 in 0..1.
    """
    return blend(images, 0.0, amount)


def color(images: Tensor, amount: Tensor) -> Tensor:
    """Away from the grey image, which is itself where there is one channel."""
    return images if images.shape[1] == 1 else blend(images, grey(images), amount)


def contrast(images: Tensor, amount: Tensor) -> Tensor:
    """Away from the image's mean grey."""
    return blend(images, mean_grey(images), amount)


def blend(images: Tensor, poorer: Tensor | float, amount: Tensor) -> Tensor:
    """Away from a poorer image by (B,) amounts, towards it where they are below 0."""
    mixed = column(1 + amount) * images + column(-amount) * poorer
    return mixed.clamp_(0, 1 if images.is_floating_point() else 255).to(images.dtype)


def grey(images: Tensor) -> Tensor:
    """(B, C, H, W) to luma, (B, 1, H, W) of the same dtype; fractions of uint8 are cut off."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).to(images.dtype)


def mean_grey(images: Tensor) -> Tensor:
    """(B, C, H, W) to its mean luma, (B, 1, 1, 1) float32."""
    # in float64 the order of the sum, which depends on the batch and the device, does not show
    total = grey(images).sum(dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
    return (total / (images.shape[2] * images.shape[3])).float()


def jitter(images: Tensor, u: Tensor, strengths: Sequence[float], probability: float) -> Tensor:
    """ColorJitter, its operations in an order drawn for each sample.

    Factors come from 1 - strength to 1 + strength, the hue's shift from -strength to strength.

    Args:
        images: (B, C, H, H) float32 in 0..1; may be changed in place.
        u: (B, 9) uniform draws: whether there is any jitter, four amounts, four to sort.
        strengths: of brightness, contrast, saturation and, unless left out, hue.
        probability: how likely there is any jitter.
    """
    applied = u[:, 0] < probability
    amounts = (2 * u[:, 1:5] - 1).unbind(1)
    steps = tuple(zip((brightness, contrast, color, hue), strengths, amounts, strict=False))
    for turn in u[:, 5:].argsort(dim=1, stable=True).unbind(1):
        for i, (operation, strength, amount) in enumerate(steps):
            images = apply_where(applied & (turn == i), operation, images, strength * amount)
    return images


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turns the colour circle of HSV by (B,) shifts; 1 is a full turn.

    Back from HSV a channel is V - S V clamp(min(k, 4 - k), 0, 1), with k the hue in sixths of the
    circle plus 5, 3 or 1 (red, green, blue), modulo 6. Images of one channel have no hue.
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)  # (B, H, H)
    value = images.amax(1)
    chroma = value - images.amin(1)
    divisor = chroma.masked_fill(chroma == 0, 1)
    not_red = torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor)
    sixths = torch.where(value == red, (green - blue) / divisor, not_red)
    sixths = sixths + 6 * shift[:, None, None]
    parts = [(sixths + start).remainder(6) for start in (5, 3, 1)]
    return torch.stack([value - chroma * k.minimum(4 - k).clamp_(0, 1) for k in parts], dim=1)


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blurs by (B,) standard deviations, in pixels; mirrors at the border.

    The kernel's side is the odd number nearest to a tenth of the image's, at least 3.
    """
    side = images.shape[-1]
    half = max(1, side // 20)
    offsets = torch.arange(-half, half + 1, device=images.device)
    kernel = (-0.5 * (offsets / sigma[:, None]) ** 2).exp()
    kernel = kernel / kernel.sum(1, keepdim=True)  # (B, 2 * half + 1)
    for dim, margin in ((3, (half, half, 0, 0)), (2, (0, 0, half, half))):
        wide = pad(images, margin, mode="reflect")
        parts = (column(w) * wide.narrow(dim, i, side) for i, w in enumerate(kernel.unbind(1)))
        images = functools.reduce(torch.add, parts)
    return images

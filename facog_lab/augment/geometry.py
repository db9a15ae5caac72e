"""Kernels that move pixels: crops, resizing, and the holes of Cutout; for a whole batch at once."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn.functional import pad

TRIES = 10  # boxes that RandomResizedCrop draws before it takes the whole image


def resize_center_crop(images: Tensor, size: int) -> Tensor:
    """Images of another side, as for evaluation: whole, or nearly so.

    A larger one is scaled down to size * 8/7 pixels (224 comes from 256), unless it is no larger
    than that, and its middle is cut out; a smaller one is scaled up. Bilinear, antialiased.

    Returns:
        (B, C, size, size) uint8; `images` itself, not a copy, where nothing is to be done.
    """
    side = images.shape[-1]
    target = max(size, min(side, round(size * 8 / 7)))
    if target != side:
        from torchvision.transforms import functional as vision  # seconds to import

        images = vision.resize(images, [target, target], antialias=True)
    margin = (target - size) // 2
    return images[..., margin : margin + size, margin : margin + size]


def random_crop(images: Tensor, u: Tensor, padding: int) -> Tensor:
    """A window of the images' size in the images with `padding` zeros on every side.

    The window's top and left come from u (B, 2).
    """
    side = images.shape[-1]
    # u is at most 1 - 2^-24, so that the product never rounds up to the whole number above
    corner = (u * (2 * padding + 1)).long()
    rows, columns = (corner[..., None] + torch.arange(side, device=u.device)).unbind(1)  # (B, H)
    pixels = rows[:, :, None] * (side + 2 * padding) + columns[:, None, :]  # (B, H, H)
    flat = pad(images, (padding,) * 4).flatten(2)
    source = pixels.flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return flat.gather(2, source).view(images.shape)


def boxes(u: Tensor, side: int, area: tuple[float, float]) -> Tensor:
    """RandomResizedCrop's boxes: the first of ten tries that fits, else the whole image.

    In float64, so that all devices round to the same box. u (B, 22) gives the area and the ratio
    of each try, then top and left. The result is (B, 4) int64: top, left, height, width, in pixels.
    """
    tries = u[:, : 2 * TRIES].double().view(-1, TRIES, 2)
    pixels = side**2 * (area[0] + (area[1] - area[0]) * tries[..., 0])
    ratio = ((2 * tries[..., 1] - 1) * math.log(4 / 3)).exp()  # width / height, 3/4 to 4/3
    extent = torch.stack([pixels / ratio, pixels * ratio], dim=2).sqrt().round().long()
    fits = ((extent > 0) & (extent <= side)).all(2)  # (B, 10)
    first = fits.int().argmax(1)[:, None, None].expand(-1, 1, 2)
    extent = extent.gather(1, first)[:, 0].where(fits.any(1, keepdim=True), side)  # (B, 2)
    corner = (u[:, 2 * TRIES :].double() * (side - extent + 1)).long()
    return torch.cat([corner, extent], dim=1)


def resized_crop(images: Tensor, where: Tensor, size: int) -> Tensor:
    """Each image's box scaled to the same size: bilinear, antialiased where it gets smaller.

    `where` (B, 4) is as from `boxes`; the result float32, on the scale of `images`.
    """
    top, left, height, width = where.unbind(1)
    return _resample(_resample(images.mT, top, height, size).mT, left, width, size)


def _resample(images: Tensor, start: Tensor, length: Tensor, size: int) -> Tensor:
    """Scales columns start to start + length, both (B,), to `size` columns.

    A new pixel is the mean of the old ones around its centre, weighted by a triangle that reaches
    one pixel, old or new, whichever is larger. Sums over these few, not a matrix product, which
    might take bfloat16 or TF32 and depend on the batch.
    """
    scale = (length / size)[:, None]  # (B, 1), old pixels to a new one
    reach = scale.clamp(min=1)
    centre = (torch.arange(size, device=images.device) + 0.5) * scale  # (B, size)
    taps = torch.arange(math.ceil(2 * max(1, images.shape[3] / size)), device=images.device)
    old = (centre - reach + 0.5).floor() + taps[:, None, None]  # (taps, B, size), in the box
    weight = (1 - (old + 0.5 - centre).abs() / reach).clamp_(min=0)
    weight = weight * ((old >= 0) & (old < length[:, None]))
    weight = (weight / weight.sum(0))[:, :, None, None]
    source = start[:, None] + old.long().clamp_(min=0).minimum(length[:, None] - 1)
    source = source[:, :, None, None].expand(-1, -1, *images.shape[1:3], -1)
    parts = (w * images.gather(3, i) for w, i in zip(weight, source, strict=True))
    return functools.reduce(torch.add, parts)


def holes(u: Tensor, side: int, hole: int) -> Tensor:
    """Cutout's holes (DeVries and Taylor 2017): squares around any pixel, cut off at the border.

    The centre's row and column come from u (B, 2); the square starts hole // 2 before them. The
    result is (B, 1, side, side) bool, True in the hole.
    """
    away = torch.arange(side, device=u.device) - ((u * side).long() - hole // 2)[..., None]
    rows, columns = ((away >= 0) & (away < hole)).unbind(1)  # (B, side)
    return (rows[:, :, None] & columns[:, None, :])[:, None]

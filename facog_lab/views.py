"""Turns a uint8 batch into float views, each sample by draws of its own.

A view is a function of the image, the recipe and (seed, epoch, index, view): it is the same in any
batch, in any order. At the images' own size, a recipe without `area` gives the same bits on a CPU
and on a GPU; one with it the same boxes and decisions, and values equal to about 1e-5.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from facog_lab.augment.autoaugment import (
    autoaugment,
    brightness,
    color,
    column,
    contrast,
    grey,
    only,
)
from facog_lab.config import unknown
from facog_lab.rng import uniform

TRIES = 10  # boxes that RandomResizedCrop draws before it takes the whole image


@dataclass(frozen=True)
class Recipe:
    """What is done to an image, in this order; a field left at its default does nothing."""

    area: tuple[float, float] | None = None  # RandomResizedCrop: least, greatest share of the area
    padding: int = 0  # RandomCrop: pixels of zeros on every side
    flip: float = 0.0  # probability, left to right
    autoaugment: str = ""  # the policy's name; after `area`, pixels are rounded for it
    jitter: float = 0.0  # probability of ColorJitter
    strengths: tuple[float, ...] = ()  # ColorJitter: brightness, contrast, saturation, hue
    grey: float = 0.0  # probability
    blur: float = 0.0  # probability of a Gaussian blur
    sigma: tuple[float, float] = (0.1, 2.0)  # its least, greatest standard deviation, in pixels
    cutout: int = 0  # the side of the hole, in pixels


RECIPES: dict[str, Recipe] = {
    "clean": Recipe(),
    "crop": Recipe(padding=2),
    "crop_flip": Recipe(padding=2, flip=0.5),
    "standard": Recipe(padding=4, flip=0.5),
    "autoaugment_cutout": Recipe(padding=4, flip=0.5, autoaugment="cifar10", cutout=16),
    "simaugment": Recipe(
        area=(0.2, 1.0), flip=0.5, jitter=0.8, strengths=(0.4, 0.4, 0.4, 0.1), grey=0.2, blur=0.5
    ),
    "imagenet": Recipe(area=(0.08, 1.0), flip=0.5, jitter=1.0, strengths=(0.4, 0.4, 0.4)),
    "imagenet_autoaugment": Recipe(area=(0.08, 1.0), flip=0.5, autoaugment="imagenet"),
}


def make_views(
    images: Tensor,
    recipe: str,
    *,
    seed: int,
    epoch: int,
    index: Tensor,
    view: int = 0,
    size: int | None = None,
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """One view of every image.

    Differs from torchvision on uint8 images: with `area`, nothing is rounded between operations but
    before AutoAugment.

    Args:
        images: (B, C, H, H) uint8, C 1 or 3, on the device the views are wanted on; not changed.
        recipe: a name in `RECIPES`.
        seed: the run's seed.
        epoch: from 0.
        index: (B,) int64, the samples' positions in the training set.
        view: which of an image's views, from 0; they are independent.
        size: the views' side in pixels; None keeps H. Without `area`, see `fit`.
        mean: of each channel, on the scale from 0 to 1.
        std: likewise, above 0.

    Returns:
        (B, C, size, size) float32, (value from 0 to 1 - mean) / std. Cutout's hole is black.

    Raises:
        ValueError: for an unknown recipe, or images, index, size, mean or std of the wrong kind.
    """
    if recipe not in RECIPES:
        raise ValueError(unknown(recipe, RECIPES, "recipe"))
    size = images.shape[-1] if size is None else size
    _check(images, index, size, mean, std)
    if len(images) == 0:
        return images.new_zeros(0, images.shape[1], size, size, dtype=torch.float32)
    do = RECIPES[recipe]
    index = index.to(images.device)

    def draw(operation: str, n: int) -> Tensor:
        return uniform(seed, epoch, index, f"{operation}/{view}", n)

    white, centre, scale = _constants(tuple(mean), tuple(std), images.device)
    if do.area:
        where = boxes(draw("resized_crop", 2 * TRIES + 2), images.shape[-1], do.area)
        x = resized_crop(images, where, size).div_(white)
    else:
        x = fit(images, size)
        shared = x.untyped_storage().data_ptr() == images.untyped_storage().data_ptr()
        if shared and not do.padding and (do.flip or do.autoaugment):  # which write in place
            x = x.clone()
    if do.padding:
        x = random_crop(x, draw("crop", 2), do.padding)
    if do.flip:
        x = only(draw("flip", 1)[:, 0] < do.flip, lambda x: x.flip(-1), x)
    if do.autoaugment:
        if x.dtype != torch.uint8:
            x = x.mul_(white).round_().to(torch.uint8)
        x = autoaugment(x, draw("autoaugment", 5), do.autoaugment)
    if x.dtype == torch.uint8:
        x = x.float().div_(white)
    if do.jitter:
        x = jitter(x, draw("jitter", 9), do.strengths, do.jitter)
    if do.grey:
        x = only(draw("grey", 1)[:, 0] < do.grey, lambda x: grey(x).expand_as(x), x)
    if do.blur:
        u = draw("blur", 2)
        sigma = do.sigma[0] + (do.sigma[1] - do.sigma[0]) * u[:, 1]
        x = only(u[:, 0] < do.blur, gaussian_blur, x, sigma)
    if do.cutout:
        x = x.masked_fill_(holes(draw("cutout", 2), size, do.cutout), 0.0)
    return x.sub_(centre).div_(scale)


def fit(images: Tensor, size: int) -> Tensor:
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
            images = only(applied & (turn == i), operation, images, strength * amount)
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


def holes(u: Tensor, side: int, hole: int) -> Tensor:
    """Cutout's holes (DeVries and Taylor 2017): squares around any pixel, cut off at the border.

    The centre's row and column come from u (B, 2); the square starts hole // 2 before them. The
    result is (B, 1, side, side) bool, True in the hole.
    """
    away = torch.arange(side, device=u.device) - ((u * side).long() - hole // 2)[..., None]
    rows, columns = ((away >= 0) & (away < hole)).unbind(1)  # (B, side)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


@functools.lru_cache(maxsize=16)
def _constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """255, mean and std, kept on the device: to send them, the CPU would wait for the GPU.

    255 as a tensor, since a GPU multiplies by a number's reciprocal, which is not the same bits.
    """
    mean_std = torch.tensor([mean, std], dtype=torch.float32, device=device)[..., None, None]
    return torch.tensor(255.0, device=device), mean_std[0], mean_std[1]  # (C, 1, 1)


def _check(
    images: Tensor, index: Tensor, size: int, mean: Sequence[float], std: Sequence[float]
) -> None:
    shape, dtype = tuple(images.shape), images.dtype
    if dtype != torch.uint8 or len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3]:
        found = f"images have shape {shape} and type {dtype}"
        raise ValueError(f"{found}: pass (B, C, H, H) uint8, square, C 1 or 3.")
    if index.shape != shape[:1] or index.is_floating_point():
        found = f"index has shape {tuple(index.shape)} and type {index.dtype}"
        raise ValueError(f"{found}: pass one whole number for each of the {shape[0]} images.")
    if size < 3:
        raise ValueError(f"size = {size} is not allowed: views have a side of at least 3 pixels.")
    if not len(mean) == len(std) == shape[1] or min(std) <= 0:
        found = f"mean = {tuple(mean)}, std = {tuple(std)}"
        raise ValueError(f"{found}: pass a value for each of {shape[1]} channels, std above 0.")

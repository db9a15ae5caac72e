"""Turns a uint8 batch into float views, each sample by draws of its own.

A view is a function of the image, the recipe and (seed, epoch, index, view): it is the same in any
batch, in any order. At the images' own size, a recipe without `area` gives the same bits on a CPU
and on a GPU; one with it the same boxes and decisions, and values equal to about 1e-5.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from facog_lab.augment.autoaugment import autoaugment
from facog_lab.augment.color import gaussian_blur, grey, jitter
from facog_lab.augment.geometry import (
    TRIES,
    boxes,
    holes,
    random_crop,
    resize_center_crop,
    resized_crop,
)
from facog_lab.augment.per_sample import apply_where
from facog_lab.config import unknown
from facog_lab.rng import uniform


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
        size: the views' side in pixels; None keeps H. Without `area`, see `resize_center_crop`.
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
        x = resize_center_crop(images, size)
        shared = x.untyped_storage().data_ptr() == images.untyped_storage().data_ptr()
        if shared and not do.padding and (do.flip or do.autoaugment):  # which write in place
            x = x.clone()
    if do.padding:
        x = random_crop(x, draw("crop", 2), do.padding)
    if do.flip:
        x = apply_where(draw("flip", 1)[:, 0] < do.flip, lambda x: x.flip(-1), x)
    if do.autoaugment:
        if x.dtype != torch.uint8:
            x = x.mul_(white).round_().to(torch.uint8)
        x = autoaugment(x, draw("autoaugment", 5), do.autoaugment)
    if x.dtype == torch.uint8:
        x = x.float().div_(white)
    if do.jitter:
        x = jitter(x, draw("jitter", 9), do.strengths, do.jitter)
    if do.grey:
        x = apply_where(draw("grey", 1)[:, 0] < do.grey, lambda x: grey(x).expand_as(x), x)
    if do.blur:
        u = draw("blur", 2)
        sigma = do.sigma[0] + (do.sigma[1] - do.sigma[0]) * u[:, 1]
        x = apply_where(u[:, 0] < do.blur, gaussian_blur, x, sigma)
    if do.cutout:
        x = x.masked_fill_(holes(draw("cutout", 2), size, do.cutout), 0.0)
    return x.sub_(centre).div_(scale)


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

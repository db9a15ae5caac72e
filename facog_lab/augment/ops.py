"""The operations of AutoAugment for a whole batch of uint8 images at once.

Every sample has its own operation, level and sign. The pixels are, bit for bit and on every device,
those that torchvision's functions give for one image on a CPU (up to 256 x 256 pixels; above, its
float32 sum for Contrast is rounded).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from facog_lab.augment.color import blend, brightness, color, contrast
from facog_lab.augment.per_sample import apply_where, column

OPERATIONS = (
    *("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),  # move pixels
    *("Brightness", "Color", "Contrast", "Sharpness"),  # blend with a poorer image
    *("Posterize", "Solarize", "AutoContrast", "Equalize", "Invert"),  # map values
)
GEOMETRIC = OPERATIONS[:5]
LEVELS = 10  # magnitudes go from level 0 to level 9 in equal steps


def operate(images: Tensor, operation: Tensor, level: Tensor, positive: Tensor) -> Tensor:
    """Each image with its own operation applied.

    Args:
        images: (B, C, H, H) uint8, C 1 or 3; may be changed in place.
        operation: (B,) int64, positions in `OPERATIONS`; -1 leaves an image as it is.
        level: (B,) int64, 0 to 9; see `magnitude`.
        positive: (B,) int64, 1 or 0: the magnitude's sign, for operations that have one.

    Returns:
        (B, C, H, H) uint8.
    """
    geometric = (operation >= 0) & (operation < len(GEOMETRIC))
    which = (operation * LEVELS + level) * 2 + positive  # (B,), a row of _sources
    images = apply_where(geometric, _move, images, which)
    amount = _magnitudes(images.device)[operation, level] * (2 * positive - 1)  # (B,) float32
    for name, change in _CHANGES.items():
        images = apply_where(operation == OPERATIONS.index(name), change, images, amount)
    return images


def magnitude(operation: str, level: int, side: int) -> float:
    """The unsigned magnitude of an operation at a level.

    Shears are tangents, rotations degrees, translations pixels of an image of that side; Posterize
    keeps so many bits; Solarize inverts from that value up; Brightness, Color, Contrast and
    Sharpness add it to a factor of 1, or subtract it.
    """
    if operation == "Posterize":
        return 8 - round(level * 4 / (LEVELS - 1))
    ranges = {"ShearX": (0, 0.3), "ShearY": (0, 0.3), "Rotate": (0, 30), "Solarize": (255, 0)}
    ranges |= dict.fromkeys(("TranslateX", "TranslateY"), (0, 150 / 331 * side))
    start, end = ranges.get(operation, (0, 0.9))
    # float32 steps, as torchvision's: the last bit of a magnitude can decide a pixel
    return torch.linspace(start, end, LEVELS)[level].item()


def _move(images: Tensor, which: Tensor) -> Tensor:
    sources = _sources(images.shape[-1], images.device)
    # on a GPU the other operations' rows come along, and are dropped again by `apply_where`
    which = which.clamp(0, len(sources) - 1)
    source = sources[which].long()[:, None]  # (B, 1, H*H)
    outside = images.new_zeros(*images.shape[:2], 1)
    flat = torch.cat([outside, images.flatten(2)], dim=2)  # (B, C, 1 + H*H)
    return flat.gather(2, source.expand(-1, images.shape[1], -1)).view_as(images)


def _sharpness(images: Tensor, amount: Tensor) -> Tensor:
    """Blends with an image smoothed by the kernel of ones with 5 in the middle, over 13.

    A whole number over 13 is never halfway between two others, so that rounding gives the same
    whatever the order of the sum. Pixels of the border stay as they are.
    """
    x = images.float()
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]  # (B, C, H-2, H-2)
    smooth = x.clone()
    smooth[..., 1:-1, 1:-1] = ((box + 4 * x[..., 1:-1, 1:-1]) / 13).round()
    return blend(images, smooth, amount)


def _posterize(images: Tensor, bits: Tensor) -> Tensor:
    return images & column(0xFF00 >> bits.abs().int()).to(torch.uint8)


def _solarize(images: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(images >= column(threshold.abs()), 255 - images, images)


def _autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretches each channel to 0..255; one of a single value stays as it is."""
    low = images.amin(dim=(2, 3), keepdim=True).float()
    high = images.amax(dim=(2, 3), keepdim=True).float()
    flat = low == high
    low = low.masked_fill(flat, 0)
    scale = (255 / (high - low)).masked_fill(flat, 1)
    return ((images - low) * scale).clamp_(0, 255).to(torch.uint8)


def _equalize(images: Tensor, _: Tensor) -> Tensor:
    """Maps the values of each channel so that its histogram becomes flat.

    A step of the new scale holds 1/255 of the pixels, those of the largest value left out; a
    channel with fewer than 255 such pixels stays as it is.
    """
    values = images.flatten(2).long()  # (B, C, N)
    histogram = values.new_zeros(*values.shape[:2], 256)
    histogram.scatter_add_(2, values, values.new_ones(()).expand_as(values))
    largest = values.amax(dim=2, keepdim=True)
    step = (values.shape[2] - histogram.gather(2, largest)) // 255  # (B, C, 1)
    below = histogram.cumsum(2) - histogram  # how many pixels are darker than each value
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255)
    equal = table.gather(2, values).to(torch.uint8).view_as(images)
    return torch.where((step == 0)[..., None], images, equal)


_CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Brightness": brightness,
    "Color": color,
    "Contrast": contrast,
    "Sharpness": _sharpness,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "AutoContrast": _autocontrast,
    "Equalize": _equalize,
    "Invert": lambda images, _: 255 - images,
}


# Constants are kept on each device: copying them there would make the CPU wait for the GPU.


# Constants are kept on each device: copying them there would make the CPU wait for the GPU.


@functools.cache
def _magnitudes(device: torch.device) -> Tensor:
    """(14, 10) float32, by operation and level, of all that does not move pixels."""
    rows = [[magnitude(name, level, 0) for level in range(LEVELS)] for name in OPERATIONS]
    return torch.tensor(rows, device=device)


@functools.lru_cache(maxsize=4)
def _sources(side: int, device: torch.device) -> Tensor:
    """Where each pixel of a moved image comes from.

    Drawn up once by torchvision itself, from an image that holds each pixel's own number.

    Returns:
        (5 * 10 * 2, side * side) int32, rows by operation, level and sign; 0 for outside, else the
        source pixel's number, counted from 1.
    """
    numbers = torch.arange(1, side * side + 1, dtype=torch.float32).view(1, side, side)
    rows = []
    for operation in GEOMETRIC:
        for level in range(LEVELS):
            for sign in (-1, 1):
                amount = sign * magnitude(operation, level, side)
                rows.append(_moved(numbers, operation, amount).flatten())
    return torch.stack(rows).int().to(device)


def _moved(image: Tensor, operation: str, amount: float) -> Tensor:
    from torchvision.transforms import functional as vision  # seconds to import

    if operation == "Rotate":
        return vision.rotate(image, amount)
    along_x = operation.endswith("X")
    if operation.startswith("Shear"):  # about the upper left corner
        angle = math.degrees(math.atan(amount))
        shear = [angle, 0.0] if along_x else [0.0, angle]
        return vision.affine(image, 0.0, [0, 0], 1.0, shear, center=[0, 0])
    shift = [int(amount), 0] if along_x else [0, int(amount)]
    return vision.affine(image, 0.0, shift, 1.0, [0.0, 0.0])

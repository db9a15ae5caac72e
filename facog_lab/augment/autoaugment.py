"""AutoAugment's policies of CIFAR-10 and ImageNet: which operations, how likely, how strong."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from facog_lab.augment.ops import OPERATIONS, operate

# The 25 sub-policies found on CIFAR-10 (Cubuk et al. 2019, appendix): two operations each, in
# order, as (operation, probability, level). Where an operation has no magnitude, the level is 0.
CIFAR10_POLICY = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)

IMAGENET_POLICY = (  # likewise, those found on ImageNet
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, 0), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, 0)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, 0)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, 0), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, 0)),
    (("Equalize", 0.0, 0), ("Equalize", 0.8, 0)),
    (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, 0)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, 0)),
    (("Color", 0.4, 0), ("Equalize", 0.6, 0)),
    (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
    (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
)
POLICIES = {"cifar10": CIFAR10_POLICY, "imagenet": IMAGENET_POLICY}  # of 25 each


def autoaugment(images: Tensor, u: Tensor, policy: str = "cifar10") -> Tensor:
    """One sub-policy of a policy for each image.

    Args:
        images: (B, C, H, H) uint8, C 1 or 3; may be changed in place.
        u: (B, 5) uniform draws: which sub-policy, then for its two operations whether they are
            applied, then their signs.
        policy: a name in `POLICIES`.

    Returns:
        (B, C, H, H) uint8.
    """
    operations, probabilities, levels = _policy(policy, images.device)
    row = (u[:, 0] * len(operations)).long()
    for slot in range(2):
        applied = u[:, 1 + slot] < probabilities[row, slot]
        operation = torch.where(applied, operations[row, slot], -1)
        positive = (u[:, 3 + slot] >= 0.5).long()
        images = operate(images, operation, levels[row, slot], positive)
    return images


# Kept on each device: copying it there would make the CPU wait for the GPU.
@functools.cache
def _policy(name: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Operations, probabilities and levels, each (25, 2)."""
    slots = [slot for pair in POLICIES[name] for slot in pair]
    operations = [OPERATIONS.index(of) for of, _, _ in slots]
    probabilities, levels = [p for _, p, _ in slots], [level for _, _, level in slots]
    a, b, c = (torch.tensor(x, device=device) for x in (operations, probabilities, levels))
    return a.view(-1, 2), b.view(-1, 2), c.view(-1, 2)

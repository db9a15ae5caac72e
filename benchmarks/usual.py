"""The usual input pipeline, to measure against: torchvision on PIL images, one sample at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms

from facog_lab.dataset import LongTailed

View = Callable[[Image.Image], Tensor]


class Cutout:
    """A black square of 16 pixels around any pixel, cut off at the border."""

    def __call__(self, image: Tensor) -> Tensor:
        """(C, H, W), changed in place."""
        _, height, width = image.shape
        row, column = np.random.randint(height), np.random.randint(width)  # noqa: NPY002
        image[:, max(0, row - 8) : row + 8, max(0, column - 8) : column + 8] = 0
        return image


def recipes(data: LongTailed) -> dict[str, View]:
    """The CIFAR recipes of facog_lab.views, by their names there."""
    side = data.side
    jitter = transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)
    blur = transforms.GaussianBlur(3, (0.1, 2.0))
    end = transforms.Normalize(data.mean, data.std)
    return {
        "autoaugment_cutout": transforms.Compose(
            [
                transforms.RandomCrop(side, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10),
                transforms.ToTensor(),
                Cutout(),
                end,
            ]
        ),
        "simaugment": transforms.Compose(
            [
                transforms.RandomResizedCrop(side, (0.2, 1.0)),
                transforms.RandomHorizontalFlip(),
                transforms.RandomApply([jitter], 0.8),
                transforms.RandomGrayscale(0.2),
                transforms.RandomApply([blur], 0.5),
                transforms.ToTensor(),
                end,
            ]
        ),
    }


class Views(Dataset):
    """Views of each image, made when it is asked for: what a DataLoader's workers run.

    Args:
        data: RGB images, held as PIL ones.
        names: the recipe of each view.
    """

    def __init__(self, data: LongTailed, names: list[str]) -> None:
        pixels = torch.as_tensor(data.images).permute(0, 2, 3, 1).numpy()
        self.images = [Image.fromarray(np.ascontiguousarray(one)) for one in pixels]
        self.labels = data.labels.tolist()
        known = recipes(data)
        self.recipes = [known[name] for name in names]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """(V, 3, H, W) float32 views, and the label."""
        image = self.images[index]
        return torch.stack([recipe(image) for recipe in self.recipes]), self.labels[index]

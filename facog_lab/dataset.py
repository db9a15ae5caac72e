"""A long-tailed data set: which images of a larger one are kept, and a record of them.

Data sets by name, folders, zips and arrays are read in `data`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

Report = Callable[[str], None]  # takes a line of text now and then while something is read


class LateImages(Protocol):
    """Images that are decoded when they are asked for, indexed like a tensor."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, channels, side, side)."""
        ...

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation to normalise each channel by, on the scale from 0 to 1."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor | slice | int) -> Tensor: ...

    def content(self, report: Report | None = None) -> str:
        """A hash of what they are made of."""
        ...


Images = Tensor | LateImages


@dataclass(frozen=True, eq=False, repr=False)
class LongTailed:
    """A long-tailed training set with its test set.

    Attributes:
        name: of the data set, e.g. "fashion_mnist"; a folder's own name.
        class_names: C of them.
        available: C numbers, images of each class in the source's training set.
        images: (N, channels, side, side) uint8; or `LateImages`, where they do not fit in memory.
        labels: (N,) int64.
        index: (N,) int64, positions in the source's full training set, ascending: the split.
        test_images: (M, channels, side, side) uint8, likewise.
        test_labels: (M,) int64.
        test_protocols: positions in the test set by protocol: always "full"; "gamo" for MNIST and
            Fashion-MNIST, 100 of the first 800 images of each class.
        mean: of each channel on the scale from 0 to 1, over the training images (ImageNet's for
            `LateImages`).
        std: likewise, above 0.
        split_hash: SHA-256 of index and labels as little-endian int64.
        fingerprint: of the split and all images and test labels; what a run's key is made of.
        audit: the check of a user's own data, see `data.audit`; None for published sets.
    """

    name: str
    class_names: tuple[str, ...]
    available: tuple[int, ...]
    images: Images
    labels: Tensor
    index: Tensor
    test_images: Images
    test_labels: Tensor
    test_protocols: dict[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split_hash: str
    fingerprint: str
    audit: Any = None

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)

    @property
    def class_counts(self) -> Tensor:
        """(C,) int64: training images of each class."""
        return self.labels.bincount(minlength=self.num_classes)

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self.images.shape[1]

    @property
    def side(self) -> int:
        """Width and height of an image, in pixels."""
        return self.images.shape[-1]

    @property
    def imbalance_ratio(self) -> float:
        """Largest class / smallest class."""
        return (self.class_counts.max() / self.class_counts.min()).item()

    def __repr__(self) -> str:
        counts = self.class_counts
        return (
            f"{self.name}: {len(self.labels):,} training images of {self.channels}×{self.side}×"
            f"{self.side} in {self.num_classes} classes, {counts.max():,} to {counts.min():,} "
            f"(ratio {self.imbalance_ratio:.3g}); {len(self.test_labels):,} test images"
        )


def build(
    name: str,
    class_names: tuple[str, ...],
    available: tuple[int, ...],
    images: Images,
    labels: Tensor,
    index: Tensor,
    test_images: Images,
    test_labels: Tensor,
    report: Report | None = None,
    **more: Any,
) -> LongTailed:
    """A data set of its parts, with what is computed from them; `more` are further fields."""
    mean, std = _statistics(images) if isinstance(images, Tensor) else images.statistics
    split_hash = sha256(index, labels)
    return LongTailed(
        name=name,
        class_names=class_names,
        available=available,
        images=images,
        labels=labels,
        index=index,
        test_images=test_images,
        test_labels=test_labels,
        mean=mean,
        std=std,
        split_hash=split_hash,
        fingerprint=sha256(split_hash, images, test_images, test_labels, report=report),
        **{"test_protocols": {"full": torch.arange(len(test_labels))}} | more,
    )


def sha256(*parts: str | Images, report: Report | None = None) -> str:
    """Of texts, the little-endian bytes of tensors, and the content of image files."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            array = part.contiguous().numpy()
            total.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
        else:
            total.update((part if isinstance(part, str) else part.content(report)).encode())
    return total.hexdigest()


def _statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, on the scale from 0 to 1, exact.

    The deviation is at least one grey level, so that constant images can be divided by it.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in images.unbind(1):
        share = channel.flatten().bincount(minlength=256).double() / channel.numel()  # by level
        mean = (share * levels).sum().item()
        means.append(mean)
        stds.append(max(1 / 255, math.sqrt((share * (levels - mean) ** 2).sum().item())))
    return tuple(means), tuple(stds)

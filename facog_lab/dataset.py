"""A long-tailed data set: which images of a larger one are kept, and a record of them.

Data sets by name, folders, zips and arrays are read in `data`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import torch
from torch import Tensor

from facog_lab.config import DataError
from facog_lab.rng import rng_for
from facog_lab.settings import Profile

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


def choose(
    name: str,
    labels: Tensor,
    class_names: Sequence[str],
    profile: Profile,
    ratio: float,
    split_seed: int,
) -> Tensor:
    """(n,) int64, ascending: the images that a long-tailed subset keeps."""
    available = labels.bincount(minlength=len(class_names)).tolist()
    counts = long_tail_counts(profile, available, ratio, class_names)
    return draw(by_class(labels, len(counts)), counts, rng_for("cpu", "split", name, split_seed))


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


GAMO_COUNTS = (4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40)
NEAR = 1e-9  # of a whole number, relative: there, rounding decides what a float is truncated to


def long_tail_counts(
    profile: Profile,
    available: Sequence[int],
    imbalance_ratio: float,
    class_names: Sequence[str] | None = None,
) -> list[int]:
    """How many images of each class a long-tailed subset has.

    exponential [LDAM-DRW]: n_i = int(N_max · (1/ratio)^(i/(C-1))), N_max the largest class found,
    i the class's rank by images found: the order of labels where all classes are equal, as in
    CIFAR. gamo [GAMO]: 4,000 to 40, in the order of labels. as_found: all.

    Args:
        profile: its name.
        available: images found of each class, in the order of labels.
        imbalance_ratio: of exponential, at least 1.
        class_names: for the errors.

    Raises:
        DataError: naming a class with fewer images than the profile asks, or none.
    """
    names = class_names or [f"class {label}" for label in range(len(available))]
    empty = [name for name, count in zip(names, available, strict=True) if count == 0]
    if empty:
        raise DataError(f"Class {empty[0]!r} has no training images. Add some, or leave it out.")
    if profile == "as_found":
        return list(available)
    if profile == "gamo":
        if len(available) != len(GAMO_COUNTS):
            raise DataError(
                f"profile = 'gamo' is made for ten classes, and there are {len(available)}: use "
                "'exponential' or 'as_found'."
            )
        counts, at = list(GAMO_COUNTS), ""
    else:
        counts = _exponential(available, imbalance_ratio)
        at = f" at imbalance_ratio {imbalance_ratio:g}"
    for name, wanted, found in zip(names, counts, available, strict=True):
        if not 1 <= wanted <= found:
            remedy = _remedy(available, wanted) if at else "use profile = 'exponential'"
            raise DataError(
                f"Class {name!r} has {found:,} training images, and profile {profile!r}{at} "
                f"asks for {wanted:,}: {remedy}."
            )
    return counts


def _exponential(available: Sequence[int], ratio: float) -> list[int]:
    largest, last = max(available), max(1, len(available) - 1)
    counts = [0] * len(available)
    for rank, label in enumerate(sorted(range(len(available)), key=lambda i: -available[i])):
        counts[label] = _truncated(largest, ratio, rank, last)
    return counts


def _truncated(largest: int, ratio: float, rank: int, last: int) -> int:
    """int(largest · (1/ratio)^(rank/last)), exact where the float is close to a whole number."""
    value = largest * (1 / ratio) ** (rank / last)
    whole = round(value)
    if abs(value - whole) > NEAR * whole:
        return int(value)
    exact = Fraction(repr(float(ratio)))  # as it was written: 2.1 and not the float next to it
    return whole if largest**last >= whole**last * exact**rank else whole - 1


def _remedy(available: Sequence[int], wanted: int) -> str:
    """A suggestion: ratios for which no class needs more images than it has."""
    ranked, last = sorted(available, reverse=True), max(1, len(available) - 1)
    most = min(10_000, ranked[0])  # of larger ones the last class is asked for no image
    # The ratio at which a class would be asked for one image more than it has.
    needed = max(
        ((ranked[0] / (n + 1)) ** (last / i) for i, n in enumerate(ranked) if i), default=1
    )
    least = max(1, math.floor(min(needed, most)))
    if _exceeds(available, least):  # floats may have been rounded to the other side of a whole one
        least += 1
    if least > most or _exceeds(available, least):
        return "use profile = 'as_found'"
    bound = f"of at most {most:,}" if wanted < 1 else f"of at least {least:,}"
    return f"take an imbalance_ratio {bound}, or profile = 'as_found'"


def _exceeds(available: Sequence[int], ratio: float) -> bool:
    return any(a < b for a, b in zip(available, _exponential(available, ratio), strict=True))


def by_class(labels: Tensor, num_classes: int) -> tuple[Tensor, ...]:
    """The positions of each class, ascending."""
    return labels.argsort(stable=True).split(labels.bincount(minlength=num_classes).tolist())


def draw(places: Sequence[Tensor], counts: Sequence[int], rng: torch.Generator) -> Tensor:
    """So many of each class's positions without replacement; all of them ascending.

    A class's order does not depend on the counts: the subset of a larger ratio is a part of that
    of a smaller one.
    """
    kept = [
        of_class[torch.randperm(len(of_class), generator=rng)[:count]]
        for of_class, count in zip(places, counts, strict=True)
    ]
    return torch.cat(kept).sort()[0]


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

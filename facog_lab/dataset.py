"""Makes and describes a long-tailed data set: which images of a source are kept, and their record.

`load` is the way in. Reading the sources is in `sources` (each known data set), `layout` and
`lists` (one's own), `images` (decoding files) and `files` (folders, zips); `audit` looks at what
was found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from facog_lab.config import Config, unknown
from facog_lab.data import audit, builtin
from facog_lab.data.audit import Audit
from facog_lab.data.builtin import find_data, project_root
from facog_lab.data.contents import Report
from facog_lab.data.decode import ImageFiles, Images, channel_statistics, chosen
from facog_lab.data.listing import DataError
from facog_lab.data.long_tail import Profile, long_tail_counts
from facog_lab.rng import rng_for

__all__ = [
    "DataConfig",
    "DataError",
    "ImageFiles",
    "LongTailed",
    "find_data",
    "fingerprint",
    "load",
    "long_tail_counts",
    "project_root",
]

DATASETS = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet_lt", "folder:PATH")
FILE_SETTINGS = ("image_size", "image_root", "train_list", "test_list")


class DataConfig(Config):
    """Which data set, and how its long tail is made."""

    dataset: str = Field("digits", description="one of " + ", ".join(DATASETS))
    profile: Profile = Field(
        "exponential",
        description="exponential: from the largest class down to 1/imbalance_ratio of it; gamo: "
        "4,000 to 40 over ten classes; as_found: every image",
    )
    imbalance_ratio: float = Field(
        20, ge=1, le=10_000, description="largest class / smallest class, of exponential only"
    )
    split_seed: int = Field(0, ge=0, lt=2**31, description="draws the images of each class")
    image_root: str | None = Field(
        None, description="imagenet_lt: the folder that the lists' paths start from"
    )
    train_list: str | None = Field(
        None, description="imagenet_lt: list of training images, if not ImageNet_LT_train.txt"
    )
    test_list: str | None = Field(
        None, description="imagenet_lt: list of test images, if not ImageNet_LT_test.txt"
    )
    image_size: int | None = Field(
        None,
        ge=8,
        le=512,
        description="folder and imagenet_lt: images are scaled to this shorter side, in pixels, "
        "and cropped to a square; None: their own side if all are equal and square, else 64 "
        "(imagenet_lt: 256)",
    )

    @field_validator("dataset")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in ("folder", "folder:", "folder:PATH"):
            raise ValueError("write the path of a folder or a .zip after `folder:`.")
        if value not in DATASETS and not value.startswith("folder:"):
            raise ValueError(unknown(value, DATASETS, "data set"))
        return value

    @model_validator(mode="after")
    def _fits_the_dataset(self) -> DataConfig:
        family = self.dataset.split(":")[0]
        used = {"folder": FILE_SETTINGS[:1], "imagenet_lt": FILE_SETTINGS}.get(family, ())
        for name in FILE_SETTINGS:
            if name not in used and getattr(self, name) is not None:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r}: {family} has no use for it; leave it None."
                )
        return self


@dataclass(frozen=True, eq=False, repr=False)
class LongTailed:
    """A long-tailed training set with its test set.

    Attributes:
        name: of the data set, e.g. "fashion_mnist"; a folder's own name.
        class_names: C of them.
        available: C numbers, images of each class in the source's training set.
        images: (N, channels, side, side) uint8; `ImageFiles` where they do not fit in memory, which
            is indexed alike.
        labels: (N,) int64.
        index: (N,) int64, positions in the source's full training set, ascending: the split.
        test_images: (M, channels, side, side) uint8, likewise.
        test_labels: (M,) int64.
        test_protocols: positions in the test set by protocol: always "full"; "gamo" for MNIST and
            Fashion-MNIST, 100 of the first 800 images of each class.
        mean: of each channel on the scale from 0 to 1, over the training images (ImageNet's for
            `ImageFiles`).
        std: likewise, above 0.
        split_hash: SHA-256 of index and labels as little-endian int64.
        fingerprint: of the split and all images and test labels; what a run's key is made of.
        audit: what was found in one's own data; None for published sets.
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
    audit: Audit | None = None

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


def load(config: DataConfig, *, report: Report | None = None) -> LongTailed:
    """The long-tailed data set that a config asks for.

    Args:
        config: its settings.
        report: takes a line of text now and then while images are downloaded or decoded.

    Raises:
        DataError: for data that are missing, damaged, or too few for the profile.
    """
    report = report or (lambda line: None)
    name, source = builtin.name_of(config), builtin.read(config, report)
    available = source.labels.bincount(minlength=len(source.class_names)).tolist()
    counts = long_tail_counts(config.profile, available, config.imbalance_ratio, source.class_names)
    rng = rng_for("cpu", "split", name, config.split_seed)
    index = _draw(_by_class(source.labels, len(counts)), counts, rng)
    labels = source.labels[index]
    published = not config.dataset.startswith("folder:")
    if found := audit.look(name, source, index, published, report):
        report(str(found))
    images, test_images = chosen(source, index, report)
    mean, std = channel_statistics(images)
    split_hash = _sha256(index, labels)
    return LongTailed(
        name=name,
        class_names=source.class_names,
        available=tuple(available),
        images=images,
        labels=labels,
        index=index,
        test_images=test_images,
        test_labels=source.test_labels,
        test_protocols=_protocols(config.dataset, source.test_labels, config.split_seed),
        mean=mean,
        std=std,
        split_hash=split_hash,
        fingerprint=_sha256(split_hash, images, test_images, source.test_labels, report=report),
        audit=found,
    )


def fingerprint(config: DataConfig, report: Report | None = None) -> str:
    """SHA-256 of all that a data set holds: images, labels, names of classes.

    Unlike `LongTailed.fingerprint`, whatever subset is kept of it, and without decoding files.

    Args:
        config: its settings; profile, ratio and split seed play no part.
        report: takes a line of progress now and then.

    Raises:
        DataError: for data that are missing or damaged.
    """
    source = builtin.read(config, report or (lambda line: None))
    parts = [source.images, source.labels, source.test_images, source.test_labels]
    return _sha256(*source.class_names, *parts, report=report)


def _protocols(dataset: str, test_labels: Tensor, split_seed: int) -> dict[str, Tensor]:
    protocols = {"full": torch.arange(len(test_labels))}
    if dataset in ("mnist", "fashion_mnist"):
        rng = rng_for("cpu", "gamo test", dataset, split_seed)
        first = [places[:800] for places in _by_class(test_labels, 10)]
        protocols["gamo"] = _draw(first, [100] * 10, rng)
    return protocols


def _by_class(labels: Tensor, num_classes: int) -> tuple[Tensor, ...]:
    """The positions of each class, ascending."""
    return labels.argsort(stable=True).split(labels.bincount(minlength=num_classes).tolist())


def _draw(places: Sequence[Tensor], counts: Sequence[int], rng: torch.Generator) -> Tensor:
    """So many of each class's positions without replacement; all of them ascending.

    A class's order does not depend on the counts: the subset of a larger ratio is a part of that
    of a smaller one.
    """
    kept = [
        of_class[torch.randperm(len(of_class), generator=rng)[:count]]
        for of_class, count in zip(places, counts, strict=True)
    ]
    return torch.cat(kept).sort()[0]


def _sha256(*parts: str | Images, report: Report | None = None) -> str:
    """Of texts, the little-endian bytes of tensors, and the content of image files."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            array = part.contiguous().numpy()
            total.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
        else:
            total.update((part if isinstance(part, str) else part.content(report)).encode())
    return total.hexdigest()

"""Reads each known data set whole, from wherever it lies: labels now, images where cheap."""

from __future__ import annotations

import dataclasses
import gzip
import math
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facog_lab.config import DataError
from facog_lab.data.decode import Source, class_source
from facog_lab.data.files import open_files
from facog_lab.data.places import data_folders, folder_path
from facog_lab.dataset import Report
from facog_lab.paths import locked, outputs_root, project_root
from facog_lab.registry import register_dataset
from facog_lab.rng import rng_for
from facog_lab.settings import DataConfig

CIFAR = {
    "family": "known",
    "data": {"profile": "exponential", "imbalance_ratio": 100},
    "phase1": {"augmentation": "autoaugment_cutout"},
    "presets": {"paper": ({"epochs": 160}, {"epochs": 40})},
    "auto": "paper",
}
# Where each data set may lie in one of the data folders; the first that is there is taken.
PLACES = {
    "mnist": ("MNIST/raw", "mnist"),
    "fashion_mnist": ("FashionMNIST/raw", "fashion-mnist"),
    "cifar10": ("cifar-10-batches-py", "cifar10.zip", "cifar10"),
    "cifar100": ("cifar-100-python", "cifar100.zip", "cifar100"),
}
DOWNLOADS = {  # torchvision's classes
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MAX_IDX_BYTES = 2**26  # unpacked; 60,000 images of 28×28 take 47 MB
DIGITS = tuple("0123456789")
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
DIGITS_TEST = 50  # images of each class


def find_data(name: str) -> Path | None:
    """The folder or zip that holds a data set, or None; see `PLACES` and `data_folders`."""
    for path in _places(name):
        files = [idx_file(path, file) for file in IDX_FILES if name.endswith("mnist")]
        if path.exists() and None not in files:
            return path
    return None


def _places(name: str) -> list[Path]:
    return [folder / place for folder in data_folders() for place in PLACES[name]]


def _of_torchvision(name: str) -> Callable[..., Any]:
    from torchvision import datasets  # seconds to import, and few need it

    return getattr(datasets, DOWNLOADS[name])


def find_or_download(name: str, report: Report) -> Path:
    """Where a data set lies; it is downloaded into the project's data/ if it is nowhere.

    Raises:
        DataError: if the download fails, saying which files to put where.
    """
    if found := find_data(name):
        return found
    root = project_root() / "data"
    try:
        with locked(outputs_root() / ".locks" / f"download-{name}.lock"):
            if found := find_data(name):  # another process has got it meanwhile
                return found
            report(f"Downloading {name} into {root}, once")
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=".") as folder:
                _of_torchvision(name)(folder, download=True)
                place = root / PLACES[name][0]  # of the whole, at once: others look for it
                place.parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / PLACES[name][0]).rename(place)
    except (OSError, RuntimeError) as error:
        wanted = f"what the archive of {name} unpacks to, or class folders, at one of these places"
        if name.endswith("mnist"):
            wanted = ", ".join(f"{file}.gz" for file in IDX_FILES) + " into one of these folders"
        reason = " ".join(str(error).split())  # torchvision's is of many lines
        places = "".join(f"\n  {path}" for path in _places(name))
        raise DataError(
            f"{name} could not be downloaded ({reason}). Put {wanted} (data/README.md says where "
            "to get them), or name the folder above it in the environment variable "
            f"FACOG_DATA:{places}"
        ) from error
    return root / PLACES[name][0]


def idx_file(folder: Path, name: str) -> Path | None:
    """An IDX file, plain or compressed, if it is there."""
    paths = (folder / name, folder / f"{name}.gz")
    return next((path for path in paths if path.is_file()), None)


def read_idx(path: Path) -> Tensor:
    """An IDX file of bytes, e.g. (60000, 28, 28) uint8.

    Raises:
        DataError: if it is damaged, or not of the size given in its header.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(MAX_IDX_BYTES + 1)
        if len(raw) > MAX_IDX_BYTES:
            raise OSError(f"more than {MAX_IDX_BYTES:,} bytes")
        start = 4 + 4 * raw[3]
        shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    except (OSError, EOFError, zlib.error, IndexError, struct.error) as error:
        raise DataError(f"{path}: damaged ({error}). Delete it and run again.") from error
    if raw[:3] != b"\x00\x00\x08" or len(raw) - start != math.prod(shape):
        raise DataError(
            f"{path}: its header tells of {shape} bytes, and {len(raw) - start:,} follow. Delete "
            "it and run again."
        )
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy())


@register_dataset(
    "digits",
    label="digits",
    family="known",
    about="1,797 digits of 8×8, nothing to download",
    data={"profile": "exponential", "imbalance_ratio": 20},
    phase1={"augmentation": "crop"},
    # An epoch of phase 2 is 4 steps here: as many epochs as G needs steps to settle.
    presets={"cpu": ({"batch_size": 128, "lr": 0.2}, {"epochs": 200})},
)
def digits(config: DataConfig, report: Report) -> Source:
    """Scikit-learn's 1,797 digits of 1×8×8; always the same 50 of each class are the test set."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            "digits come with scikit-learn, which is not installed: `pip install scikit-learn`, or "
            "choose another data set."
        ) from error
    found = load_digits()
    images = torch.from_numpy(found.images * (255 / 16)).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(found.target).long()
    train, test = digits_split(labels)
    return Source(DIGITS, images[train], labels[train], images[test], labels[test])


@register_dataset(
    "mnist",
    label="MNIST-LT",
    family="known",
    about="70,000 digits of 28×28",
    data={"profile": "gamo"},
    phase1={"augmentation": "crop"},
)
def mnist(config: DataConfig, report: Report) -> Source:
    """MNIST."""
    return mnist_family("mnist", report)


@register_dataset(
    "fashion_mnist",
    label="Fashion-MNIST-LT",
    family="known",
    about="70,000 clothes of 28×28",
    data={"profile": "gamo"},
    phase1={"augmentation": "crop_flip"},
)
def fashion_mnist(config: DataConfig, report: Report) -> Source:
    """Fashion-MNIST."""
    return mnist_family("fashion_mnist", report)


def mnist_family(name: str, report: Report) -> Source:
    """MNIST or Fashion-MNIST: 60,000 + 10,000 images of 1×28×28, in the original order."""
    folder = find_or_download(name, report)
    paths = [path for file in IDX_FILES if (path := idx_file(folder, file))]
    images, labels, test_images, test_labels = map(read_idx, paths)
    for x, y in ((images, labels), (test_images, test_labels)):
        if x.ndim != 3 or x.shape[1] != x.shape[2] or y.shape != x.shape[:1] or (y > 9).any():
            raise DataError(
                f"{folder}: images of shape {tuple(x.shape)} and labels of shape {tuple(y.shape)}, "
                f"which must be from 0 to 9, do not make {name}. Delete the four files and run "
                "again."
            )
    return Source(
        FASHION if name == "fashion_mnist" else DIGITS,
        images[:, None],
        labels.long(),
        test_images[:, None],
        test_labels.long(),
    )


@register_dataset(
    "cifar10", label="CIFAR-10-LT", about="60,000 photographs of 32×32, 10 classes", **CIFAR
)
def cifar10(config: DataConfig, report: Report) -> Source:
    """CIFAR-10."""
    return cifar("cifar10", report)


@register_dataset(
    "cifar100", label="CIFAR-100-LT", about="60,000 photographs of 32×32, 100 classes", **CIFAR
)
def cifar100(config: DataConfig, report: Report) -> Source:
    """CIFAR-100."""
    return cifar("cifar100", report)


def cifar(name: str, report: Report) -> Source:
    """CIFAR-10 or CIFAR-100, in torchvision's own form or as class folders, 3×32×32."""
    path = find_or_download(name, report)
    num_classes = int(name.removeprefix("cifar"))
    if path.name in ("cifar10", "cifar100") or path.suffix == ".zip":
        source = class_source(open_files(path), 32, 3)
        found = len(source.class_names), len(source.test_labels)
        if found != (num_classes, 10_000):
            raise DataError(
                f"{path}: {found[0]} classes and {found[1]:,} test images, not the {num_classes} "
                f"and 10,000 of {name}. Delete it and run again."
            )
        return dataclasses.replace(source, layout=None)  # published: nothing to say of it
    try:
        train, test = (_of_torchvision(name)(path.parent, train=train) for train in (True, False))
    except RuntimeError as error:
        raise DataError(f"{path}: damaged ({error}). Delete it and run again.") from error
    (images, labels), (test_images, test_labels) = (
        (torch.from_numpy(half.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(half.targets))
        for half in (train, test)
    )
    return Source(tuple(train.classes), images, labels, test_images, test_labels)


def digits_split(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the training and the test images among the 1,797."""
    rng = rng_for("cpu", "digits", "test")
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        places = (labels == label).nonzero()[:, 0]
        is_test[places[torch.randperm(len(places), generator=rng)[:DIGITS_TEST]]] = True
    return (~is_test).nonzero()[:, 0], is_test.nonzero()[:, 0]


@register_dataset(
    "folder",
    label="a folder of images",
    family="own",
    about="class folders, or a zip of them",
    data={"profile": "as_found"},
    phase1={"augmentation": "standard"},
    uses=("image_size",),
    # One's own images are often few: small batches, so that an epoch has some steps.
    presets={"cpu": ({"batch_size": 64, "lr": 0.1}, {"epochs": 100, "batch_size": 64})},
)
def folder(config: DataConfig, report: Report) -> Source:
    """A folder of class folders, or a zip of one."""
    return class_source(open_files(folder_path(config)), config.image_size, report=report)

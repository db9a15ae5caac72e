"""Reads each known data set whole, from wherever it lies: labels now, images where cheap."""

from __future__ import annotations

import dataclasses
import gzip
import math
import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from facog_lab import draws
from facog_lab.contents import Report
from facog_lab.disk import locked, named_folder, outputs_root, project_root, shortened
from facog_lab.files import Folder, open_files
from facog_lab.images import ImageFiles, Source, class_source
from facog_lab.listing import DataError
from facog_lab.lists import read_pair

if TYPE_CHECKING:
    from facog_lab.datasets import DataConfig

PACKAGED = Path("/usr/share/datasets")  # where Debian's packages put data sets
# Where each data set may lie in one of the data folders; the first that is there is taken.
PLACES = {
    "mnist": ("MNIST/raw", "mnist"),
    "fashion_mnist": ("FashionMNIST/raw", "fashion-mnist"),
    "cifar10": ("cifar-10-batches-py", "cifar10.zip", "cifar10"),
    "cifar100": ("cifar-100-python", "cifar100.zip", "cifar100"),
    "imagenet_lt": ("imagenet_lt",),
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


def read(config: DataConfig, report: Report) -> Source:
    """The data set that a config names, whole."""
    family = config.dataset.split(":")[0]
    if family == "folder":
        return class_source(open_files(_folder_path(config)), config.image_size, report=report)
    if family == "imagenet_lt":
        return imagenet_lt(config)
    if family == "digits":
        return digits()
    return (cifar if family.startswith("cifar") else mnist_family)(family, report)


def name_of(config: DataConfig) -> str:
    """What a data set is called: its name, or that of its folder or zip."""
    if not config.dataset.startswith("folder:"):
        return config.dataset
    path = _folder_path(config)
    return path.stem if path.suffix.lower() == ".zip" else path.name


def _folder_path(config: DataConfig) -> Path:
    return user_path(config.dataset.removeprefix("folder:"))


def user_path(text: str) -> Path:
    """A path as given: from the current folder, or else from the project's root.

    Raises:
        DataError: if no path can be so.
    """
    path = Path(os.path.expanduser(text))  # where nobody has that home, there is no such folder
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{shortened(text)}: no path ({reason}). Give one that exists.") from None
    # Not resolved: a link's own name is the data set's.
    return Path(os.path.abspath(path if path.exists() else project_root() / path))


def data_folders() -> list[Path]:
    """Where data is looked for: the project's data/, FACOG_DATA, the distribution's packages."""
    named = named_folder("FACOG_DATA")
    return [project_root() / "data", *([named] if named else []), PACKAGED]


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
        DataError: if it is damaged, or not of the size that its header tells.
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


def digits() -> Source:
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


def digits_split(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the training and the test images among the 1,797."""
    rng = draws.generator("cpu", "digits", "test")
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        places = (labels == label).nonzero()[:, 0]
        is_test[places[torch.randperm(len(places), generator=rng)[:DIGITS_TEST]]] = True
    return (~is_test).nonzero()[:, 0], is_test.nonzero()[:, 0]


def imagenet_lt(config: DataConfig) -> Source:
    """Images named by two lists, those of ImageNet-LT (OLTR) unless the config gives others.

    Raises:
        DataError: for a root that is missing, and see `lists.read_pair`.
    """
    root = user_path(config.image_root) if config.image_root else find_data("imagenet_lt")
    if root is None or not root.is_dir():
        where = f"{root} is no folder" if root else "no data folder holds imagenet_lt/"
        raise DataError(
            f"imagenet_lt: {where}. ImageNet is not downloaded: set image_root to the folder that "
            "holds its train/ and val/."
        )
    pair = read_pair(
        _list_path(root, "train", config.train_list), _list_path(root, "test", config.test_list)
    )
    files, side = Folder(root), config.image_size or 256
    images, test_images = (ImageFiles(files, half.names, side, 3) for half in pair[1:3])
    labels, test_labels = (torch.tensor(half.labels) for half in pair[1:3])
    return Source(pair.class_names, images, labels, test_images, test_labels, pair.layout)


def _list_path(root: Path, half: str, given: str | None) -> Path:
    """The list of a half, as given, or under OLTR's name in the root or a data folder."""
    if given:
        return user_path(given)
    paths = [folder / f"ImageNet_LT_{half}.txt" for folder in (root, *data_folders())]
    if found := next((path for path in paths if path.is_file()), None):
        return found
    raise DataError(
        f"imagenet_lt: {paths[0].name} is in none of {', '.join(str(p.parent) for p in paths)}. "
        f"Put it there, or set {half}_list to its path."
    )

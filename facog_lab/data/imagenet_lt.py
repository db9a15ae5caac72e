"""ImageNet-LT, or any images that two lists name."""

from __future__ import annotations

from pathlib import Path

import torch

from facog_lab.config import DataError
from facog_lab.data.decode import ImageFiles, Source
from facog_lab.data.files import Folder
from facog_lab.data.lists import read_pair
from facog_lab.data.places import data_folders, user_path
from facog_lab.dataset import Report
from facog_lab.registry import register_dataset
from facog_lab.settings import DataConfig


@register_dataset(
    "imagenet_lt",
    label="ImageNet-LT",
    family="known",
    about="115,846 photographs, 1,000 classes",
    data={"profile": "as_found"},
    phase1={"augmentation": "imagenet", "crop_size": 224},
    uses=("image_size", "image_root", "train_list", "test_list"),
    presets={
        "cpu": None,
        "paper": (
            {"architecture": "resnext50", "feature_dim": 0, "projection_dim": 1024, "epochs": 90},
            {"epochs": 10},
        ),
    },
    auto="paper",
)
def imagenet_lt(config: DataConfig, report: Report) -> Source:
    """Images named by two lists, those of ImageNet-LT (OLTR) unless the config gives others.

    Raises:
        DataError: for a root that is missing, and see `lists.read_pair`.
    """
    root = user_path(config.image_root) if config.image_root else _root()
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


def _root() -> Path | None:
    """The folder of ImageNet's images in a data folder, or None."""
    places = (folder / "imagenet_lt" for folder in data_folders())
    return next((place for place in places if place.exists()), None)


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

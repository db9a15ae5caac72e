"""The long-tailed data set that settings ask for."""

from __future__ import annotations

import torch
from torch import Tensor

from facog_lab import registry
from facog_lab.config import DataError
from facog_lab.data import audit
from facog_lab.data.decode import Source, chosen
from facog_lab.data.long_tail import by_class, choose, draw
from facog_lab.data.places import name_of
from facog_lab.dataset import Images, LongTailed, Report, build, sha256
from facog_lab.rng import rng_for
from facog_lab.settings import DataConfig


def load(config: DataConfig, *, report: Report | None = None) -> LongTailed:
    """The long-tailed data set that a config asks for.

    Args:
        config: its settings.
        report: takes a line of text now and then while images are downloaded or decoded.

    Raises:
        DataError: for data that are missing, damaged, or too few for the profile.
    """
    report = report or (lambda line: None)
    name, source = name_of(config), read(config, report)
    names = source.class_names
    ratio, seed = config.imbalance_ratio, config.split_seed
    index = choose(name, source.labels, names, config.profile, ratio, seed)
    if found := audit.look(name, source, index, config.family != "folder", report):
        report(str(found))
    images, test_images = chosen(source, index, report)
    return build(
        name,
        names,
        tuple(source.labels.bincount(minlength=len(names)).tolist()),
        images,
        source.labels[index],
        index,
        test_images,
        source.test_labels,
        report,
        test_protocols=protocols(config.dataset, source.test_labels, seed),
        audit=found,
    )


def left_out(config: DataConfig, *, report: Report | None = None) -> tuple[Images, Tensor]:
    """The training images that the long tail leaves out, in the source's order, and their labels.

    Args:
        config: its settings.
        report: takes a line of text now and then.

    Raises:
        DataError: if it leaves none out, or the data are missing or damaged.
    """
    name, source = name_of(config), read(config, report or (lambda line: None))
    labels, names = source.labels, source.class_names
    ratio, seed = config.imbalance_ratio, config.split_seed
    rest = torch.ones(len(labels), dtype=torch.bool)
    rest[choose(name, labels, names, config.profile, ratio, seed)] = False
    if not rest.any():
        raise DataError(
            f"{name} is used whole (profile = {config.profile!r}), so no image is left out. Take "
            "another profile, or look at the learning curve instead."
        )
    index, images = rest.nonzero()[:, 0], source.images
    return images[index] if isinstance(images, Tensor) else images.take(index), labels[index]


def read(config: DataConfig, report: Report) -> Source:
    """The data set that a config names, whole."""
    source: Source = registry.datasets[config.family].make(config, report)
    return source


def fingerprint(config: DataConfig, report: Report | None = None) -> str:
    """SHA-256 of all that a data set holds: images, labels, names of classes.

    Unlike `LongTailed.fingerprint`, whatever subset is kept of it, and without decoding files.

    Args:
        config: its settings; profile, ratio and split seed play no part.
        report: takes a line of progress now and then.

    Raises:
        DataError: for data that are missing or damaged.
    """
    source = read(config, report or (lambda line: None))
    parts = [source.images, source.labels, source.test_images, source.test_labels]
    return sha256(*source.class_names, *parts, report=report)


def protocols(dataset: str, test_labels: Tensor, split_seed: int) -> dict[str, Tensor]:
    """Positions in the test set by protocol: all, and GAMO's for the MNIST family."""
    found = {"full": torch.arange(len(test_labels))}
    if dataset in ("mnist", "fashion_mnist"):
        rng = rng_for("cpu", "gamo test", dataset, split_seed)
        first = [places[:800] for places in by_class(test_labels, 10)]
        found["gamo"] = draw(first, [100] * 10, rng)
    return found

"""Arrays of images as a long-tailed data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from facog_lab.config import DataError
from facog_lab.dataset import LongTailed, build, by_class, choose, draw
from facog_lab.rng import rng_for
from facog_lab.settings import Profile

HELD_OUT = 0.2  # of each class, where no test images are given


def make_long_tailed(
    images: ArrayLike | Tensor,
    labels: ArrayLike | Tensor,
    *,
    test: tuple[Any, Any] | None = None,
    profile: Profile = "exponential",
    ratio: float = 20,
    name: str = "arrays",
    class_names: Sequence[str] | None = None,
    split_seed: int = 0,
) -> LongTailed:
    """A long-tailed data set of arrays, as a named one is made.

    Args:
        images: (N, H, H), (N, H, H, C) or (N, C, H, H) uint8, C 1 or 3.
        labels: (N,), one of each image: texts, or whole numbers.
        test: images and labels to test on; a fifth of each class is held out if there are none.
        profile: how many images each class keeps, see `long_tail_counts`.
        ratio: largest class / smallest class, of "exponential".
        name: of the data set; its runs lie under it, and it takes part in drawing the images.
        class_names: C names, in the order of the labels if these are the numbers 0 to C - 1; the
            labels themselves, sorted, if not given.
        split_seed: draws the images of each class.

    Raises:
        DataError: for images or labels of another kind, classes without training or test images,
            and too few images for the profile.
    """
    train_x = _as_images(images, "images")
    own = _as_labels(labels, "labels", len(train_x))
    test_x, of_test = train_x, own
    if test is not None:
        test_x = _as_images(test[0], "test images")
        of_test = _as_labels(test[1], "test labels", len(test_x))
    classes = np.unique(own)
    if class_names is not None and not np.array_equal(classes, np.arange(len(class_names))):
        raise DataError(
            f"{len(class_names)} class_names, and labels {classes[:5].tolist()}...: with names, "
            f"labels must be the numbers 0 to {len(class_names) - 1}, each at least once."
        )
    names = tuple(map(str, classes if class_names is None else class_names))
    if strange := sorted(set(of_test.tolist()) ^ set(classes.tolist()), key=str):
        where = "training" if strange[0] in of_test else "test"
        raise DataError(f"class {strange[0]!r} has no {where} images: add some, or leave it out.")
    y, test_y = (torch.from_numpy(np.searchsorted(classes, given)) for given in (own, of_test))
    if test is None:
        rng = rng_for("cpu", "held out", name)  # always the same, whatever the split
        shares = [max(1, round(HELD_OUT * n)) for n in y.bincount().tolist()]
        chosen = draw(by_class(y, len(names)), shares, rng)
        rest = torch.ones(len(y), dtype=torch.bool).index_fill_(0, chosen, False)
        test_x, test_y = train_x[chosen], y[chosen]
        train_x, y = train_x[rest], y[rest]
    index = choose(name, y, names, profile, ratio, split_seed)
    available = tuple(y.bincount(minlength=len(names)).tolist())
    return build(name, names, available, train_x[index], y[index], index, test_x, test_y)


def _as_images(given: ArrayLike | Tensor, what: str) -> Tensor:
    """(N, C, H, H) uint8, whichever way round they came."""
    x = torch.as_tensor(np.asarray(given))
    shape = tuple(x.shape)
    if x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.permute(0, 3, 1, 2)
    x = x[:, None] if x.ndim == 3 else x
    square = x.ndim == 4 and x.shape[2] == x.shape[3] and x.shape[1] in (1, 3)
    if not square or x.dtype != torch.uint8 or not len(x):
        raise DataError(
            f"{what}: {shape} of {x.dtype}, not (N, H, H), (N, H, H, C) or (N, C, H, H) "
            "of uint8 with one channel or three. Scale values to 0 to 255, and cut images square."
        )
    return x.contiguous()


def _as_labels(given: ArrayLike | Tensor, what: str, images: int) -> NDArray[Any]:
    """(N,) whole numbers or texts."""
    labels = np.asarray(given)
    labels = labels.astype(str) if labels.dtype.kind == "O" else labels
    if labels.shape != (images,) or labels.dtype.kind not in "iuU":
        raise DataError(
            f"{what}: shape {labels.shape} and type {labels.dtype} for {images:,} images. Give one "
            "label for each, a whole number or a text."
        )
    return labels

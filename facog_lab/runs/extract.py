"""All images of a phase 1 through its frozen backbone, into a feature dictionary."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from facog_lab.dataset import Images, LongTailed
from facog_lab.dictionary import FeatureDictionary
from facog_lab.phase1 import Phase1
from facog_lab.rng import derive_seed
from facog_lab.runs import distributed
from facog_lab.runs.environment import keep_freed_memory
from facog_lab.runs.mmap import Shapes
from facog_lab.runs.progress import Progress
from facog_lab.runs.store import Run, Saved, StoreError
from facog_lab.settings import DictionaryConfig
from facog_lab.views import make_views

BATCH = 500  # images in a forward pass; the result does not depend on it beyond rounding


def layout(phase1: Phase1, config: DictionaryConfig) -> Shapes:
    """Types and shapes of what `extract` makes, by name."""
    data, copies = phase1.data, 1 + config.views
    rows, test, width = copies * len(data.labels), len(data.test_labels), phase1.feature_dim
    return {
        "features": (torch.float32, (rows, width)),
        "labels": (torch.int64, (rows,)),
        "images": (torch.int64, (rows,)),
        "test_features": (torch.float32, (test, width)),
        "test_labels": (torch.int64, (test,)),
    }


def extract(
    phase1: Phase1,
    config: DictionaryConfig,
    report: Callable[[int], None] = lambda images: None,
    into: dict[str, Tensor] | None = None,
) -> FeatureDictionary:
    """All training and test images through the frozen backbone, in evaluation mode.

    Args:
        phase1: the finished loop; its model, data and views are used.
        config: how many augmented features to keep in addition to the clean ones.
        report: called with the number of images just done.
        into: tensors by `layout`, which several processes share and fill together; made in
            memory when None.

    Raises:
        ValueError: if a feature is not finite.
    """
    data, first = phase1.data, distributed.rank() == 0
    made = into or {
        name: torch.empty(s, dtype=t) for name, (t, s) in layout(phase1, config).items()
    }
    copies = 1 + config.views
    labels = data.labels.repeat(copies)
    order = labels.argsort(stable=True)
    row = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    if first:
        made["labels"].copy_(labels[order])
        made["images"].copy_(order % len(data.labels))
        made["test_labels"].copy_(data.test_labels)
    keep_freed_memory(phase1.device.type == "cpu")
    recipes = [("clean", 0, 0)]
    recipes += [(phase1.config.augmentation, config.seed, view) for view in range(config.views)]
    for recipe, rows in zip(recipes, row.chunk(copies), strict=True):
        _fill(made["features"], rows, phase1, data.images, recipe, report)
    test_rows = torch.arange(len(data.test_labels))
    _fill(made["test_features"], test_rows, phase1, data.test_images, recipes[0], report)
    keep_freed_memory(False)
    distributed.wait()
    return FeatureDictionary.from_tensors(made, data.class_names)


def features_of(
    phase1: Phase1, images: Images, report: Callable[[int], None] = lambda images: None
) -> Tensor:
    """(N, D) float32, the features of any N images of the data set's kind; see `extract`."""
    features = torch.empty(len(images), phase1.feature_dim)
    keep_freed_memory(phase1.device.type == "cpu")
    _fill(features, torch.arange(len(images)), phase1, images, ("clean", 0, 0), report)
    keep_freed_memory(False)
    return features


@torch.no_grad()
def _fill(
    features: Tensor,
    rows: Tensor,
    phase1: Phase1,
    images: Images,
    view: tuple[str, int, int],
    report: Callable[[int], None],
) -> None:
    """Puts the feature of one view of each image into its row; every process does some batches.

    Args:
        features: (R, D), to be filled.
        rows: (N,) int64, the row of each image.
        phase1: whose backbone is used.
        images: N of them.
        view: recipe, seed, and which view of an image.
        report: see `extract`.
    """
    phase1.model.eval()
    recipe, seed, number = view
    for batch, index in enumerate(torch.arange(len(images)).split(BATCH)):
        if batch % distributed.count() == distributed.rank():
            views = make_views(
                images[index].to(phase1.device),
                recipe,
                seed=derive_seed(seed, "dictionary"),
                epoch=0,
                index=index.to(phase1.device),
                view=number,
                size=phase1.config.crop_size or None,
                mean=phase1.data.mean,
                std=phase1.data.std,
            ).contiguous(memory_format=phase1.memory_format)
            made = phase1.model.backbone(views).float().cpu()
            if not made.isfinite().all():
                raise ValueError(
                    f"a feature of images {index[0]} to {index[-1]} holds NaN or infinity: phase 1 "
                    "must be made again."
                )
            features[rows[index]] = made
        report(len(index))


def make(trained: Phase1, config: DictionaryConfig, run: Run) -> None:
    """Makes a dictionary in its file, which all processes fill."""
    with contextlib.ExitStack() as stack:
        first = distributed.rank() == 0
        if first:
            stack.enter_context(run.making())
        if not distributed.broadcast(not first or run.load_or_warn() is None):
            return  # another notebook has made it meanwhile
        if first:
            stack.enter_context(run.reserve(layout(trained, config)))
        distributed.wait()
        started, long_tailed = time.monotonic(), trained.data
        images = len(long_tailed.labels) * (1 + config.views)
        total = images + len(long_tailed.test_labels)
        with Progress(total, "Dictionary", unit="image") as progress:
            extract(trained, config, progress.update, run.reserved())
        record = {
            "split_hash": long_tailed.split_hash,
            "seconds": time.monotonic() - started,
            "device": str(trained.device),
            "processes": distributed.count(),
        }
        if first:
            run.save_reserved(record)
        distributed.wait()


def checked(
    saved: Saved, run: Run, long_tailed: LongTailed, config: DictionaryConfig
) -> FeatureDictionary:
    """The dictionary that was saved, if all but the features is what its data make of it.

    Raises:
        StoreError: naming the folder, if it is not.
    """
    labels, test_labels, copies = long_tailed.labels, long_tailed.test_labels, 1 + config.views
    try:
        found = _Tensors(**saved.tensors)
        rows, test_rows = copies * len(labels), len(test_labels)
        width = found.features.shape[1]
        whole = (
            torch.equal(found.labels, labels.repeat(copies).sort()[0])
            and torch.equal(found.test_labels, test_labels)
            and torch.equal(found.images.sort()[0], torch.arange(rows) // copies)
            and torch.equal(labels[found.images], found.labels)
            and (found.features.shape, found.test_features.shape)
            == ((rows, width), (test_rows, width))
            and found.features.dtype == found.test_features.dtype == torch.float32
        )
    except (LookupError, TypeError, RuntimeError) as error:
        whole, reason = False, str(error)
    else:
        reason = "labels, image numbers or shapes are others"
    if not whole:
        raise StoreError(
            f"{run.folder} holds no features of {long_tailed.name} ({reason}). Remove the folder "
            "to make them again."
        )
    return FeatureDictionary.from_tensors(saved.tensors, long_tailed.class_names, saved.release)


class _Tensors(NamedTuple):
    """See FeatureDictionary.tensors."""

    features: Tensor
    labels: Tensor
    images: Tensor
    test_features: Tensor
    test_labels: Tensor

"""The feature dictionary L (§3.2): every training feature of the frozen backbone, by class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from facog_lab.config import Config
from facog_lab.dataset import ImageFiles
from facog_lab.phase1 import Phase1
from facog_lab.rng import derive_seed
from facog_lab.runs import distributed
from facog_lab.runs.environment import keep_freed_memory
from facog_lab.runs.mmap import Shapes
from facog_lab.views import make_views

BATCH = 500  # images in a forward pass; the result does not depend on it beyond rounding


class DictionaryConfig(Config):
    """Settings of the feature dictionary."""

    views: int = Field(
        0, ge=0, le=100, description="augmented features per image, besides the clean one"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of the augmented views")


@dataclass(frozen=True)
class FeatureDictionary:
    """Training features grouped by class, and the test features beside them.

    Attributes:
        features: (R, D) float32, or float16 where it was made so; the rows of a class next to each
            other. Compute with what `gather` gives, or with `features.float()`.
        labels: (R,) int64, ascending.
        images: (R,) int64, the training image each row was made from.
        class_counts: (C,) int64, training images (not rows) of each class.
        class_names: C names.
        test_features: (M, D) float32.
        test_labels: (M,) int64.
        starts: (C + 1,) int64; class c has the rows starts[c] to starts[c + 1].
        release: gives memory back that was read from a mapped file, see mapped.Mapped.
    """

    features: Tensor
    labels: Tensor
    images: Tensor
    class_counts: Tensor
    class_names: tuple[str, ...]
    test_features: Tensor
    test_labels: Tensor
    starts: Tensor
    release: Callable[[], None] = lambda: None

    @classmethod
    def build(
        cls,
        features: Tensor,
        labels: Tensor,
        images: Tensor,
        class_names: tuple[str, ...],
        test_features: Tensor,
        test_labels: Tensor,
    ) -> FeatureDictionary:
        """Groups rows in any order by class.

        Raises:
            ValueError: if the lengths differ, a label is no class, a class has no feature, or a
                feature is not finite.
        """
        if not len(features) == len(labels) == len(images):
            raise ValueError(
                f"{len(features)} features, {len(labels)} labels and {len(images)} image numbers: "
                "there must be as many of each."
            )
        for of, given in (("training", labels), ("test", test_labels)):
            outside = (given < 0) | (given >= len(class_names))
            wrong = given if given.is_floating_point() else given[outside]
            if len(wrong):
                raise ValueError(
                    f"{of} label {wrong[0].item()}: labels must be whole numbers from 0 to "
                    f"{len(class_names) - 1}, one for each of the {len(class_names)} class names."
                )
        counts = torch.bincount(labels, minlength=len(class_names))
        if (counts == 0).any():
            empty = class_names[int((counts == 0).nonzero()[0])]
            raise ValueError(f"class {empty!r} has no feature: leave it out of the data set.")
        for of, values in (("feature", features), ("test feature", test_features)):
            if not values.isfinite().all():
                row = int((~values.isfinite()).any(1).nonzero()[0])
                raise ValueError(f"{of} {row} holds NaN or infinity: phase 1 must be made again.")
        order = torch.argsort(labels, stable=True)
        return cls(
            features=features[order],
            labels=labels[order],
            images=images[order],
            class_counts=_images_per_class(labels, images, len(class_names)),
            class_names=class_names,
            test_features=test_features,
            test_labels=test_labels,
            starts=_starts(labels, len(class_names)),
        )

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)

    @property
    def feature_dim(self) -> int:
        """D, the paper's D_E."""
        return self.features.shape[1]

    def to(self, device: torch.device) -> FeatureDictionary:
        """The same dictionary on another device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        release = self.release if device.type == "cpu" else FeatureDictionary.release
        return FeatureDictionary(**moved, class_names=self.class_names, release=release)

    def draw(self, labels: Tensor, n_s: int, rng: torch.Generator) -> Tensor:
        """Rows of n_s features of the wanted classes, drawn afresh for every label.

        Without replacement where the class has n_s features, with it where it has fewer. The
        slots are exchangeable: every order of the same rows is equally likely.

        Args:
            labels: (B,) int64.
            n_s: how many for each label, at least 1.
            rng: where the randomness comes from; on the device of the dictionary.

        Returns:
            (B, n_s) int64, rows of `features`.
        """
        first, size = self.starts[labels], self.starts[labels + 1] - self.starts[labels]  # (B,)
        chance = torch.rand(
            (len(labels), 2 * n_s), generator=rng, device=labels.device, dtype=torch.float64
        )
        # Floyd's algorithm, for all labels at once: at turn j draw t from 0..j; if t was taken
        # before, take j. n_s turns, whatever the size of the class.
        chosen = torch.empty(len(labels), n_s, dtype=torch.int64, device=labels.device)
        for slot in range(n_s):
            last = size - n_s + slot
            pick = (chance[:, slot] * (last + 1)).long()
            taken = (chosen[:, :slot] == pick[:, None]).any(1)
            chosen[:, slot] = torch.where(taken, last, pick)
        shuffle = chance[:, n_s:].argsort(1)  # the algorithm gives a random set, not a random order
        repeated = (chance[:, :n_s] * size[:, None]).long()
        rows = torch.where((size >= n_s)[:, None], chosen.gather(1, shuffle), repeated)
        return first[:, None] + rows

    def gather(self, rows: Tensor) -> Tensor:
        """The features of rows of any shape, (..., D): `features[rows]`, in a third of its time."""
        features = self.features.index_select(0, rows.flatten()).float()
        self.release()
        return features.view(*rows.shape, self.feature_dim)

    def weighted_sum(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Σ w_i f_i for (B, n) rows and weights, (B, D), read feature by feature; no gradient."""
        if self.features.dtype != weights.dtype:  # which the fused sum does not take
            return torch.einsum("bn,bnd->bd", weights, self.gather(rows))
        made = F.embedding_bag(rows, self.features, per_sample_weights=weights, mode="sum")
        self.release()
        return made

    def outwards(self, label: int) -> Tensor:
        """(N_c,) int64: the rows of a class, from the nearest to its mean to the farthest."""
        first, last = self.starts[label : label + 2].tolist()
        own = self.features[first:last].float()
        return first + (own - own.mean(0)).norm(dim=1).argsort(stable=True)

    def nearest(self, row: int, k: int) -> tuple[Tensor, Tensor]:
        """The k nearest features of other images, by Euclidean distance.

        Args:
            row: of `features`.
            k: how many; as many as there are if there are fewer.

        Returns:
            (k,) int64 rows of `features`, nearest first, and their (k,) float32 distances.
        """
        # Distances by subtraction: near ones would drown in the rounding of a matrix product.
        features = self.features.float()
        far = torch.cdist(features[row, None], features, 2, "donot_use_mm_for_euclid_dist")[0]
        others = (self.images != self.images[row]).nonzero()[:, 0]
        distances, order = far[others].sort(stable=True)
        return others[order[:k]], distances[:k]

    def tensors(self) -> dict[str, Tensor]:
        """What to save; `from_tensors` makes the dictionary from it."""
        names = ("features", "labels", "images", "test_features", "test_labels")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_tensors(
        cls,
        tensors: dict[str, Tensor],
        class_names: tuple[str, ...],
        release: Callable[[], None] = lambda: None,
    ) -> FeatureDictionary:
        """The dictionary that gave these tensors, which may be those of a mapped file."""
        labels = tensors["labels"]
        return cls(
            **tensors,
            release=release,
            class_names=class_names,
            class_counts=_images_per_class(labels, tensors["images"], len(class_names)),
            starts=_starts(labels, len(class_names)),
        )


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
        config: how many augmented features to keep besides the clean ones.
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


def _images_per_class(labels: Tensor, images: Tensor, num_classes: int) -> Tensor:
    """(C,) int64: an image counts once, however many rows it has."""
    owner = torch.full((int(images.max()) + 1,), -1).scatter(0, images, labels)
    return torch.bincount(owner[owner >= 0], minlength=num_classes)


def _starts(labels: Tensor, num_classes: int) -> Tensor:
    """(C + 1,) int64: where the rows of each class begin once they are grouped."""
    rows = torch.bincount(labels, minlength=num_classes)
    return torch.cat([rows.new_zeros(1), rows.cumsum(0)])


@torch.no_grad()
def _fill(
    features: Tensor,
    rows: Tensor,
    phase1: Phase1,
    images: Tensor | ImageFiles,
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

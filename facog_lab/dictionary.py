"""The feature dictionary L (§3.2): every training feature of the frozen backbone, by class."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facog_lab.settings import MAX_N_S


@dataclass(frozen=True)
class FeatureDictionary:
    """Training features grouped by class, and the test features.

    Attributes:
        features: (R, D) float32, or float16 where it was made so; the rows of a class next to each
            other. Compute with what `gather` gives, or with `features.float()`.
        labels: (R,) int64, ascending.
        image_index: (R,) int64, the training image each row was made from.
        class_counts: (C,) int64, training images (not rows) of each class.
        class_names: C names.
        test_features: (M, D) float32.
        test_labels: (M,) int64.
        starts: (C + 1,) int64; class c has the rows starts[c] to starts[c + 1].
        release: gives memory back that was read from a mapped file, see mapped.Mapped.
    """

    features: Tensor
    labels: Tensor
    image_index: Tensor
    class_counts: Tensor
    class_names: tuple[str, ...]
    test_features: Tensor
    test_labels: Tensor
    starts: Tensor
    release: Callable[[], None] | None = None

    @classmethod
    def build(
        cls,
        features: Tensor,
        labels: Tensor,
        image_index: Tensor,
        class_names: tuple[str, ...],
        test_features: Tensor,
        test_labels: Tensor,
    ) -> FeatureDictionary:
        """Groups rows in any order by class.

        Raises:
            ValueError: if the lengths differ, a label is no class, a class has no feature, or a
                feature is not finite.
        """
        if not len(features) == len(labels) == len(image_index):
            raise ValueError(
                f"{len(features)} features, {len(labels)} labels and {len(image_index)} image "
                "numbers: there must be as many of each."
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
            image_index=image_index[order],
            class_counts=_images_per_class(labels, image_index, len(class_names)),
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
        """The same dictionary on another device; itself where it is there already."""
        if all(v.device == device for v in vars(self).values() if isinstance(v, Tensor)):
            return self
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        release = self.release if device.type == "cpu" else None
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
        if self.release:
            self.release()
        return features.view(*rows.shape, features.shape[1])

    def weighted_sum(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Σ w_i f_i for (B, n) rows and weights, (B, D), read feature by feature; no gradient."""
        if self.features.dtype != weights.dtype:  # which the fused sum does not take
            return torch.einsum("bn,bnd->bd", weights, self.gather(rows))
        made = F.embedding_bag(rows, self.features, per_sample_weights=weights, mode="sum")
        if self.release:
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
        others = (self.image_index != self.image_index[row]).nonzero()[:, 0]
        distances, order = far[others].sort(stable=True)
        return others[order[:k]], distances[:k]

    def tensors(self) -> dict[str, Tensor]:
        """What to save; `from_tensors` makes the dictionary from it."""
        names = ("features", "labels", "test_features", "test_labels")
        return {"images": self.image_index} | {name: getattr(self, name) for name in names}

    @classmethod
    def from_tensors(
        cls,
        tensors: dict[str, Tensor],
        class_names: tuple[str, ...],
        release: Callable[[], None] | None = None,
    ) -> FeatureDictionary:
        """The dictionary that gave these tensors, which may be those of a mapped file."""
        of_rows = dict(tensors)
        labels, image_index = of_rows["labels"], of_rows.pop("images")
        return cls(
            **of_rows,
            image_index=image_index,
            release=release,
            class_names=class_names,
            class_counts=_images_per_class(labels, image_index, len(class_names)),
            starts=_starts(labels, len(class_names)),
        )


class References:
    """Which real features are mixed: drawn afresh for every sample, or one set for each class.

    Args:
        dictionary: where the features are.
        fixed: draw one set per class now, with `rng` (§3.2's other reading).
        rng: for the fixed sets.
    """

    def __init__(self, dictionary: FeatureDictionary, fixed: bool, rng: torch.Generator) -> None:
        self.dictionary = dictionary
        self.sets: Tensor | None = None
        if fixed:
            # A class smaller than a set repeats its features in turn, so that the first n_s of a
            # set are different ones wherever the class has as many.
            self.sets = torch.stack(
                [
                    first
                    + torch.randperm(size, generator=rng, device=rng.device).repeat(
                        math.ceil(MAX_N_S / size)
                    )[:MAX_N_S]
                    for first, size in zip(
                        dictionary.starts.tolist(), dictionary.starts.diff().tolist(), strict=False
                    )
                ]
            )

    def rows(self, labels: Tensor, n_s: int, rng: torch.Generator) -> Tensor:
        """(B, n_s) rows of the dictionary for (B,) labels."""
        if self.sets is None:
            return self.dictionary.draw(labels, n_s, rng)
        return self.sets[labels, :n_s]


def class_means(dictionary: FeatureDictionary) -> Tensor:
    """(C, D) the mean feature of each class."""
    sums = torch.zeros(
        dictionary.num_classes, dictionary.feature_dim, device=dictionary.features.device
    ).index_add_(0, dictionary.labels, dictionary.features.float())
    return sums / dictionary.starts.diff()[:, None]


def _images_per_class(labels: Tensor, images: Tensor, num_classes: int) -> Tensor:
    """(C,) int64: an image counts once, however many rows it has."""
    owner = torch.full((int(images.max()) + 1,), -1).scatter(0, images, labels)
    return torch.bincount(owner[owner >= 0], minlength=num_classes)


def _starts(labels: Tensor, num_classes: int) -> Tensor:
    """(C + 1,) int64: where the rows of each class begin once they are grouped."""
    rows = torch.bincount(labels, minlength=num_classes)
    return torch.cat([rows.new_zeros(1), rows.cumsum(0)])

"""Oversamplers that mix a real feature with its neighbours and learn nothing: SMOTE, DOS.

Phase 2 needs features for a list of labels at every step, so the draws are written here;
imbalanced-learn, whose SMOTE makes whole balanced sets, is what they are tested against.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import Given, Mix, Unlearned, mix
from facog_lab.registry import register_oversampler
from facog_lab.settings import Controls

K = 5  # neighbours of the same class, clamped to N_c - 1 (Chawla et al. 2002)
M = 10  # neighbours of any class that say whether a feature is in danger (Han et al. 2005)
PART = 500  # rows whose distances to all others are held at once


def in_class_neighbours(dictionary: FeatureDictionary, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest features of the same class and of other images, by Euclidean distance.

    Args:
        dictionary: whose R rows are all looked at.
        k: how many; as many as there are in a smaller class.

    Returns:
        (R, k) int64 rows, nearest first, and (R,) int64, how many of them are neighbours. The
        other slots, and the first one where a class has a single image, hold the row itself.
    """
    rows = torch.arange(len(dictionary.labels), device=dictionary.labels.device)
    near, count = rows[:, None].repeat(1, k), torch.zeros_like(rows)
    for own in rows.split(dictionary.starts.diff().tolist()):
        for part in own.split(PART):
            far = _distances(dictionary, part, own)
            distances, order = far.topk(min(k, len(own)), largest=False)
            there = distances.isfinite()
            near[part, : order.shape[1]] = torch.where(there, own[order], part[:, None])
            count[part] = there.sum(1)
    return near, count


def in_danger(dictionary: FeatureDictionary, m: int = M) -> Tensor:
    """Which features lie at the border of their class (Han et al. 2005, Borderline-SMOTE).

    Of their m nearest features at least half, but not all, are of other classes; where all are,
    the feature counts as noise. Several classes are taken one against the rest.

    Returns:
        (R,) bool.
    """
    rows = torch.arange(len(dictionary.labels), device=dictionary.labels.device)
    others = torch.zeros_like(rows)
    m = min(m, len(rows) - 1)
    for part in rows.split(PART):
        nearest = _distances(dictionary, part, rows).topk(m, largest=False).indices
        others[part] = (dictionary.labels[nearest] != dictionary.labels[part, None]).sum(1)
    return (others >= m / 2) & (others < m)


class SMOTE(Unlearned):
    """A random point between a feature and one of its k nearest of the class (Chawla et al. 2002).

    f̃ = f + u (f' - f), u uniform on [0, 1); the feature itself where its class has no other image.

    Differs from the paper: every feature is drawn independently, with replacement, as in
    imbalanced-learn, not each feature equally often.

    Args:
        dictionary: the features to mix.
        borderline: start from the features in danger alone (Borderline-SMOTE-1, Han et al. 2005).
            A class that has none starts from all of them, since phase 2 must get its features;
            imbalanced-learn leaves such a class as it is.
        k: neighbours of a feature.
    """

    def __init__(self, dictionary: FeatureDictionary, borderline: bool = False, k: int = K) -> None:
        self.dictionary = dictionary
        self.neighbours, self.count = in_class_neighbours(dictionary, k)
        chosen = torch.ones_like(dictionary.labels, dtype=torch.bool)
        if borderline:
            chosen = in_danger(dictionary)
            per_class = torch.bincount(dictionary.labels[chosen], minlength=dictionary.num_classes)
            chosen |= (per_class == 0)[dictionary.labels]
        self.pool = chosen.nonzero()[:, 0]  # the features to start from, grouped by class
        self.sizes = torch.bincount(
            dictionary.labels[self.pool], minlength=dictionary.num_classes
        )  # (C,)

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """(B, D) features for (B,) labels, each mixed from two."""
        chance = torch.rand(
            (len(labels), 3), generator=rng, device=labels.device, dtype=torch.float64
        )
        starts = self.sizes.cumsum(0) - self.sizes
        base = self.pool[starts[labels] + (chance[:, 0] * self.sizes[labels]).long()]
        slot = (chance[:, 1] * self.count[base].clamp(min=1)).long()
        rows = torch.stack([base, self.neighbours[base, slot]], 1)
        u = chance[:, 2].float()
        return mix(self.dictionary, rows, torch.stack([1 - u, u], 1))


class DOS(Unlearned):
    """A random convex mix of a feature's k nearest in its class (Ando and Huang 2017).

    w is |N(0, 1)|, divided by its sum; a class of one image repeats its feature.

    Differs from the paper: there the network is trained so that its features move towards such
    mixes. On frozen features only the mixes are left, given to the classifier.

    Args:
        dictionary: the features to mix.
        k: neighbours of a feature.
    """

    def __init__(self, dictionary: FeatureDictionary, k: int = K) -> None:
        self.dictionary = dictionary
        self.neighbours, self.count = in_class_neighbours(dictionary, k)

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """(B, D) features for (B,) labels, each mixed from k."""
        base = self.dictionary.draw(labels, 1, rng)[:, 0]
        rows = self.neighbours[base]  # (B, k)
        weights = torch.randn(rows.shape, generator=rng, device=labels.device).abs()
        slots = torch.arange(rows.shape[1], device=labels.device)
        weights = weights * (slots < self.count[base].clamp(min=1)[:, None])
        return mix(self.dictionary, rows, weights / weights.sum(1, keepdim=True))


@register_oversampler("smote", label="SMOTE", family="neighbours", in_hull=True, by_distance=True,
                      about="between a feature and a neighbour of its class")  # fmt: skip
def smote(given: Given) -> SMOTE:
    """SMOTE for these features."""
    return SMOTE(given.dictionary)


@register_oversampler("borderline_smote", label="Borderline-SMOTE", family="neighbours",
                      in_hull=True, by_distance=True,
                      about="SMOTE from features near other classes")  # fmt: skip
def borderline_smote(given: Given) -> SMOTE:
    """Borderline-SMOTE for these features."""
    return SMOTE(given.dictionary, borderline=True)


@register_oversampler("dos", label="DOS", family="neighbours", in_hull=True, by_distance=True,
                      about="mixes neighbours of a class")  # fmt: skip
def dos(given: Given) -> DOS:
    """DOS for these features."""
    return DOS(given.dictionary)


def _distances(dictionary: FeatureDictionary, some: Tensor, others: Tensor) -> Tensor:
    """Distances between rows, infinite between those of the same image; float64, (some, others)."""
    features, images = dictionary.features, dictionary.image_index
    # In float64, or near ones would drown in the rounding of the matrix product.
    far = torch.cdist(features[some].double(), features[others].double())
    return far.masked_fill(images[some][:, None] == images[others], torch.inf)

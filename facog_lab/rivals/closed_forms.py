"""What heads that cost nothing are made of: closed forms on phase-1 features and logits.

N_c is the number of training images of class c, π_c = N_c / N, f a feature, g_c(f) the logits of
phase 1's classifier. All heads take the classes for equally likely in the test, as the mean of the
recalls of all classes does. Sums are in float64.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from facog_lab.dictionary import FeatureDictionary

ROWS_AT_ONCE = 8192  # a float64 copy of all of ImageNet-LT's features would take 1.9 GB
POOLED_BELOW = 5  # smaller classes are one group where recall or likelihood is estimated
HALF = 2.0**-11  # relative rounding error of a float16, in which dictionaries are kept


class Adjusted(nn.Module):
    """A classifier with a number added to each class's logit.

    Args:
        classifier: features to logits.
        shift: (C,), what is added.
    """

    shift: Tensor

    def __init__(self, classifier: nn.Module, shift: Tensor) -> None:
        super().__init__()
        self.classifier = classifier
        self.register_buffer("shift", shift)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features to (B, C) logits."""
        return self.classifier(features) + self.shift


class Mixed(nn.Module):
    """Several classifiers' opinions: Σ_k a_k log softmax(logits of k), a product of experts.

    Args:
        parts: features to logits each.
        shares: a_k, one for each part.
    """

    def __init__(self, parts: list[nn.Module], shares: list[float]) -> None:
        super().__init__()
        self.parts, self.shares = nn.ModuleList(parts), shares

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features to (B, C) logits."""
        opinions = (F.log_softmax(part(features), 1) for part in self.parts)
        return torch.stack([a * p for a, p in zip(self.shares, opinions, strict=True)]).sum(0)


def logit_adjusted(classifier: nn.Module, class_counts: Tensor, tau: float = 1.0) -> Adjusted:
    """Post-hoc logit adjustment, g_c(f) - τ log π_c (Menon et al. 2021, Eq. 9).

    If softmax g is p(c | f) where classes are as frequent as π says, then at τ = 1 it becomes
    p(c | f) where all are equally frequent.

    Args:
        classifier: phase 1's; copied.
        class_counts: (C,) training images of each class, each at least 1.
        tau: τ; 0 leaves the classifier as it is.
    """
    prior = class_counts.double() / class_counts.sum()
    return Adjusted(copy.deepcopy(classifier), (-tau * prior.log()).float())


class Moments(NamedTuple):
    """What LDA and the class-mean heads need of a dictionary, in float64.

    Attributes:
        means: (C, D), μ_c.
        centre: (D,), the mean of the class means.
        variances: (r,), of the within-class covariance along its directions, descending.
        directions: (D, r), of length 1; r is the rank, at most D and at most N - C.
        class_counts: (C,), training images of each class.
        freedom: rows that the covariance has to itself, N - C.
    """

    means: Tensor
    centre: Tensor
    variances: Tensor
    directions: Tensor
    class_counts: Tensor
    freedom: int


_KNOWN = WeakIdKeyDictionary()  # dictionary: its moments, for as long as it is in use


def moments(dictionary: FeatureDictionary) -> Moments:
    """Class means and the within-class covariance, Σ = Σ_i (f_i - μ_{y_i})(…)ᵀ / (N - C).

    Computed once for each dictionary: all free heads need them. Directions whose variance is no
    more than what rounding to half precision gives any feature are left out: where an embedding is
    wider than what it embeds, features fill a part of the space.
    """
    if dictionary in _KNOWN:
        known: Moments = _KNOWN[dictionary]
        return known
    means = torch.zeros(
        dictionary.num_classes,
        dictionary.feature_dim,
        dtype=torch.float64,
        device=dictionary.labels.device,
    )
    scatter = means.new_zeros(dictionary.feature_dim, dictionary.feature_dim)
    square = means.new_zeros(())
    parts = torch.arange(len(dictionary.labels), device=means.device).split(ROWS_AT_ONCE)
    for rows in parts:
        features = dictionary.gather(rows).double()
        means.index_add_(0, dictionary.labels[rows], features)
        square += features.square().sum()
    means /= dictionary.starts.diff()[:, None]
    for rows in parts:
        apart = dictionary.gather(rows).double() - means[dictionary.labels[rows]]
        scatter += apart.T @ apart
    freedom = max(1, len(dictionary.labels) - dictionary.num_classes)
    variances, directions = torch.linalg.eigh(scatter / freedom)
    # A rounding error is evenly spread over ± its largest: the variance is that square / 3.
    rounding = square / len(dictionary.labels) / dictionary.feature_dim * HALF**2 / 3
    kept = variances > 10 * rounding
    found = _KNOWN[dictionary] = Moments(
        means,
        means.mean(0),
        variances[kept].flip(0),
        directions[:, kept].flip(1),
        dictionary.class_counts,
        freedom,
    )
    return found


def whitening(of: Moments, shrinkage: float = 0.0) -> Tensor:
    """(D, r) W with WᵀΣW = 1 for the covariance shrunk by s, (1 - s) Σ + s · mean variance.

    The mean variance is that of the r directions; others are left out, as by a pseudo-inverse.
    """
    shrunk = (1 - shrinkage) * of.variances + shrinkage * of.variances.mean()
    return of.directions * shrunk.rsqrt()


def lda(of: Moments, shrinkage: float = 0.0, means: Tensor | None = None) -> nn.Linear:
    """Linear discriminant analysis with even classes: -½ (f - μ_c)ᵀ Σ⁻¹ (f - μ_c).

    Args:
        of: class means and covariance.
        shrinkage: s, from 0 to 1, see `whitening`; at 1 it is the nearest class mean within the
            span of the features.
        means: (C, D), in the place of the classes' own.
    """
    means = of.means if means is None else means
    white = whitening(of, shrinkage)
    seen = (means - of.centre) @ white  # (C, r)
    weight = seen @ white.T
    return linear(weight, -seen.square().sum(1) / 2 - weight @ of.centre)


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A linear layer with given weights, (C, D), and biases, (C,), in float32."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer.requires_grad_(False)


def oas_shrinkage(of: Moments) -> float:
    """How much to shrink Σ by the oracle-approximating rule (Chen et al. 2010, Eq. 23).

    In the r directions that Σ has; 1 where there is nothing to learn a covariance from.
    """
    width = len(of.variances)
    if not width:
        return 1.0
    mean, square = of.variances.mean(), of.variances.square().mean() / width
    apart = (of.freedom + 1) * (square - mean.square() / width)
    return min(1.0, ((square + mean.square()) / apart).item()) if apart > 0 else 1.0


def shares_of(labels: Tensor, class_counts: Tensor) -> Tensor:
    """(R,) float64, how much each image counts so that all classes count alike; sums to 1.

    Classes of fewer than 5 images are pooled: as a group they count as many classes as they are,
    and within it all images count alike.
    """
    counts = class_counts.double()
    rare = counts < POOLED_BELOW
    weights = torch.where(rare, rare.sum() / counts[rare].sum().clamp(min=1), 1 / counts)
    shares = weights.to(labels.device)[labels]
    return shares / shares.sum()

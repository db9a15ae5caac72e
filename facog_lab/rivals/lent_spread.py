"""Lent spread: a real feature, and noise with the covariance that all classes share (ours)."""

from __future__ import annotations

import torch
from torch import Tensor

from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import Given, Mix, Unlearned
from facog_lab.registry import register_oversampler
from facog_lab.rivals.closed_forms import moments
from facog_lab.rivals.head_classes import as_features
from facog_lab.settings import Controls


def bandwidths(class_counts: Tensor, width: int) -> Tensor:
    """(C,) Silverman's bandwidth h of a kernel estimate from N_c images in so many dimensions.

        h_c = ( 4 / ((r + 2) N_c) )^(1/(r + 4))

    Source: Silverman 1986, Eq. 4.14. About 0.9 in 64 dimensions, whatever N_c is.
    """
    return (4 / ((width + 2) * class_counts.double())) ** (1 / (width + 4))


class LentSpread(Unlearned):
    """A smoothed bootstrap whose kernel has the within-class covariance of all classes together.

        f̃ = f_i + h_c ε,   ε ~ N(0, Σ),   Σ = Σ_j (f_j - μ_{y_j})(…)ᵀ / (N - C)

    Mixing cannot leave the hull of a class's few features, which the backbone has drawn together
    because it was trained on them; here they get the spread that features have in other classes.
    ROSE (Menardi & Torelli 2014) with a lent covariance in the place of each class's own. h is
    Silverman's. Features that are never negative stay so (ReLU).

    Args:
        dictionary: the real features.
    """

    def __init__(self, dictionary: FeatureDictionary) -> None:
        self.dictionary = dictionary
        of = moments(dictionary)
        self.half = (of.directions * of.variances.sqrt()).float()  # (D, r), half·halfᵀ = Σ
        self.widths = bandwidths(dictionary.class_counts, self.half.shape[1]).float()
        self.as_features = as_features(dictionary)

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """(B, D) features for (B,) labels, each around a real one of its class."""
        rows = self.dictionary.draw(labels, 1, rng)
        real = self.dictionary.gather(rows[:, 0])
        size = (len(labels), self.half.shape[1])
        noise = (
            torch.randn(size, generator=rng, device=labels.device) * self.widths[labels][:, None]
        )
        made = self.as_features(real + noise @ self.half.T)
        return Mix(made, torch.ones(rows.shape, device=labels.device), rows, made - real)


@register_oversampler("lent_spread", label="Lent spread (ours)", family="transfer",
                      about="a real feature, and the spread of all classes")  # fmt: skip
def lent_spread(given: Given) -> LentSpread:
    """Lent spread for these features."""
    return LentSpread(given.dictionary)

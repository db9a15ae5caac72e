"""Heads that cost nothing and choose nothing: logit adjustment, nearest class mean, LDA.

All take the classes for equally likely in the test, as the mean of the recalls of all classes does.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import register_head
from facog_lab.rivals.closed_forms import (
    Adjusted,
    lda,
    linear,
    logit_adjusted,
    moments,
    oas_shrinkage,
)
from facog_lab.rivals.head_loop import Head


@register_head("logit_adjustment", label="Logit adjustment", family="free",
               about="phase 1's logits less the log of each class's share")  # fmt: skip
def logit_adjustment(
    dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int
) -> Adjusted:
    """Post-hoc logit adjustment with τ = 1 (Menon et al. 2021, Eq. 9)."""
    return logit_adjusted(classifier, dictionary.class_counts)


def nearest_mean(means: Tensor) -> nn.Linear:
    """Nearest class mean: -‖f - μ_c‖² / 2, but for what is the same for all classes.

    Args:
        means: (C, D).
    """
    centre = means.mean(0)
    return linear(means - centre, -(means.square().sum(1) - centre.square().sum()) / 2)


class NearestCosine(nn.Module):
    """Nearest class mean by angle: cos(f, μ_c).

    Args:
        means: (C, D).
    """

    directions: Tensor

    def __init__(self, means: Tensor) -> None:
        super().__init__()
        self.register_buffer("directions", F.normalize(means).float())

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features to (B, C) cosines."""
        return F.normalize(features, dim=-1) @ self.directions.T


@register_head("nearest_mean", label="Nearest class mean", family="free",
               about="the class whose mean feature is nearest")  # fmt: skip
def nearest_class_mean(
    dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int
) -> nn.Linear:
    """Nearest class mean by distance (Mensink et al. 2013)."""
    return nearest_mean(moments(dictionary).means)


@register_head("nearest_cosine", label="Nearest class mean, by angle", family="free",
               about="the class whose mean feature has the most similar direction")  # fmt: skip
def nearest_class_direction(
    dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int
) -> NearestCosine:
    """Nearest class mean by angle (Kang et al. 2020 have it as NCM)."""
    return NearestCosine(moments(dictionary).means)


@register_head("lda", label="LDA", family="free",
               about="class means and one covariance for all classes")  # fmt: skip
def lda_head(dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int) -> Head:
    """LDA whose shrinkage the oracle-approximating rule chooses (Chen et al. 2010)."""
    of = moments(dictionary)
    shrinkage = oas_shrinkage(of)
    return Head(lda(of, shrinkage), {"shrinkage": shrinkage})

"""Imagined features: drawn from what a class's few images say about all of its images (ours)."""

from __future__ import annotations

import torch
from torch import Tensor

from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import Given, Mix, Unlearned
from facog_lab.registry import register_oversampler
from facog_lab.rivals.closed_forms import moments
from facog_lab.rivals.head_classes import as_features
from facog_lab.rivals.shrunken_means import true_means
from facog_lab.settings import Controls


class Imagined(Unlearned):
    """A class's posterior predictive: a mean that its images allow, and the shared spread.

        f̃ = μ̃ + ε,   μ̃ ~ p(μ_c | the class's features),   ε ~ N(0, Σ)

    Mixing a class's features can neither leave their hull nor mend their mean. Here both follow
    from the two-covariance model (Ioffe 2006): the mean of few images is moved to where classes of
    this kind have theirs, as far as it is unsure in each direction, and drawn anew for every
    feature, so that a class of five images is blurred where a class of five hundred is sharp; the
    spread Σ is that of all classes. Everything is a closed form; nothing has a number to choose.

    Args:
        dictionary: the real features.
        move: whether means are moved and drawn; if not, each is the mean of its features.
        unsure: whether they are drawn, or only moved.
    """

    def __init__(
        self, dictionary: FeatureDictionary, move: bool = True, unsure: bool = True
    ) -> None:
        self.dictionary = dictionary
        of = moments(dictionary)
        known = true_means(of)
        self.means = (known.means if move else of.means).float()  # (C, D)
        self.back = known.back.float()  # (r, D), back.T @ back = Σ
        # μ̃ + ε has the variance of both, in coordinates in which both are diagonal.
        variance = 1 + known.unsure if move and unsure else torch.ones_like(known.unsure)
        self.scale = variance.sqrt().float()  # (C, r)
        self.as_features = as_features(dictionary)

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """(B, D) features for (B,) labels; none of them is a mix of real ones."""
        width = self.back.shape[0]
        noise = torch.randn(len(labels), width, generator=rng, device=labels.device)
        made = self.means[labels] + (noise * self.scale[labels]) @ self.back
        return Mix(self.as_features(made))


@register_oversampler("imagined", label="Imagined features (ours)", family="transfer",
                      about="a true mean that the class's images allow, and the spread of all "
                      "classes")  # fmt: skip
def imagined(given: Given) -> Imagined:
    """Imagined features for these."""
    return Imagined(given.dictionary)

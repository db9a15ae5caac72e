"""TailCalib: a Gaussian with the spread of similar classes (Vigneswaran et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from facog_lab.dictionary import FeatureDictionary, class_means
from facog_lab.generator import Given, Mix, Unlearned
from facog_lab.registry import register_oversampler
from facog_lab.settings import Controls

K = 3  # nearest class means, the published setting for CIFAR-100-LT at ratio 100


class TailCalib(Unlearned):
    """A Gaussian around a feature and its nearest class means (Vigneswaran et al. 2021, Eq. 7, 8).

    For a real feature x of the class and its k nearest class means μ_j, with covariances Σ_j:
    f̃ ~ N((Σ_j μ_j + x) / (k + 1), (1/k) Σ_j Σ_j). As in the published code, its own class is one of
    the k where its mean is that near. k = 3, no Tukey transform and α = 0 are the published
    settings for CIFAR-100-LT at ratio 100.

    Differs from the paper: there features have length 1 and a cosine classifier is trained on
    them; here they are left as phase 1's classifier knows them. The covariance of a class of one
    is 0.

    Args:
        dictionary: the real features.
        k: nearest class means; at most C.
    """

    def __init__(self, dictionary: FeatureDictionary, k: int = K) -> None:
        self.dictionary, self.k = dictionary, min(k, dictionary.num_classes)
        self.means = class_means(dictionary)
        self.centred = dictionary.features.float() - self.means[dictionary.labels]  # (R, D)
        self.deviation = dictionary.starts.diff().sub(1).clamp(min=1).rsqrt()  # 1/√(N-1), (C,)

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """(B, D) features for (B,) labels, each around a real one of its class."""
        rows = self.dictionary.draw(labels, 1, rng)
        real = self.dictionary.gather(rows[:, 0])
        near = torch.cdist(real, self.means).topk(self.k, largest=False).indices  # (B, k)
        mean = (self.means[near].sum(1) + real) / (self.k + 1)
        # Standard normal numbers times the centred features, over √(N - 1), have exactly the
        # class's covariance: no D×D matrix is made, and none must be positive definite.
        of_class = torch.zeros(len(labels), self.dictionary.num_classes, device=labels.device)
        of_class.scatter_(1, near, self.deviation[near] / self.k**0.5)  # (B, C)
        noise = torch.randn(
            len(labels), len(self.dictionary.labels), generator=rng, device=labels.device
        )
        made = mean + (noise * of_class[:, self.dictionary.labels]) @ self.centred
        return Mix(made, torch.ones(rows.shape, device=labels.device), rows, made - real)


@register_oversampler(
    "tailcalib", label="TailCalib", family="transfer", about="a Gaussian of similar classes"
)
def tailcalib(given: Given) -> TailCalib:
    """TailCalib for these features."""
    return TailCalib(given.dictionary)

"""GCL: Gaussian clouds on cosines, the larger the rarer a class is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import register_head
from facog_lab.rivals.head_loop import (
    Head,
    Recipe,
    Step,
    last_linear,
    train,
    with_cosine_layer,
)

GCL = Recipe(30, 64, 0.008, 2e-4, "cosine", "classes")
GCL_SCALE, GCL_MARGIN, GCL_NOISE, GCL_GAMMA = 20.0, 0.1, 0.5, 1.0


def clouded(cosines: Tensor, labels: Tensor, class_counts: Tensor, noise: Tensor) -> Tensor:
    """GCL's loss on cosines: a random margin, the larger the rarer the class, and a focal factor.

        logit_ij = s ( cos_ij - 0.5 |ε_ij| δ_j / max δ - m [j = y_i] ),   δ_j = log N_max - log N_j
        L = mean_i (1 - p_i)^γ (-log p_i),   p_i = softmax(logits_i)_{y_i}

    Source: Li et al. 2022, Eq. 11, with what the published code adds in stage 2: a fixed margin
    m = 0.1, s = 20, the cloud's factor 0.5, γ = 1. Without a cloud where all classes are alike.

    Args:
        cosines: (B, C).
        labels: (B,) int64.
        class_counts: (C,) training images of each class.
        noise: (B, C), ε, normal with deviation 1/3, cut at ±1.
    """
    rarity = class_counts.max().double().log() - class_counts.double().log()
    cloud = (rarity / rarity.max().clamp(min=1e-12)).to(cosines.dtype)
    margin = GCL_MARGIN * F.one_hot(labels, cosines.shape[1]).to(cosines.dtype)
    logits = GCL_SCALE * (cosines - GCL_NOISE * noise.abs() * cloud - margin)
    log_p = -F.cross_entropy(logits, labels, reduction="none")
    return ((-log_p.expm1()) ** GCL_GAMMA * -log_p).mean()


@register_head("gcl", label="GCL", family="trained",
               about="random margins for rare classes, classes evenly",
               skeleton=with_cosine_layer)  # fmt: skip
def gcl(
    dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int = 0, recipe: Recipe = GCL
) -> Head:
    """GCL's second stage: a cosine layer, Gaussian clouds on its logits, classes drawn evenly.

    Source: Li et al. 2022 and its code, but for its mixup of images before the backbone, which
    frozen features do not have. The layer starts from the directions of phase 1's weights.

    Args:
        dictionary: features of phase 1.
        classifier: phase 1's, with a linear last layer.
        seed: of all draws.
        recipe: the published one; its code makes a rate of 0.008 of the 0.2 that it is given.
    """
    before = last_linear(classifier, "GCL")
    made = with_cosine_layer(dictionary, classifier)
    layer = made[-1]
    layer.weight = nn.Parameter(before.weight.detach().clone())

    def loss(cosines: Tensor, labels: Tensor, step: Step) -> Tensor:
        noise = torch.randn(cosines.shape, generator=step.rng, device=cosines.device) / 3
        return clouded(cosines, labels, dictionary.class_counts, noise.clamp(-1, 1))

    history = train(made, dictionary, loss, recipe, seed, dict.fromkeys(layer.parameters(), 1.0))
    return Head(made.requires_grad_(False), history=history)

"""LOS: phase 1's last layer trained on with labels that are smoothed very much."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import register_head
from facog_lab.rivals.head_loop import Head, Recipe, Step, own, train

# 20 epochs at 5e-4, half a cosine, no weight decay, batches of 64 as they are found.
LOS = Recipe(20, 64, 5e-4, 0.0, "cosine", "images")
LOS_SMOOTHING = 0.98


def over_smoothed(logits: Tensor, labels: Tensor, smoothing: float = LOS_SMOOTHING) -> Tensor:
    """Cross-entropy with so much smoothing δ that the right class is hardly above the others.

        L = mean_i -Σ_j t_ij log p_ij,    t_ij = (1 - δ) [j = y_i] + δ / C

    Source: Sun et al. 2025 (LOS). At δ = 0.98 the logits stay small, and the gradient of an image
    that is recognised already is nearly that of any other: large classes no longer outweigh.

    Args:
        logits: (B, C).
        labels: (B,) int64.
        smoothing: δ, from 0 to 1.
    """
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


@register_head("los", label="LOS", family="trained",
               about="the last layer with labels smoothed by 0.98")  # fmt: skip
def los(
    dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int = 0, recipe: Recipe = LOS
) -> Head:
    """LOS: phase 1's last layer trained on with over-smoothed labels (Sun et al. 2025).

    Differs from the published code: features of clean views (theirs are of fresh views), and no
    mean over an image and its mirror image in the test.

    Args:
        dictionary: features of phase 1.
        classifier: phase 1's.
        seed: of all draws.
        recipe: the published one.
    """
    made = own(classifier, dictionary)
    last = dict.fromkeys(made[-1].parameters(), 1.0)

    def loss(logits: Tensor, labels: Tensor, step: Step) -> Tensor:
        return over_smoothed(logits, labels)

    history = train(made, dictionary, loss, recipe, seed, last)
    return Head(made.requires_grad_(False), history=history)

"""Weight balancing's second stage: strong weight decay, and a limit to the length of weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab.dictionary import FeatureDictionary
from facog_lab.losses import effective_number_weights
from facog_lab.registry import register_head
from facog_lab.rivals.head_loop import Head, Recipe, last_linear, own, train

RECIPE = Recipe(10, 64, 0.01, 0.1, "cosine", "images")
THRESHOLD = 0.1  # where between the shortest and the longest weights the limit is
EFFECTIVE_NUMBER_BETA = 0.9999


def class_balanced(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy on softmax probabilities, weighted by class: stage 2's loss.

        L = 1/(BC) Σ_i w_{y_i} ( -log p_{i,y_i} - Σ_{j≠y_i} log(1 - p_ij) ),   p = softmax(logits)

    Source: what the published code of Alshammari et al. 2022 minimises under the name of a class-
    balanced loss. The paper names cross-entropy weighted by effective numbers (Cui et al. 2019).

    Args:
        logits: (B, C).
        labels: (B,) int64.
        weights: (C,) of the classes, by effective number, their sum C.
    """
    own_class = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    weight = weights.to(logits.dtype)[labels][:, None].expand_as(own_class)
    return F.binary_cross_entropy(logits.softmax(1), own_class, weight)


def limit(weight: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """MaxNorm's limit δ, between the shortest and the longest class weights (C, D); a scalar."""
    lengths = weight.norm(dim=1)
    return lengths.min() + threshold * (lengths.max() - lengths.min())


def project(weight: Tensor, longest: Tensor) -> Tensor:
    """(C, D) class weights of which none is longer than δ: those that are, are shortened to it.

    Source: Alshammari et al. 2022, Eq. 5.
    """
    return weight * (longest / weight.norm(dim=1).clamp(min=1e-12)).clamp(max=1)[:, None]


@register_head("weight_balancing", label="Weight balancing", family="trained",
               about="strong weight decay, and no weights longer than a limit")  # fmt: skip
def weight_balancing(
    dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int = 0, recipe: Recipe = RECIPE
) -> Head:
    """Weight decay 0.1 and MaxNorm on phase 1's last layer (Alshammari et al. 2022, stage 2).

    δ is set when training starts; weights are projected after every epoch, as in the published
    code (the paper writes: after every step); biases are left alone. Differs from the paper: its
    first stage has a weight decay of 5e-3 from the pixels on, ours is phase 1 as it is.

    Args:
        dictionary: features of phase 1.
        classifier: phase 1's, with a linear last layer.
        seed: of all draws.
        recipe: the published one.
    """
    made = own(classifier, dictionary)
    last = last_linear(made, "weight balancing")
    longest = limit(last.weight.detach())
    weights = effective_number_weights(dictionary.class_counts, EFFECTIVE_NUMBER_BETA)

    def shorten() -> None:
        with torch.no_grad():
            last.weight.copy_(project(last.weight, longest))

    history = train(
        made,
        dictionary,
        lambda logits, labels, step: class_balanced(logits, labels, weights),
        recipe,
        seed,
        dict.fromkeys(last.parameters(), 1.0),
        after_epoch=shorten,
    )
    return Head(made.requires_grad_(False), history=history)

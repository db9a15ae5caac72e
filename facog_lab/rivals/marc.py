"""MARC: margins that are calibrated after training, with two numbers a class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import register_head
from facog_lab.rivals.head_loop import Head, Recipe, Step, last_linear, own, train

MARC = Recipe(10, 512, 0.05, 5e-4, "cosine", "images")
MARC_GAMMA = 1.2  # class weights are N_c^-γ


@register_head("marc", label="MARC", family="trained",
               about="two numbers a class correct the margins")  # fmt: skip
def marc(
    dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int = 0, recipe: Recipe = MARC
) -> Head:
    """MARC: two numbers a class correct the margins of a classifier that stays as it is.

        logit'_c = ω_c logit_c + β_c ‖w_c‖,   ω from 1 and β from 0 by weighted cross-entropy

    Source: Wang et al. 2022, Eq. 8, with class weights ∝ N_c^-1.2 whose mean is 1. No published
    code was found: the recipe (10 epochs, batches of 512, 0.05, cosine) is as we read the paper.

    Args:
        dictionary: features of phase 1.
        classifier: phase 1's, with a linear last layer.
        seed: of all draws.
        recipe: see above.
    """
    made = own(classifier, dictionary).requires_grad_(False)
    last = last_linear(made, "MARC")
    lengths, device = last.weight.norm(dim=1), dictionary.labels.device
    omega = nn.Parameter(torch.ones(dictionary.num_classes, device=device))
    beta = nn.Parameter(torch.zeros(dictionary.num_classes, device=device))
    weights = dictionary.class_counts.double() ** -MARC_GAMMA
    weights = (weights / weights.mean()).float()

    def loss(logits: Tensor, labels: Tensor, step: Step) -> Tensor:
        losses = F.cross_entropy(omega * logits + beta * lengths, labels, reduction="none")
        return (weights[labels] * losses).mean()

    history = train(made, dictionary, loss, recipe, seed, {omega: 1.0, beta: 1.0})
    with torch.no_grad():
        last.weight.mul_(omega[:, None])
        last.bias.copy_(omega * last.bias + beta * lengths)
    return Head(made, history=history)

"""MiSLAS: labels that are smoothed the more, the larger their class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import register_head
from facog_lab.rivals.head_loop import Head, Recipe, Step, last_linear, own, train

# 10 epochs at 0.1, half a cosine, classes drawn evenly.
MISLAS = Recipe(10, 128, 0.1, 2e-4, "cosine", "classes")
MISLAS_HEAD, MISLAS_TAIL = 0.4, 0.1  # smoothing of the largest and the smallest class
MISLAS_CLASSIFIER = 0.2  # the classifier's learning rate, as a share of the scales'


def smoothing_of_classes(
    class_counts: Tensor, head: float = MISLAS_HEAD, tail: float = MISLAS_TAIL
) -> Tensor:
    """(C,) MiSLAS's smoothing ε_c, from `tail` in the smallest class to `head` in the largest.

        ε_c = tail + (head - tail) sin( π/2 · (N_c - N_min) / (N_max - N_min) )

    Source: Zhong et al. 2021, Eq. 5 (concave, the one they use). All `head` where all classes are
    equally large.

    Args:
        class_counts: (C,) training images of each class.
        head: ε of the largest class.
        tail: ε of the smallest class.
    """
    counts = class_counts.double()
    spread = counts.max() - counts.min()
    share = (counts - counts.min()) / spread if spread > 0 else torch.ones_like(counts)
    return tail + (head - tail) * torch.sin(share * math.pi / 2)


def label_aware_smoothing(logits: Tensor, labels: Tensor, smoothing: Tensor) -> Tensor:
    """MiSLAS's loss: the larger a class, the less sure of it a classifier is asked to be.

        L = mean_i (1 - ε_{y_i}) (-log p_{i,y_i}) + ε_{y_i} mean_j (-log p_ij)

    Source: Zhong et al. 2021. Differs from Eq. 4 as their code does: ε is spread over all C
    classes, not over the C - 1 others.

    Args:
        logits: (B, C).
        labels: (B,) int64.
        smoothing: (C,), ε, see `smoothing_of_classes`.
    """
    log_p = F.log_softmax(logits, dim=1)
    epsilon = smoothing.to(logits.dtype)[labels]
    right = log_p.gather(1, labels[:, None])[:, 0]
    return -((1 - epsilon) * right + epsilon * log_p.mean(1)).mean()


@register_head("mislas", label="MiSLAS", family="trained",
               about="labels smoothed by class size, classes evenly")  # fmt: skip
def mislas(
    dictionary: FeatureDictionary,
    classifier: nn.Sequential,
    seed: int = 0,
    recipe: Recipe = MISLAS,
    head: float = MISLAS_HEAD,
    tail: float = MISLAS_TAIL,
) -> Head:
    """MiSLAS's second stage: last layer and one scale a class, label-aware smoothing, even classes.

    Source: Zhong et al. 2021. Differs from the published code: theirs shifts the backbone's batch
    norms in this stage, ours leaves the features frozen; and ε is CIFAR-100's at ratio 100
    (0.4 and 0.1) everywhere, where theirs is another for each data set and ratio.

    Args:
        dictionary: features of phase 1.
        classifier: phase 1's, with a linear last layer.
        seed: of all draws.
        recipe: the published one.
        head: ε of the largest class.
        tail: ε of the smallest class.
    """
    made = own(classifier, dictionary)
    last = last_linear(made, "MiSLAS")
    scales = nn.Parameter(torch.ones(dictionary.num_classes, device=dictionary.labels.device))
    smoothing = smoothing_of_classes(dictionary.class_counts, head, tail)
    shares = dict.fromkeys(last.parameters(), MISLAS_CLASSIFIER) | {scales: 1.0}

    def loss(logits: Tensor, labels: Tensor, step: Step) -> Tensor:
        return label_aware_smoothing(scales * logits, labels, smoothing)

    history = train(made, dictionary, loss, recipe, seed, shares)
    with torch.no_grad():
        last.weight.mul_(scales[:, None])
        last.bias.mul_(scales)
    return Head(made.requires_grad_(False), history=history)

"""A cosine layer that is trained with adjusted logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import register_head
from facog_lab.rivals.head_loop import Head, Recipe, train, with_cosine_layer

COSINE = Recipe(40, 128, 0.005, 1e-4, "constant", "images")  # as phase 2's classifier
COSINE_SCALE = 30.0  # as LDAM's; logits of ±30


def skeleton(dictionary: FeatureDictionary, classifier: nn.Sequential) -> nn.Sequential:
    """Its form, for the weights of one that was kept."""
    return with_cosine_layer(dictionary, classifier, COSINE_SCALE)


@register_head("cosine_adjusted", label="Cosine, adjusted logits", family="trained",
               about="a new cosine layer, the log of N_c in its logits",
               skeleton=skeleton)  # fmt: skip
def cosine_adjusted(
    dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int = 0, recipe: Recipe = COSINE
) -> Head:
    """A new cosine layer in the place of the last, trained with logits adjusted by the prior.

    Source: logit adjustment in the loss (Menon et al. 2021, Eq. 10; Balanced Softmax, Ren et al.
    2020) on a normalised classifier (Gidaris & Komodakis 2018): large classes can neither have
    longer weights nor larger biases.

    Args:
        dictionary: features of phase 1.
        classifier: phase 1's.
        seed: of the new layer and all draws.
        recipe: how phase 2 trains.
    """
    made = with_cosine_layer(dictionary, classifier, COSINE_SCALE, seed)
    prior = dictionary.class_counts.double().log().float()
    history = train(
        made,
        dictionary,
        lambda logits, labels, step: F.cross_entropy(logits + prior, labels),
        recipe,
        seed,
    )
    return Head(made.requires_grad_(False), history=history)

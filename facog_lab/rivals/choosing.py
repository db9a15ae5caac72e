"""Numbers of a head that are chosen by code, and never on test images.

What a classifier scores on images that its backbone was trained on says little about new ones:
it remembers them. So a number is chosen on one of two kinds of features:

* unseen: of training images that the backbone was not trained on (a held-out share, or folds with
  a phase 1 each), where there are any;
* imagined: drawn from what the training features say about new ones, see `shrunken_means.imagine`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from facog_lab.config import ConfigError
from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import register_head
from facog_lab.rivals.closed_forms import logit_adjusted, moments, shares_of
from facog_lab.rivals.head_loop import Head, last_linear
from facog_lab.rivals.shrunken_means import imagine, true_means
from facog_lab.rng import rng_for

TAUS = tuple(round(0.1 * i, 1) for i in range(21))  # what τ is chosen from
IMAGINED = 20  # images of each class, at most
ALL_IMAGINED = 20_000  # of all classes together, so that a thousand classes take no longer


class Unseen(NamedTuple):
    """Features to choose a number on.

    Attributes:
        features: (R, D) float32, none of them of an image that the classifier's backbone has seen.
        labels: (R,) int64.
        class_counts: (C,), how many of each class a mean over classes goes by.
        what: "unseen" or "imagined".
    """

    features: Tensor
    labels: Tensor
    class_counts: Tensor
    what: str


def imagined(dictionary: FeatureDictionary, seed: int = 0) -> Unseen:
    """Imagined images of every class: the same number of each, at most 20."""
    classes = dictionary.num_classes
    each = max(1, min(IMAGINED, ALL_IMAGINED // classes))
    rng = rng_for(dictionary.labels.device, seed, "imagined")
    features, labels = imagine(true_means(moments(dictionary)), each, rng)
    counts = torch.full((classes,), max(each, 5), device=labels.device)
    return Unseen(features, labels, counts, "imagined")


def unseen(features: Tensor, labels: Tensor, num_classes: int) -> Unseen:
    """Training images that the backbone was not trained on; rare classes are pooled.

    Raises:
        ConfigError: if there are none.
    """
    if not len(labels):
        raise ConfigError(
            "no unseen image is given: leave `held_out` out to choose on imagined ones."
        )
    return Unseen(features, labels, labels.bincount(minlength=num_classes), "unseen")


@torch.no_grad()
def choose(
    heads: Callable[[float], nn.Module], values: Sequence[float], on: Unseen
) -> tuple[float, dict[str, float]]:
    """The value whose head has the highest mean class recall.

    Where several are best, the middle one of them is taken.

    Args:
        heads: value to features-to-logits.
        values: to choose from, ascending.
        on: what to score on; classes of fewer than 5 images are pooled.

    Returns:
        The value, and what every value scored.
    """
    shares = shares_of(on.labels, on.class_counts)
    scores = {}
    for value in values:
        right = heads(value)(on.features).argmax(1) == on.labels
        scores[str(value)] = (shares @ right.double()).item()
    highest = max(scores.values())
    best = [value for value in values if scores[str(value)] >= highest - 1e-12]
    return best[len(best) // 2], scores


@register_head("logit_adjustment_chosen", label="Logit adjustment, τ chosen", family="free",
               about="logit adjustment whose strength is chosen on imagined images")  # fmt: skip
def adjusted_by_choice(
    dictionary: FeatureDictionary,
    classifier: nn.Sequential,
    seed: int = 0,
    held_out: Unseen | None = None,
) -> Head:
    """Post-hoc logit adjustment with a chosen τ (Menon et al. 2021, Eq. 9).

    Args:
        dictionary: features of phase 1.
        classifier: phase 1's.
        seed: of the imagined images.
        held_out: images that the backbone has not seen; imagined ones when None.
    """
    on = held_out or imagined(dictionary, seed)
    logits = on._replace(features=_of(classifier, on.features))  # the same for every τ
    tau, scores = choose(
        lambda tau: logit_adjusted(nn.Identity(), dictionary.class_counts, tau), TAUS, logits
    )
    head = logit_adjusted(classifier, dictionary.class_counts, tau)
    return Head(head, {"tau": tau, "on": on.what, "recall": scores})


def tau_normalised(classifier: nn.Sequential, tau: float) -> nn.Sequential:
    """τ-norm: w_c / ‖w_c‖^τ in the last layer, and no bias (Kang et al. 2020, Eq. 4).

    Without the bias, τ = 0 is not phase 1's classifier. Weights of length 0 stay so (the published
    code makes them NaN).

    Args:
        classifier: phase 1's, with a linear last layer; copied.
        tau: τ, 1 for weights of length 1.

    Raises:
        ConfigError: if the last layer has no lengths.
    """
    made = copy.deepcopy(classifier)
    last = last_linear(made, "τ-norm")
    lengths = last.weight.detach().norm(dim=1, keepdim=True)
    with torch.no_grad():
        last.weight.div_(torch.where(lengths > 0, lengths**tau, 1))
        last.bias.zero_()
    return made


@register_head("tau_norm_no_bias", label="τ-norm, no bias", family="free",
               about="weights of equal length, τ chosen on imagined images")  # fmt: skip
def tau_norm(
    dictionary: FeatureDictionary,
    classifier: nn.Sequential,
    seed: int = 0,
    held_out: Unseen | None = None,
) -> Head:
    """τ-norm with a chosen τ and no bias (Kang et al. 2020, Eq. 4), as `adjusted_by_choice`."""
    on = held_out or imagined(dictionary, seed)
    hidden = on._replace(features=_of(classifier[:-1], on.features))
    tau, scores = choose(lambda tau: tau_normalised(classifier[-1:], tau), TAUS, hidden)
    return Head(tau_normalised(classifier, tau), {"tau": tau, "on": on.what, "recall": scores})


@torch.no_grad()
def _of(part: nn.Module, features: Tensor) -> Tensor:
    return part(features)

"""What a teacher would call out after phase 1 and while phase 2 trains, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from facog_lab import metrics
from facog_lab.dictionary import FeatureDictionary
from facog_lab.phase2 import ROWS_AT_ONCE

# ACSA on the training images. Of the finished trainings that were measured, CIFAR-100-LT's by the
# paper's preset has the least, 0.77; digits have 0.97 after all of their epochs, 0.52 after a
# third, when three times the epochs still bring 37 points on the test set.
UNDERFIT = 0.6
WINDOW = 25  # last steps that an alarm looks at
ONE_HOT, MEAN = 0.1, 0.98  # of log n_s: entropy of w below the one, above the other
WINS = 0.9  # D's mean score of real features above it, and of generated ones below 1 - WINS
ASTRAY = 0.1  # share of generated features whose nearest real one is of another class


def alarms(steps: Mapping[str, Sequence[Any]], nearest: Tensor, labels: Tensor) -> list[str]:
    """What is wrong at the end of a history.

    Args:
        steps: the table "steps" of a history of phase 2.
        nearest: (M,) classes of the real features that are nearest to some generated ones.
        labels: (M,) the classes that these were generated for.

    Returns:
        A sentence for each alarm: w has collapsed to one feature or to the mean, D always wins,
        generated features leave their class.
    """
    recent = {name: column[-WINDOW:] for name, column in steps.items()}
    messages = []
    facog, n_s = set(recent.get("oversampler", [])) == {"facog"}, set(recent.get("n_s", []))
    if facog and len(n_s) == 1 and (n := n_s.pop()) > 1:
        share = _mean(recent["entropy"]) / math.log(n)
        if share < ONE_HOT:
            messages.append(
                f"w has collapsed to one feature: of {n} features one has the weight "
                f"{_mean(recent['max_weight']):.2f}. G repeats real features, as random "
                "oversampling does."
            )
        elif share > MEAN:
            messages.append(
                f"w is the mean: all {n} features weigh alike (entropy {share:.0%} of "
                "log n_s). G makes what uniform weights make."
            )
    scores = [recent.get(name, [None]) for name in ("score_real", "score_generated")]
    if recent and None not in [*scores[0], *scores[1]]:  # there was a D in every step
        real, generated = map(_mean, scores)
        if real > WINS and generated < 1 - WINS:
            messages.append(
                f"D always wins: it scores real features {real:.2f} and generated ones "
                f"{generated:.2f}. Train G faster or D slower."
            )
    astray = nearest != labels
    if len(labels) and (share := astray.double().mean().item()) > ASTRAY:
        messages.append(
            f"Generated features leave their class: {share:.0%} of them have their nearest real "
            "feature in another one."
        )
    return messages


def underfit(classifier: nn.Module, dictionary: FeatureDictionary) -> list[str]:
    """What is wrong with a phase 1 that has not learned its own training images.

    Measured on clean images with the finished weights. The history's `train_acsa` is of augmented
    views while the weights change, and depends on the augmentation: with AutoAugment and Cutout
    CIFAR-100-LT ends near 0.31 there, and at 0.77 on clean images.

    Args:
        classifier: f_cls as phase 1 left it.
        dictionary: of the same phase 1.

    Returns:
        One sentence or more, as one alarm; none where it has learned them.
    """
    found = on_training_images(classifier, dictionary)
    if found.acsa >= UNDERFIT:
        return []
    chance = 1 / dictionary.num_classes
    return [
        f"Phase 1 is underfit: of its own training images it recognises {found.acsa:.0%}, as a "
        f"mean over classes (ACSA; guessing gives {chance:.0%}). A network that has learned them "
        f"is above {UNDERFIT:.0%}. Train it for more epochs, with a higher learning rate, or on "
        "more images. Until then its features are close to those of an untrained network, and "
        "what phase 2 makes of them says nothing about FACoG."
    ]


@torch.no_grad()
def on_training_images(classifier: nn.Module, dictionary: FeatureDictionary) -> metrics.Metrics:
    """What a classifier scores on the clean training images of a dictionary."""
    device, labels = next(classifier.parameters()).device, dictionary.labels
    # In the rows of a class the clean views come first, one of each image.
    place = torch.arange(len(labels), device=labels.device) - dictionary.starts[labels]
    rows = (place < dictionary.class_counts[labels]).nonzero()[:, 0]
    found = [
        classifier(dictionary.gather(part).to(device)).argmax(1)
        for part in rows.split(ROWS_AT_ONCE)
    ]
    return metrics.evaluate(torch.cat(found), labels[rows], dictionary.class_counts)


def nearest_classes(features: Tensor, real: Tensor, real_labels: Tensor) -> Tensor:
    """(M,) the classes of the real features, (N, D), nearest (Euclidean) to (M, D) features."""
    return real_labels[torch.cdist(features, real.float()).argmin(1)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

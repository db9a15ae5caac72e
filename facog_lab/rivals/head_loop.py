"""The one training loop of classifiers on phase-1 features; a method changes its arguments."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from facog_lab.config import ConfigError, TrainingError
from facog_lab.dictionary import FeatureDictionary
from facog_lab.metrics import History, append
from facog_lab.rivals.objectives import CosineLinear
from facog_lab.rng import rng_for, seeded

WEIGHT_DECAY = 1e-4  # of phase 2's classifier


class Head(NamedTuple):
    """A classifier on phase-1 features.

    Attributes:
        classifier: (B, D) features to (B, C) logits; the largest one is the prediction.
        chosen: what was chosen on training features, with what every choice scored there; empty
            for methods without a choice.
        history: table "epochs" with the mean loss and the learning rate; empty where nothing was
            trained.
    """

    classifier: nn.Module
    chosen: dict[str, Any] = {}  # noqa: RUF012, never changed
    history: History = {}  # noqa: RUF012, never changed


class Recipe(NamedTuple):
    """How a classifier is trained by SGD with momentum 0.9.

    Attributes:
        epochs: passes over as many features as there are.
        batch_size: features in a step.
        lr: learning rate.
        weight_decay: of all that is trained.
        schedule: of the learning rate: as it is, or half a cosine to 0, step by step.
        sampling: whether all features are equally likely in a batch, or all classes.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    schedule: Literal["constant", "cosine"]
    sampling: Literal["images", "classes"]


class Step(NamedTuple):
    """Where training is, as a loss may need it.

    Attributes:
        epoch: from 0.
        rng: the step's generator, for draws after those of the batch.
    """

    epoch: int
    rng: torch.Generator


class Sampling(Protocol):
    """What says how a batch is drawn: a recipe, or the settings of a head."""

    @property
    def batch_size(self) -> int:
        """Features in a batch."""

    @property
    def sampling(self) -> str:
        """Evenly over "images" or "classes"."""


Loss = Callable[[Tensor, Tensor, Step], Tensor]
Batches = Callable[[torch.Generator], tuple[Tensor, Tensor]]


def batch(
    how: Sampling, dictionary: FeatureDictionary, rows: Tensor, rng: torch.Generator
) -> Tensor:
    """(batch_size,) int64 rows of the dictionary: of all alike, or of all classes alike.

    Args:
        how: size and sampling.
        dictionary: whose rows they are.
        rows: (R,) int64, the rows that may be drawn under "images".
        rng: for the draws.
    """
    size, device = (how.batch_size,), rows.device
    if how.sampling == "images":
        return rows[torch.randint(len(rows), size, generator=rng, device=device)]
    labels = torch.randint(dictionary.num_classes, size, generator=rng, device=device)
    return dictionary.draw(labels, 1, rng)[:, 0]


def train(
    classifier: nn.Module,
    dictionary: FeatureDictionary,
    loss: Loss,
    recipe: Recipe,
    seed: int,
    parameters: Mapping[nn.Parameter, float] | None = None,
    batches: Batches | None = None,
    after_epoch: Callable[[], None] = lambda: None,
    rates: str = "",
) -> History:
    """Trains a classifier in place.

    Randomness depends on (seed, step) alone. Test features are not looked at.

    Args:
        classifier: features to logits, on the dictionary's device.
        dictionary: real features; how many there are says how long an epoch is.
        loss: (B, C) logits, (B,) labels and the step to a scalar.
        recipe: how.
        seed: of all draws.
        parameters: what is trained, each with its share of the learning rate; all of the
            classifier's, at 1, when None.
        batches: what gives a step its features and labels; real ones, see `batch`, when None.
        after_epoch: called at the end of every epoch.
        rates: the settings that a step can be too large by, in words, for the error.

    Returns:
        Table "epochs": the mean loss, and the last step's learning rate.

    Raises:
        TrainingError: naming the epoch's steps, if the loss is NaN or infinite.
    """
    shares = parameters or dict.fromkeys(classifier.parameters(), 1.0)
    trained = list(shares)
    optimizer = torch.optim.SGD(
        [{"params": [p]} for p in trained],
        lr=recipe.lr,
        momentum=0.9,
        weight_decay=recipe.weight_decay,
    )
    device = dictionary.labels.device
    everything = torch.arange(len(dictionary.labels), device=device)
    steps = math.ceil(int(dictionary.class_counts.sum()) / recipe.batch_size)
    history: History = {"epochs": {}}
    for epoch in range(recipe.epochs):
        total = torch.zeros((), device=device)
        for step in range(epoch * steps, (epoch + 1) * steps):
            rng = rng_for(device, seed, "head", step)
            if batches is None:
                rows = batch(recipe, dictionary, everything, rng)
                features, labels = dictionary.gather(rows), dictionary.labels[rows]
            else:
                features, labels = batches(rng)
            value = loss(classifier(features), labels, Step(epoch, rng))
            rate = recipe.lr
            if recipe.schedule == "cosine":
                rate *= (1 + math.cos(math.pi * step / (steps * recipe.epochs))) / 2
            for group, share in zip(optimizer.param_groups, shares.values(), strict=True):
                group["lr"] = rate * share
            gradients = torch.autograd.grad(value, trained)
            for parameter, gradient in zip(trained, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
            total += value.detach()
        mean = total.item() / steps
        if not math.isfinite(mean):
            first, last = epoch * steps + 1, (epoch + 1) * steps
            when = f"at step {last}" if first == last else f"between steps {first} and {last}"
            raise TrainingError(
                f"head: loss became NaN or infinite {when}, with "
                f"{rates or f'lr = {recipe.lr:g}'}. Lower the learning rate or the weight of a "
                "term; nothing was saved from these steps."
            )
        append(history["epochs"], {"loss": mean, "lr": rate})
        after_epoch()
    return history


def own(classifier: nn.Sequential, dictionary: FeatureDictionary) -> nn.Sequential:
    """A copy of phase 1's classifier that may be trained, on the dictionary's device."""
    return copy.deepcopy(classifier).to(dictionary.labels.device).requires_grad_(True)


def last_linear(classifier: nn.Sequential, method: str) -> nn.Linear:
    """The last layer of a classifier.

    Raises:
        ConfigError: if it is no linear layer, as LDAM's cosine layer is none.
    """
    last = classifier[-1]
    if not isinstance(last, nn.Linear):
        raise ConfigError(
            f"the classifier's last layer is {type(last).__name__}, and {method} needs one with "
            "weights and biases: choose another head, or an objective of phase 1 other than ldam."
        )
    return last


def cosine_layer(dictionary: FeatureDictionary, scale: float, seed: int) -> CosineLinear:
    """A new layer whose logits are `scale` times cosines, on the dictionary's device."""
    with seeded(seed, "head", "weights"):
        layer = CosineLinear(dictionary.feature_dim, dictionary.num_classes, scale)
    return layer.to(dictionary.labels.device)


def with_cosine_layer(
    dictionary: FeatureDictionary, classifier: nn.Sequential, scale: float = 1.0, seed: int = 0
) -> nn.Sequential:
    """A copy of phase 1's classifier with a new cosine layer in the place of its last."""
    made = own(classifier, dictionary)
    made[-1] = cosine_layer(dictionary, scale, seed)
    return made

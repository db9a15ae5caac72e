"""A classifier that is trained anew on phase-1 features: the one loop of all head methods."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from facog_lab import models, registry
from facog_lab.config import ConfigError, TrainingError
from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import make_optimizer, take_step
from facog_lab.metrics import History, append
from facog_lab.registry import choice
from facog_lab.rivals.objectives import ClassificationLoss, CosineLinear
from facog_lab.rng import rng_for, seeded
from facog_lab.settings import LossConfig


class HeadConfig(LossConfig):
    """Settings of a classifier that is trained anew on phase-1 features."""

    loss: choice(registry.losses) = Field(  # type: ignore[valid-type]
        "ce", description="what is minimised"
    )
    fits: Literal["classifier", "last_layer", "scales", "tau"] = Field(
        "classifier",
        description="what is learned: the whole classifier, its last layer, one factor for each "
        "class's logit (LWS), or nothing but τ (τ-norm)",
    )
    start: Literal["phase1", "new_last_layer", "new_linear"] = Field(
        "phase1",
        description="phase 1's classifier, with its last layer made anew or not, or a new linear "
        "layer on the features",
    )
    sampling: Literal["images", "classes"] = Field(
        "images", description="what a batch is drawn from evenly"
    )
    epochs: int = Field(40, ge=1, le=10_000, description="passes over as many features")
    batch_size: int = Field(128, ge=2, le=65_536, description="features in a batch")
    lr: float = Field(0.005, gt=0, le=100, description="learning rate of SGD")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="of the learning rate: as it is, or half a cosine to 0"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of new layers and all draws")


def start(
    config: HeadConfig, model: models.Phase1Model, dictionary: FeatureDictionary
) -> nn.Sequential:
    """The classifier that training begins with, on the dictionary's device.

    LDAM's last layer has cosines for logits. Where there is none, it gets phase 1's weights,
    whose lengths and biases then no longer matter.
    """
    classifier = copy.deepcopy(model.classifier).requires_grad_(True)
    classes = dictionary.num_classes
    with seeded(config.seed, "head", "weights"):
        if config.start == "new_linear":
            classifier = nn.Sequential(nn.Linear(dictionary.feature_dim, classes))
        elif config.start == "new_last_layer":
            classifier[-1] = nn.Linear(dictionary.feature_dim, classes)
        before = classifier[-1]
        scale = registry.losses[config.loss].facts["cosine_scale"]
        if scale and isinstance(before, nn.Linear):
            classifier[-1] = CosineLinear(before.in_features, classes, scale)
            classifier[-1].weight = before.weight
    return classifier.to(dictionary.features.device)


def fit(
    config: HeadConfig,
    classifier: nn.Sequential,
    dictionary: FeatureDictionary,
    rows: Tensor | None = None,
) -> History:
    """Trains a classifier in place.

    Args:
        config: of the method.
        classifier: to be trained, as far as `fits` says.
        dictionary: features, on the classifier's device.
        rows: (R,) int64, the rows that may be drawn under "images"; all when None.
    """
    device = dictionary.features.device
    criterion = ClassificationLoss(config.loss, config, dictionary.class_counts).to(device)
    scales = nn.Parameter(torch.ones(dictionary.num_classes, device=device))
    fitted: nn.Module = {"last_layer": classifier[-1], "scales": nn.ParameterList([scales])}.get(
        config.fits, classifier
    )
    optimizer = make_optimizer(fitted, "sgd")
    if rows is None:
        rows = torch.arange(len(dictionary.labels), device=device)
    steps = math.ceil(int(dictionary.class_counts.sum()) / config.batch_size)
    history: History = {"epochs": {}}
    for epoch in range(config.epochs):
        total = torch.zeros((), device=device)
        for step in range(epoch * steps, (epoch + 1) * steps):
            chosen = batch(config, dictionary, rows, rng_for(device, config.seed, "head", step))
            logits = classifier(dictionary.gather(chosen)) * scales
            loss = criterion(logits, dictionary.labels[chosen], epoch, config.epochs)
            lr = config.lr
            if config.schedule == "cosine":
                lr *= (1 + math.cos(math.pi * step / (steps * config.epochs))) / 2
            take_step(optimizer, loss, lr)
            total += loss.detach()
        figures = {"loss": total.item() / steps, "lr": lr}
        rates = f"lr = {config.lr:g}, loss = {config.loss}"
        _check_finite(figures, "head", epoch * steps + 1, (epoch + 1) * steps, rates)
        append(history["epochs"], figures)
    if config.fits == "scales":
        scale_classes(classifier[-1], scales.detach())
    return history


def batch(
    config: HeadConfig, dictionary: FeatureDictionary, rows: Tensor, rng: torch.Generator
) -> Tensor:
    """(batch_size,) int64 rows of the dictionary: of all alike, or of all classes alike."""
    size, device = (config.batch_size,), rows.device
    if config.sampling == "images":
        return rows[torch.randint(len(rows), size, generator=rng, device=device)]
    labels = torch.randint(dictionary.num_classes, size, generator=rng, device=device)
    return dictionary.draw(labels, 1, rng)[:, 0]


@torch.no_grad()
def scale_classes(last: nn.Module, factors: Tensor) -> None:
    """Multiplies each class's logit: its weights, and its bias where there is one.

    τ-norm (Kang et al. 2020, Eq. 3) has the factors ‖w_c‖^-τ, LWS (Eq. 5) those it learned.
    Differs from Eq. 3: there the biases are left out, here they shrink along, so that τ = 0
    leaves the classifier as it was; LWS's published code does the same.

    Args:
        last: a linear layer of C outputs.
        factors: (C,).

    Raises:
        ConfigError: if the layer is LDAM's.
    """
    if not isinstance(last, nn.Linear):
        raise ConfigError(
            f"the classifier's last layer is {type(last).__name__}, whose weights have no length: "
            "choose a head method other than tau_norm and lws, or an objective other than ldam."
        )
    last.weight.mul_(factors[:, None])
    last.bias.mul_(factors)


def lengths(classifier: nn.Sequential) -> Tensor:
    """(C,) lengths of the weights of a classifier's last layer, ‖w_c‖."""
    last: Any = classifier[-1]
    return last.weight.detach().norm(dim=1)


def _check_finite(figures: dict[str, float], phase: str, first: int, last: int, rates: str) -> None:
    """Stops a loop whose losses are no numbers any more.

    Args:
        figures: of some steps.
        phase: what the loop is called.
        first: of the steps.
        last: of the steps.
        rates: the settings that a step can be too large by, in words.

    Raises:
        TrainingError: naming the terms and the steps, if a figure is NaN or infinite.
    """
    bad = [name for name, value in figures.items() if not math.isfinite(value)]
    if bad:
        when = f"at step {last}" if first == last else f"between steps {first} and {last}"
        raise TrainingError(
            f"{phase}: {', '.join(bad)} became NaN or infinite {when}, with {rates}. Lower the "
            "learning rate or the weight of a term; nothing was saved from these steps."
        )

"""The rivals on phase-1 features: a classifier that is re-weighted, re-sampled or re-scaled.

One loop over the feature dictionary. What a method changes of it is data, see `registry.heads`.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from facog_lab import models, registry
from facog_lab.config import ConfigError, Device, TrainingError
from facog_lab.device import pick_device
from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import make_optimizer, take_step
from facog_lab.metrics import History, append
from facog_lab.registry import choice
from facog_lab.rivals.objectives import ClassificationLoss, CosineLinear
from facog_lab.rng import rng_for, seeded
from facog_lab.settings import LossConfig

TAUS = tuple(round(0.1 * i, 1) for i in range(21))  # what τ is chosen from
HELD_OUT = 0.2  # share of the training images that τ is chosen on


class HeadConfig(LossConfig):
    """Settings of a classifier that is retrained on phase-1 features."""

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
        description="phase 1's classifier, with a new last layer or not, or a new linear "
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


_DECOUPLED: dict[str, Any] = {  # the second stage of Kang et al. 2020
    "sampling": "classes",
    "epochs": 10,
    "batch_size": 512,
    "lr": 0.2,
    "schedule": "cosine",
}
# What differs from the defaults, which are those of phase 2's classifier. Losses add their own.
_ADD = registry.heads.add
_ADD("tau_norm", label="τ-norm", family="decoupled", about="weights of equal length",
     changes={"fits": "tau"})  # fmt: skip
_ADD("lws", label="LWS", family="decoupled", about="a factor a class",
     changes={**_DECOUPLED, "fits": "scales", "epochs": 5})  # fmt: skip
_ADD("crt", label="cRT", family="decoupled", about="a new last layer, classes evenly",
     changes={**_DECOUPLED, "fits": "last_layer", "start": "new_last_layer"})  # fmt: skip
_ADD("linear", label="New linear layer", family="decoupled", about="one new layer, classes evenly",
     changes={**_DECOUPLED, "start": "new_linear"})  # fmt: skip


class Head(NamedTuple):
    """A classifier on phase-1 features.

    Attributes:
        classifier: features to logits.
        chosen: what was chosen on held-out training features, with what every choice scored
            there; empty for methods without a choice.
        history: table "epochs" with the mean loss and the learning rate.
    """

    classifier: nn.Module
    chosen: dict[str, Any]
    history: History


def head_config(name: str, **changes: Any) -> HeadConfig:
    """The settings of a method, with some changed.

    Args:
        name: of a registered head.
        changes: fields of HeadConfig; the method's own settings win over them.

    Raises:
        ConfigError: for an unknown name, or a value that is not allowed.
    """
    return HeadConfig(**{**changes, **registry.heads[name].facts["changes"]})


def train_head(
    config: HeadConfig,
    dictionary: FeatureDictionary,
    model: models.Phase1Model,
    device: Device = "auto",
) -> Head:
    """A method's classifier, from phase 1's.

    Randomness depends on (seed, step) alone and PyTorch's global generator is not touched. Test
    features are not looked at.

    Args:
        config: of the method, see `head_config`.
        dictionary: features of phase 1.
        model: the networks of phase 1; the classifier is copied before it is changed.
        device: where to train.

    Raises:
        TrainingError: naming the epoch's steps, if the loss is NaN or infinite.
    """
    on = dictionary.to(pick_device(device))
    classifier = start(config, model, on)
    if config.fits == "tau":
        tau, scores = choose_tau(config, on, model)
        scale_classes(classifier[-1], lengths(classifier) ** -tau)
        return Head(classifier, {"tau": tau, "held_out_acsa": scores}, {})
    history = fit(config, classifier, on)
    return Head(classifier, {}, history)


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
    """(batch_size,) int64 rows of the dictionary: uniform over rows, or over classes."""
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


def choose_tau(
    config: HeadConfig, dictionary: FeatureDictionary, model: models.Phase1Model
) -> tuple[float, dict[str, float]]:
    """The τ of `TAUS` with the highest mean class recall on held-out training images.

    Phase 1's classifier was fitted to every training image, so it cannot be asked about them: a
    new last layer is trained on the others, as phase 2 trains, and τ is chosen for that one.
    The backbone has seen all images, so held-out recall is higher than it would be on new ones;
    where it is perfect for many τ, the middle one of the best is taken.

    Returns:
        τ, and the held-out mean class recall of every τ.
    """
    held = held_out(dictionary, config.seed)
    refit = config.replace(fits="last_layer", start="new_last_layer")
    classifier = start(refit, model, dictionary)
    fit(refit, classifier, dictionary, (~held).nonzero()[:, 0])
    features, labels = dictionary.features[held].float(), dictionary.labels[held]
    with torch.no_grad():
        logits = classifier(features)
    scores = {}
    for tau in TAUS:
        right = ((logits * lengths(classifier) ** -tau).argmax(1) == labels).double()
        sums = torch.zeros(dictionary.num_classes, device=right.device, dtype=right.dtype)
        there = torch.bincount(labels, minlength=len(sums))
        recall = sums.index_add(0, labels, right)[there > 0] / there[there > 0]
        scores[str(tau)] = recall.mean().item()
    best = [tau for tau in TAUS if scores[str(tau)] == max(scores.values())]
    return best[len(best) // 2], scores


def held_out(dictionary: FeatureDictionary, seed: int, share: float = HELD_OUT) -> Tensor:
    """(R,) bool, the rows of the images that are held out, a share of each class's images.

    A class of one image keeps it for training; one of two or more holds out at least one. All
    rows of an image go together.
    """
    rng = rng_for("cpu", seed, "held out")
    labels, images = dictionary.labels.cpu(), dictionary.images.cpu()
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label, count in enumerate(dictionary.class_counts.tolist()):
        own = images[labels == label].unique()
        size = max(1, round(share * count)) if count > 1 else 0
        held |= torch.isin(images, own[torch.randperm(count, generator=rng)[:size]])
    return held.to(dictionary.labels.device)


def _check_finite(figures: dict[str, float], phase: str, first: int, last: int, rates: str) -> None:
    """Stops a loop whose losses are no longer finite.

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

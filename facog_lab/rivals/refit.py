"""A classifier that is trained anew on phase-1 features, as its settings say."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from facog_lab import models, registry
from facog_lab.config import ConfigError
from facog_lab.dictionary import FeatureDictionary
from facog_lab.metrics import History
from facog_lab.registry import choice
from facog_lab.rivals.head_loop import WEIGHT_DECAY, Recipe, batch, train
from facog_lab.rivals.objectives import ClassificationLoss, CosineLinear
from facog_lab.rng import seeded
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
    drawn = torch.arange(len(dictionary.labels), device=device) if rows is None else rows

    def batches(rng: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = batch(config, dictionary, drawn, rng)
        return dictionary.gather(chosen), dictionary.labels[chosen]

    history = train(
        classifier,
        dictionary,
        lambda x, y, step: criterion(x * scales, y, step.epoch, config.epochs),
        Recipe(
            config.epochs,
            config.batch_size,
            config.lr,
            WEIGHT_DECAY,
            config.schedule,
            config.sampling,
        ),
        config.seed,
        dict.fromkeys(fitted.parameters(), 1.0),
        batches,
        rates=f"lr = {config.lr:g}, loss = {config.loss}",
    )
    if config.fits == "scales":
        scale_classes(classifier[-1], scales.detach())
    return history


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

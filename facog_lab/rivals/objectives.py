"""Losses of logits as what phase 1 minimises, and as what a new head on its features minimises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import registry
from facog_lab.losses import effective_number_weights
from facog_lab.phase1 import Objective
from facog_lab.registry import register_objective
from facog_lab.settings import LossConfig, Phase1Config


class LossInputs(NamedTuple):
    """What a registered loss is given in addition to (B, C) logits and (B,) labels.

    Attributes:
        config: settings of the losses.
        class_counts: (C,) training images of each class.
        weights: (C,) class weights in the epochs that have them; else None.
    """

    config: LossConfig
    class_counts: Tensor
    weights: Tensor | None


Loss = TypeVar("Loss", bound=Callable[[Tensor, Tensor, LossInputs], Tensor])


def register_loss(
    name: str, *, label: str, about: str, cosine_scale: float | None = None, **network: Any
) -> Callable[[Loss], Loss]:
    """A decorator that registers a loss, and with it a head and a network that minimise it.

    Args:
        name: as settings have it.
        label: as people read it.
        about: one line that says what it does.
        cosine_scale: the length of a logit, for losses whose logits are cosines; else None.
        network: fields of Phase1Config that differ where a network is trained with it.
    """

    def decorate(function: Loss) -> Loss:
        entry: dict[str, Any] = {"label": label, "family": "loss", "about": about}
        registry.losses.add(name, make=function, cosine_scale=cosine_scale, **entry)
        kind = type(f"Objective of {name}", (OfLoss,), {"loss_name": name})
        registry.objectives.add(name, make=kind, **entry)
        recipe(name, name, label=label, about=about, **network)
        return function

    return decorate


def recipe(
    name: str, loss: str, *, label: str, about: str, reweighting: str = "none", **network: Any
) -> None:
    """Registers a loss with a re-weighting, as a head and as a network; see `register_loss`."""
    entry: dict[str, Any] = {"label": label, "family": "loss", "about": about}
    changes = {"loss": loss, "reweighting": reweighting}
    registry.heads.add(name, changes=changes, **entry)
    of_network = {"objective": loss, "reweighting": reweighting} | network
    registry.networks.add(name, phase1=of_network, head=None, **entry)


class CosineLinear(nn.Module):
    """A linear layer whose logits are s cos θ: neither feature nor weights have a length (LDAM).

    Args:
        inputs: width of a feature.
        outputs: C.
        scale: s.
    """

    def __init__(self, inputs: int, outputs: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5)
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs) features to (B, C) logits."""
        return self.scale * F.linear(F.normalize(features, dim=-1), F.normalize(self.weight))


class ClassificationLoss(nn.Module):
    """The loss that a config names, with class weights in the epochs that have them.

    A module, so that it goes along to a device.

    Args:
        name: which loss.
        config: its settings.
        class_counts: (C,) training images of each class, each at least 1.
    """

    class_counts: Tensor
    weights: Tensor

    def __init__(self, name: str, config: LossConfig, class_counts: Tensor) -> None:
        super().__init__()
        self.function, self.config = registry.losses[name].make, config
        weights = effective_number_weights(class_counts, config.effective_number_beta)
        # They follow from the data, so they are no part of a run's state.
        self.register_buffer("class_counts", class_counts, persistent=False)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor, epoch: int, epochs: int) -> Tensor:
        """The loss of (B, C) logits in an epoch, from 0, of so many."""
        deferred = self.config.reweighting == "drw" and epoch >= math.ceil(0.8 * epochs)
        weights = self.weights if deferred or self.config.reweighting == "cb" else None
        loss: Tensor = self.function(
            logits, labels, LossInputs(self.config, self.class_counts, weights)
        )
        return loss


class OfLoss(Objective):
    """A registered loss alone; nothing is contrasted."""

    loss_name = "ce"
    contrastive = False

    def __init__(self, config: Phase1Config, class_counts: Tensor, feature_dim: int) -> None:
        super().__init__(config, class_counts, feature_dim)
        self.of_logits = ClassificationLoss(self.loss_name, config, class_counts)

    def classification(self, logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
        """The loss of (B, C) logits."""
        loss: Tensor = self.of_logits(logits, labels, epoch, self.config.epochs)
        return loss

    @classmethod
    def prepare(cls, classifier: nn.Sequential) -> None:
        """Cosines for logits, where the loss needs them."""
        if scale := registry.losses[cls.loss_name].facts["cosine_scale"]:
            last: Any = classifier[-1]
            classifier[-1] = CosineLinear(last.in_features, last.out_features, scale)


@register_objective("hybrid_sc", label="Hybrid-SC", family="contrastive",
                    about="from contrast to cross-entropy, by a curriculum")  # fmt: skip
class HybridSC(Objective):
    """From contrast to classification, α = 1 - (T/T_max)² (Wang et al. 2021)."""

    def lambdas(self, epoch: int) -> tuple[float, float]:
        """λ_ce and λ_sc in an epoch, from 0."""
        alpha = 1 - (epoch / self.config.epochs) ** 2
        return (1 - alpha) * self.config.lambda_ce, alpha * self.config.lambda_sc

"""What phase 1 minimises: the paper's L_ph1, or a rival's objective in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import losses, models
from facog_lab.rivals.contrastive import (
    assignment,
    balanced_contrastive,
    class_targets,
    k_positive_contrastive,
)
from facog_lab.rivals.losses import LDAM_SCALE, ClassificationLoss, LossName
from facog_lab.rng import rng_for, seeded

if TYPE_CHECKING:
    from facog_lab.phase1 import Phase1Config

ObjectiveName = Literal[
    "facog", "ce", "focal", "ldam", "balanced_softmax", "lade", "hybrid_sc", "kcl", "tsc", "bcl"
]
MEMORY = 0.9  # how much of a class's mean embedding stays when a batch has the class (TSC)


class Parts(NamedTuple):
    """What an objective is made of.

    Attributes:
        loss: the classifier's.
        contrast: the projector's; None for none, and then no views are made for it.
        apart: the classifier learns beside, on features that it cannot change, since the
            objective is contrastive alone.
        curriculum: from contrast to classification, α = 1 - (T/T_max)² (Wang et al. 2021).
    """

    loss: LossName
    contrast: Literal["sc", "kcl", "tsc", "bcl"] | None = None
    apart: bool = False
    curriculum: bool = False


OBJECTIVES: dict[ObjectiveName, Parts] = {
    "facog": Parts("ce", "sc"),
    "ce": Parts("ce"),
    "focal": Parts("focal"),
    "ldam": Parts("ldam"),
    "balanced_softmax": Parts("balanced_softmax"),
    "lade": Parts("lade"),
    "hybrid_sc": Parts("ce", "sc", curriculum=True),
    "kcl": Parts("ce", "kcl", apart=True),
    "tsc": Parts("ce", "tsc", apart=True),
    "bcl": Parts("balanced_softmax", "bcl"),
}


class Terms(NamedTuple):
    """A batch's loss, its two terms without their λ (0 for one there is not), (B, C) logits."""

    loss: Tensor
    terms: tuple[Tensor, Tensor]
    logits: Tensor


class Objective(nn.Module):
    """L = λ_ce L_ce + λ_sc L_sc (Eq. 2), or what a rival has for the two terms.

    A module, since some contrasts have something to learn or to remember: BCL's prototypes are a
    small network over the classifier's weights, TSC keeps the classes' mean embeddings.

    Args:
        config: of phase 1.
        class_counts: (C,) training images of each class.
        feature_dim: D.
    """

    targets: Tensor
    means: Tensor
    target_of: Tensor

    def __init__(self, config: Phase1Config, class_counts: Tensor, feature_dim: int) -> None:
        super().__init__()
        self.config, self.parts = config, OBJECTIVES[config.objective]
        self.classification = ClassificationLoss(self.parts.loss, config, class_counts)
        classes, width = len(class_counts), config.projection_dim
        if self.parts.contrast == "tsc":
            turn = rng_for("cpu", config.seed, "phase1", "targets")
            self.register_buffer(
                "targets", class_targets(classes, width, turn)
            )  # one each, of nobody
            self.register_buffer("means", torch.zeros(classes, width))
            self.register_buffer("target_of", torch.arange(classes))
        if self.parts.contrast == "bcl":
            with seeded(config.seed, "phase1", "prototypes"):
                self.prototypes = models.mlp(
                    [feature_dim, feature_dim, feature_dim, width], nn.ReLU(), batch_norm=True
                )

    @property
    def recipes(self) -> list[str]:
        """How the views of an image are made: for the classifier first, two for the contrast."""
        regular, contrast = self.config.augmentation, self.parts.contrast
        if contrast is None:
            return [regular]
        if self.config.views == 2:
            return [regular, regular]
        return ["simaugment"] * 2 if self.parts.apart else [regular, "simaugment", "simaugment"]

    def weights(self, epoch: int) -> tuple[float, float]:
        """λ_ce and λ_sc in an epoch, from 0."""
        config = self.config
        if self.parts.curriculum:
            alpha = 1 - (epoch / config.epochs) ** 2
            return (1 - alpha) * config.lambda_ce, alpha * config.lambda_sc
        return config.lambda_ce, config.lambda_sc

    def forward(
        self,
        model: models.Phase1Model,
        features: Tensor,
        labels: Tensor,
        epoch: int,
        rng: torch.Generator,
    ) -> Terms:
        """The loss of a batch.

        Args:
            model: its classifier and projector are used.
            features: (V, B, D) float32, of as many views as there are recipes.
            labels: (B,) int64.
            epoch: from 0; class weights and curriculum depend on it.
            rng: for contrasts that draw; on the device of the features.
        """
        # Two views serve both losses; of three, the first serves L_ce and the others L_sc.
        for_ce, for_sc = (features[:1], features[1:]) if len(features) == 3 else (features,) * 2
        if self.parts.apart:
            for_ce = for_ce.detach()
        logits = model.classifier(for_ce)  # (1 or 2, B, C)
        ce = self.classification(
            logits.flatten(0, 1), labels.repeat(len(logits)), epoch, self.config.epochs
        )
        lambda_ce, lambda_sc = self.weights(epoch)
        loss, sc = lambda_ce * ce, torch.zeros_like(ce)
        if self.parts.contrast is not None:
            sc = self.contrast(model, model.embed(for_sc.flatten(0, 1)), labels.repeat(2), rng)
            loss = loss + lambda_sc * sc
        return Terms(loss, (ce, sc), logits[0].detach())

    def contrast(
        self, model: models.Phase1Model, embeddings: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """L_sc of (2B, D_P) embeddings, or what the objective has for it."""
        temperature = self.config.temperature
        if self.parts.contrast == "kcl":
            return k_positive_contrastive(embeddings, labels, temperature, rng)
        if self.parts.contrast == "tsc":
            if self.training:
                self.remember(embeddings.detach(), labels)
            targets = self.targets[self.target_of]
            return k_positive_contrastive(embeddings, labels, temperature, rng, targets=targets)
        if self.parts.contrast == "bcl":
            prototypes = F.normalize(self.prototypes(model.classifier[-1].weight), dim=1)
            return balanced_contrastive(embeddings, labels, prototypes, temperature)
        return losses.supervised_contrastive(embeddings, labels, temperature)

    def remember(self, embeddings: Tensor, labels: Tensor) -> None:
        """Moves the mean embeddings of the classes of a batch towards those in it (TSC)."""
        sums = torch.zeros_like(self.means).index_add_(0, labels, embeddings)
        there = torch.bincount(labels, minlength=len(sums)) > 0
        moved = MEMORY * self.means + (1 - MEMORY) * F.normalize(sums, dim=1)
        self.means.copy_(torch.where(there[:, None], F.normalize(moved, dim=1), self.means))

    def start_epoch(self) -> None:
        """Gives each class the target that is near its mean, all distances together (TSC).

        Differs from Li et al. 2022: once an epoch, not at every step.
        """
        if self.parts.contrast == "tsc":
            nearness = (self.means @ self.targets.T).double().cpu().numpy()
            self.target_of.copy_(torch.from_numpy(assignment(-nearness)))


def classifier_for(objective: ObjectiveName, classifier: nn.Sequential) -> None:
    """Makes a classifier what an objective needs: LDAM's last layer has cosines for logits."""
    if OBJECTIVES[objective].loss == "ldam":
        last: Any = classifier[-1]
        classifier[-1] = models.CosineLinear(last.in_features, last.out_features, LDAM_SCALE)

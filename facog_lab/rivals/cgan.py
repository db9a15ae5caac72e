"""Generators that learn against a discriminator or the classifier: cGAN, GAMO.

Their learning rates, batches and losses are their papers', so that they keep them whatever the
controls of FACoG say; of those they read what a step trains.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import losses, models
from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import (
    Given,
    Mix,
    make_optimizer,
    real_batch,
    take_step,
)
from facog_lab.registry import register_oversampler
from facog_lab.settings import UPDATES, Controls

LR, BATCH = 2e-4, 32  # with Adam, β1 0.5 (Mullick et al. 2019)
NOISE = 100


class CGAN:
    """A generator that emits the feature itself, against a discriminator (Mirza, Osindero 2014).

    [noise ‖ class] → 128 → 256 → feature, with LeakyReLU(0.1): D mirrored. Both are conditional on
    the class, and trained on least squares, batches and rates as those of GAMO, whose paper has it
    as its baseline (Mullick et al. 2019). Features that are never negative stay so (softplus).

    Args:
        dictionary: the real features.
        discriminator: D; None for none.
        generator: noise and labels in one row to what `_made` needs; the default emits features.
    """

    def __init__(
        self,
        dictionary: FeatureDictionary,
        discriminator: models.Discriminator | None,
        generator: nn.Module | None = None,
    ) -> None:
        self.dictionary, self.discriminator = dictionary, discriminator
        width = NOISE + dictionary.num_classes
        self.generator = generator or models.mlp(
            [width, 128, 256, dictionary.feature_dim], nn.LeakyReLU(0.1)
        )
        self.generator.to(dictionary.features.device)
        self.positive = bool((dictionary.features >= 0).all())
        self.generator_optimizer = make_optimizer(self.generator, "adam")
        self.parts = {"generator": self.generator, "generator_optimizer": self.generator_optimizer}
        if discriminator is not None:
            discriminator.to(dictionary.features.device)
            self.discriminator_optimizer = make_optimizer(discriminator, "adam")
            self.parts |= {
                "discriminator": discriminator,
                "discriminator_optimizer": self.discriminator_optimizer,
            }

    def train_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """D, if there is one, then G, each with fresh draws of uniform labels."""
        figures = {}
        if self.discriminator is not None:
            labels, real = real_batch(self.dictionary, BATCH, rng)
            with torch.no_grad():
                made = self._made(labels, rng).features
            scores = self.discriminator(real, labels), self.discriminator(made, labels)
            loss = losses.discriminator_adversarial(*scores)
            if "d" in UPDATES[controls.trains]:
                take_step(self.discriminator_optimizer, loss, LR)
            figures = {
                "loss_d": loss.detach(),
                "score_real": scores[0].detach().mean(),
                "score_generated": scores[1].detach().mean(),
            }
        labels, _ = real_batch(self.dictionary, BATCH, rng)
        terms = self.generator_losses(labels, rng)
        loss = torch.stack(list(terms.values())).sum()
        if "g" in UPDATES[controls.trains]:
            take_step(self.generator_optimizer, loss, LR)
        return figures | {"loss_g": loss.detach()} | {k: v.detach() for k, v in terms.items()}

    def generator_losses(self, labels: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """The terms that G minimises, for (B,) labels, by the names that they are logged under."""
        made = self._made(labels, rng).features
        if self.discriminator is None:
            return {}
        return {"loss_adv": losses.generator_adversarial(self.discriminator(made, labels))}

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """(B, D) features for (B,) labels."""
        return self._made(labels, rng)

    def _made(self, labels: Tensor, rng: torch.Generator) -> Mix:
        made = self.generator(self._input(labels, rng))
        return Mix(F.softplus(made) if self.positive else made)

    def _input(self, labels: Tensor, rng: torch.Generator) -> Tensor:
        """(B, 100 + C): noise and the one-hot class."""
        noise = torch.randn(len(labels), NOISE, generator=rng, device=labels.device)
        return torch.cat([noise, F.one_hot(labels, self.dictionary.num_classes)], 1)


class GAMO(CGAN):
    """Convex weights over all features of a class, against the classifier (Mullick et al. 2019).

    [noise ‖ class] → 256 → 64, ReLU, shared by all classes; then a linear layer to N_c logits of
    each class's own and softmax. G wants the classifier M to see any class but the right one, and
    D, where there is one, to see real features; least squares, as in the published code.

    Differs from the paper: labels are uniform over all classes, the largest among them (it is not
    generated for the classifier); one step of G for both terms; features are frozen, and M is the
    classifier of phase 1, fine-tuned by phase 2; no batch norm, as in FACoG's G, and no noise on
    D's targets.

    Args:
        dictionary: the real features.
        discriminator: D; None for GAMO without D.
        classifier: M, (B, D) features to (B, C) logits: the one that is being trained, which is
            only looked at here.
    """

    def __init__(
        self,
        dictionary: FeatureDictionary,
        discriminator: models.Discriminator | None,
        classifier: Callable[[Tensor], Tensor],
    ) -> None:
        widths = [NOISE + dictionary.num_classes, 256, 64, len(dictionary.labels)]
        super().__init__(dictionary, discriminator, models.mlp(widths, nn.ReLU()))
        self.classifier = classifier

    def generator_losses(self, labels: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """What M makes of the features, and D."""
        made = self._made(labels, rng).features
        terms = {"loss_fool": fooled(self.classifier(made), labels)}
        if self.discriminator is not None:
            terms["loss_adv"] = losses.generator_adversarial(self.discriminator(made, labels))
        return terms

    def _made(self, labels: Tensor, rng: torch.Generator) -> Mix:
        logits = self.generator(self._input(labels, rng))  # (B, R)
        foreign = labels[:, None] != self.dictionary.labels
        weights = logits.masked_fill(foreign, -torch.inf).softmax(1)
        # As many slots as the largest of these classes has rows; a smaller one leaves some empty.
        first, size = self.dictionary.starts[labels], self.dictionary.starts.diff()[labels]
        slots = torch.arange(int(size.max()) if len(size) else 1, device=labels.device)
        empty = slots >= size[:, None]
        rows = torch.where(empty, first[:, None], first[:, None] + slots)  # (B, N)
        # By one matrix product: N features for each label would be most of the time of a step.
        made = weights @ self.dictionary.features.float()
        return Mix(made, weights.gather(1, rows).masked_fill(empty, 0), rows)


def fooled(logits: Tensor, labels: Tensor) -> Tensor:
    """GAMO's loss of G against the classifier: mean (softmax(logits) - (1 - one-hot))².

    Differs from the paper's equations, which have logarithms: this is the mean squared error of
    the published code, whose target is 1 for every class but the right one.

    Args:
        logits: (B, C).
        labels: (B,) the right classes.

    Example:
        >>> fooled(torch.tensor([[100.0, 0.0]]), torch.tensor([1])).item()
        0.0
    """
    others = 1 - F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return (logits.softmax(1) - others).square().mean()


@register_oversampler("cgan", label="cGAN", family="adversarial", about="emits the feature itself")
def cgan(given: Given) -> CGAN:
    """A cGAN for these features."""
    with given.initial_weights():
        return CGAN(given.dictionary, given.discriminator())


@register_oversampler("gamo_without_d", label="GAMO without D", family="adversarial",
                      about="mixes all of a class, against f_cls", in_hull=True)  # fmt: skip
def gamo_without_d(given: Given) -> GAMO:
    """GAMO against the classifier alone."""
    with given.initial_weights():
        return GAMO(given.dictionary, None, given.classifier)


@register_oversampler("gamo", label="GAMO", family="adversarial",
                      about="mixes all of a class, against f_cls and D", in_hull=True)  # fmt: skip
def gamo(given: Given) -> GAMO:
    """GAMO against the classifier and D."""
    with given.initial_weights():
        return GAMO(given.dictionary, given.discriminator(), given.classifier)

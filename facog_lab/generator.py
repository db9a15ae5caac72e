"""What makes features for a class, behind one small protocol; and FACoG, the paper's.

An oversampler is fitted to a dictionary when it is made, takes training steps, and gives features
for wanted labels. FACoG (§3.3) mixes n_s real features of the class with convex weights w that it
learns, f̃ = Σ w_i f_i. The null baselines, which say what the learning is worth, and the rivals are
in `rivals`, registered in the same way.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import losses, models, registry
from facog_lab.dictionary import FeatureDictionary, References
from facog_lab.metrics import weight_entropy
from facog_lab.registry import register_generator, register_oversampler
from facog_lab.rng import rng_for, seeded
from facog_lab.settings import MAX_N_S, UPDATES, Controls, Phase2Config

PART = 512  # of many generated features, those whose weights are made at once


class Mix(NamedTuple):
    """Generated features, and as much as is known of where they came from.

    features = Σ weights · dictionary.features[rows] + added, where there are weights.

    Attributes:
        features: (B, D).
        weights: (B, n), convex weights w; None where no real features are mixed.
        rows: (B, n) int64, rows of the dictionary, all of the wanted class; None as for weights.
        added: (B, D), what was added to the mix; None for nothing, so that the features lie in
            the convex hull of their rows.
    """

    features: Tensor
    weights: Tensor | None = None
    rows: Tensor | None = None
    added: Tensor | None = None


class Oversampler(Protocol):
    """What an oversampler offers to phase 2."""

    @property
    def parts(self) -> Mapping[str, nn.Module | torch.optim.Optimizer]:
        """Networks and optimisers, by name: the state that a later session needs."""
        ...

    def train_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """One training step; the losses and figures to log."""
        ...

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """Features for (B,) int64 labels."""
        ...


class Unlearned:
    """What oversamplers share that learn nothing: no step, nothing to keep."""

    parts: ClassVar[dict[str, nn.Module | torch.optim.Optimizer]] = {}

    def train_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """Nothing to learn."""
        return {}


class Given(NamedTuple):
    """What an oversampler is made from; a registered function takes it.

    Attributes:
        config: FACoG's settings, and the seed of initial weights.
        dictionary: what it is fitted to; all that it makes lies on the same device.
        projector: f_proj of phase 1.
        classifier: f_cls, the very module that phase 2 trains, only to be looked at: the generators
            of GAMO and SAFA learn from its present output.
    """

    config: Phase2Config
    dictionary: FeatureDictionary
    projector: nn.Module
    classifier: nn.Module

    def references(self) -> References:
        """The features to mix, fresh or fixed as the config says."""
        rng = rng_for(self.dictionary.features.device, self.config.seed, "references")
        return References(self.dictionary, self.config.references == "fixed", rng)

    def initial_weights(self) -> AbstractContextManager[None]:
        """Networks that are made inside have the weights of the config's seed."""
        return seeded(self.config.seed, "phase2", "weights")

    def discriminator(self) -> models.Discriminator:
        """A new D for these features."""
        return models.Discriminator(self.dictionary.num_classes, self.dictionary.feature_dim)


def make_oversampler(
    config: Phase2Config,
    dictionary: FeatureDictionary,
    projector: nn.Module,
    classifier: nn.Module,
) -> Oversampler:
    """The oversampler that a config names, new; see `Given`."""
    given = Given(config, dictionary, projector, classifier)
    made: Oversampler = registry.oversamplers[config.oversampler].make(given)
    return made


class FACoG:
    """The paper's oversampler: G proposes w; D and the frozen projector give the losses.

    Args:
        given: the features to mix, and the settings.
        generator: G, with the width of its noise as `.noise_dim`; see models.Generator.
        discriminator: D.
    """

    def __init__(self, given: Given, generator: Any, discriminator: models.Discriminator) -> None:
        config, device = given.config, given.dictionary.features.device
        self.references, self.dictionary = given.references(), given.dictionary
        # Frozen, but gradients pass through it to G.
        self.projector = copy.deepcopy(given.projector).to(device).requires_grad_(False)
        self.generator, self.discriminator = generator.to(device), discriminator.to(device)
        self.batch_size, self.candidates = config.batch_size, config.asc_candidates
        self.generator_optimizer = make_optimizer(generator, config.optimizer)
        self.discriminator_optimizer = make_optimizer(discriminator, config.optimizer)
        self.parts: dict[str, nn.Module | torch.optim.Optimizer] = {
            "generator": generator,
            "discriminator": discriminator,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def train_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """D, then G, each with fresh draws of uniform labels (§3.4, label selection)."""
        return self.discriminator_step(controls, rng) | self.generator_step(controls, rng)

    def discriminator_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """One step of D on L_adv (Eq. 3), with f̃ detached."""
        loss, scores = self.discriminator_loss(controls, rng)
        if "d" in UPDATES[controls.trains]:
            take_step(self.discriminator_optimizer, loss, controls.lr_discriminator)
        return {"loss_d": loss.detach()} | scores

    def generator_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """One step of G on L_ph2 = λ_adv L_adv + λ_asc L_asc (Eq. 5)."""
        learns = "g" in UPDATES[controls.trains]
        adv, asc = self.generator_losses(controls, rng, training=learns)
        loss = controls.lambda_adv * adv + controls.lambda_asc * asc
        if learns:
            take_step(self.generator_optimizer, loss, controls.lr_generator)
        return {"loss_g": loss.detach(), "loss_adv": adv.detach(), "loss_asc": asc.detach()}

    def discriminator_loss(
        self, controls: Controls, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """D's part of L_adv (Eq. 3) on a batch, and D's mean scores of real and generated."""
        labels, real = real_batch(self.dictionary, self.batch_size, rng)
        with torch.no_grad():
            fake = self.generate(labels, controls, rng).features
        real_scores = self.discriminator(real, labels)
        fake_scores = self.discriminator(fake, labels)
        loss = losses.discriminator_adversarial(real_scores, fake_scores)
        return loss, {
            "score_real": real_scores.detach().mean(),
            "score_generated": fake_scores.detach().mean(),
        }

    def generator_losses(
        self, controls: Controls, rng: torch.Generator, training: bool
    ) -> tuple[Tensor, Tensor]:
        """G's part of L_adv (Eq. 3) and L_asc (Eq. 4) on a batch.

        `training` says whether a batch norm in G learns from the batch.
        """
        labels, real = real_batch(self.dictionary, self.batch_size, rng)
        fake = self._mixed(labels, controls, rng, training)
        adv = losses.generator_adversarial(self.discriminator(fake.features, labels))
        asc = losses.augmented_supervised_contrastive(
            F.normalize(self.projector(fake.features), dim=1),
            labels,
            F.normalize(self.projector(real), dim=1),
            labels,
            controls.temperature,
            self.candidates,
        )
        return adv, asc

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """f̃ = Σ w_i f_i with w = G(noise | label), for (B,) labels."""
        return self._mixed(labels, controls, rng, training=False)

    def _mixed(
        self, labels: Tensor, controls: Controls, rng: torch.Generator, training: bool
    ) -> Mix:
        self.generator.train(training)  # for the option of batch norm in G
        rows = self.references.rows(labels, controls.n_s, rng)  # (B, n_s)
        width = self.generator.noise_dim
        noise = torch.randn(len(labels), width, generator=rng, device=labels.device)
        if len(labels) <= PART or torch.is_grad_enabled():
            features = self.dictionary.gather(rows)  # (B, n_s, D)
            weights = self.generator(noise, labels, features)  # w, (B, n_s), convex
            return Mix(
                torch.einsum("bn,bnd->bd", weights, features), weights, rows
            )  # f̃ = Σ w_i f_i
        # Of many, G makes the weights by parts that a cache holds, and (B, n_s, D) is not laid out.
        weights = torch.empty(rows.shape, device=labels.device)
        made = torch.empty(len(labels), self.dictionary.feature_dim, device=labels.device)
        for i in range(0, len(labels), PART):
            part = slice(i, i + PART)
            features = self._looked_at(rows[part])
            weights[part] = self.generator(noise[part], labels[part], features)
            made[part] = self.dictionary.weighted_sum(rows[part], weights[part])
        return Mix(made, weights, rows)

    def _looked_at(self, rows: Tensor) -> Tensor:
        """What G looks at to weigh the features of (B, n_s) rows; the paper's at their number."""
        if self.generator.sees_features:
            return self.dictionary.gather(rows)  # (B, n_s, D)
        return torch.empty(*rows.shape, 0, device=rows.device)


@register_oversampler("facog", label="FACoG", family="FACoG", about="weights that G learns (paper)",
                      in_hull=True)  # fmt: skip
def facog(given: Given) -> FACoG:
    """G is the one that the config names."""
    with given.initial_weights():
        generator = registry.generators[given.config.generator].make(given)
        return FACoG(given, generator, given.discriminator())


@register_generator("mlp", label="MLP", family="FACoG", about="sees noise and class (paper)")
def mlp(given: Given) -> models.Generator:
    """A new G of the paper."""
    config, classes = given.config, given.dictionary.num_classes
    hidden, normed = config.generator_hidden, config.generator_batch_norm
    return models.Generator(classes, MAX_N_S, hidden, normed)


def real_batch(
    dictionary: FeatureDictionary, size: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Labels drawn evenly over classes, (size,), and a real feature of each, (size, D)."""
    device = dictionary.labels.device
    labels = torch.randint(dictionary.num_classes, (size,), generator=rng, device=device)
    return labels, dictionary.gather(dictionary.draw(labels, 1, rng)[:, 0])


def mix(dictionary: FeatureDictionary, rows: Tensor, weights: Tensor) -> Mix:
    """f̃ = Σ w_i f_i (§3.3) for (B, n_s) rows of the dictionary and (B, n_s) weights."""
    return combine(dictionary.gather(rows), rows, weights)


def combine(features: Tensor, rows: Tensor, weights: Tensor) -> Mix:
    """`mix` where the features of the rows are given already, (B, n_s, D)."""
    return Mix(torch.einsum("bn,bnd->bd", weights, features), weights, rows)


def make_optimizer(module: nn.Module, name: Literal["sgd", "adam"]) -> torch.optim.Optimizer:
    """SGD(momentum 0.9, weight decay 1e-4) or Adam(β1 0.5); `take_step` sets the learning rate."""
    if name == "adam":
        return torch.optim.Adam(module.parameters(), betas=(0.5, 0.999))
    return torch.optim.SGD(module.parameters(), momentum=0.9, weight_decay=1e-4)


def take_step(optimizer: torch.optim.Optimizer, loss: Tensor, lr: float) -> None:
    """One step down the gradient of `loss`, for this optimiser's parameters alone."""
    (group,) = optimizer.param_groups
    group["lr"], parameters = lr, group["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def figures_of(mixed: Mix) -> dict[str, Tensor]:
    """What to log about generated features, as far as it is known.

    The entropy of w and its largest weight; the length of what was added, as a share of the
    features' own.
    """
    figures = {}
    if mixed.weights is not None:
        weights = mixed.weights.detach()
        figures = {"entropy": weight_entropy(weights), "max_weight": weights.amax(1).mean()}
    if mixed.added is not None:
        length = mixed.features.detach().norm(dim=1).mean()
        figures["added"] = mixed.added.detach().norm(dim=1).mean() / length.clamp(min=1e-12)
    return figures

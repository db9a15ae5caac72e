"""Everything that makes features for a class, behind one small protocol.

An oversampler is fitted to a dictionary when it is made, takes training steps, and gives features
for wanted labels. Those here mix n_s real features of the class with convex weights w,
f̃ = Σ w_i f_i; they differ in where w comes from. FACoG (§3.3) learns it; the others are the null
baselines that say what the learning is worth. The rivals are in `smote`, `adversarial` and
`borrowing`; `makers` makes the one that a config names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import losses, models
from facog_lab.dictionary import FeatureDictionary
from facog_lab.metrics import weight_entropy
from facog_lab.runs import checkpoint
from facog_lab.settings import MAX_N_S, Controls, OversamplerName

PART = 512  # of many generated features, those whose weights are made at once


class References:
    """Which real features are mixed: drawn afresh for every sample, or one set for each class.

    Args:
        dictionary: where the features are.
        fixed: draw one set per class now, with `rng` (§3.2's other reading).
        rng: for the fixed sets.
    """

    def __init__(self, dictionary: FeatureDictionary, fixed: bool, rng: torch.Generator) -> None:
        self.dictionary = dictionary
        self.sets: Tensor | None = None
        if fixed:
            # A class smaller than a set repeats its features in turn, so that the first n_s of a
            # set are different ones wherever the class has as many.
            self.sets = torch.stack(
                [
                    first
                    + torch.randperm(size, generator=rng, device=rng.device).repeat(
                        math.ceil(MAX_N_S / size)
                    )[:MAX_N_S]
                    for first, size in zip(
                        dictionary.starts.tolist(), dictionary.starts.diff().tolist(), strict=False
                    )
                ]
            )

    def rows(self, labels: Tensor, n_s: int, rng: torch.Generator) -> Tensor:
        """(B, n_s) rows of the dictionary for (B,) labels."""
        if self.sets is None:
            return self.dictionary.draw(labels, n_s, rng)
        return self.sets[labels, :n_s]


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
    """What phase 2 asks of an oversampler."""

    def train_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """One training step; the losses and figures to log."""
        ...

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """Features for (B,) int64 labels."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What a later session needs to go on."""
        ...

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Goes on from what `state` gave."""
        ...


class Unlearned:
    """What oversamplers share that learn nothing: no step, no state."""

    def train_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """Nothing to learn."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Nothing."""


class Learned:
    """What oversamplers share that learn: their state is that of networks and optimisers."""

    parts: dict[str, nn.Module | torch.optim.Optimizer]

    def state(self) -> dict[str, Tensor]:
        """All networks and optimisers."""
        return checkpoint.pack(**self.parts)

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Goes on from what `state` gave."""
        checkpoint.unpack(tensors, **self.parts)


class ConvexNull(Unlearned):
    """A null baseline: convex weights that are drawn or fixed, never learned.

    Args:
        references: the features to mix.
        name: "random_oversampling" repeats one real feature, "uniform_weights" takes the mean of
            n_s, "dirichlet_weights" draws w from Dirichlet(1), uniform on the simplex.
    """

    def __init__(self, references: References, name: OversamplerName) -> None:
        self.references, self.name = references, name

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """(B, D) features for (B,) labels."""
        rows = self.references.rows(labels, controls.n_s, rng)
        # Exponential draws, divided by their sum, are Dirichlet(1).
        weights = torch.empty(rows.shape, device=labels.device).exponential_(generator=rng)
        if self.name == "uniform_weights":
            weights = torch.ones_like(weights)
        elif self.name == "random_oversampling":
            # The largest of equal draws is in a random slot; fixed references keep their slots.
            weights = F.one_hot(weights.argmax(1), controls.n_s).to(weights.dtype)
        weights = weights / weights.sum(1, keepdim=True)
        return mix(self.references.dictionary, rows, weights)


class FACoG(Learned):
    """The paper's oversampler: G proposes w, D and the frozen projector say what is wrong with it.

    Args:
        references: the features to mix.
        projector: f_proj of phase 1; frozen, but gradients pass through it to G.
        generator: G, with the width of its noise as `.noise_dim`; see models.Generator.
        batch_size: labels in a step.
        optimizer: "sgd" (momentum 0.9, weight decay 1e-4) or "adam" (β1 0.5), for G and D.
        candidates: what L_asc compares anchors with.
    """

    def __init__(
        self,
        references: References,
        projector: nn.Module,
        generator: nn.Module,
        discriminator: models.Discriminator,
        *,
        batch_size: int,
        optimizer: Literal["sgd", "adam"],
        candidates: losses.Candidates,
    ) -> None:
        self.references, self.dictionary = references, references.dictionary
        self.projector = projector.requires_grad_(False)
        self.generator, self.discriminator = generator, discriminator
        self.batch_size, self.candidates = batch_size, candidates
        self.generator_optimizer = make_optimizer(generator, optimizer)
        self.discriminator_optimizer = make_optimizer(discriminator, optimizer)
        self.parts = {
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
        if controls.train("d"):
            take_step(self.discriminator_optimizer, loss, controls.lr_discriminator)
        return {"loss_d": loss.detach()} | scores

    def generator_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """One step of G on L_ph2 = λ_adv L_adv + λ_asc L_asc (Eq. 5)."""
        adv, asc = self.generator_losses(controls, rng, training=controls.train("g"))
        loss = controls.lambda_adv * adv + controls.lambda_asc * asc
        if controls.train("g"):
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
        noise = self._noise(labels, rng)
        if len(labels) <= PART or torch.is_grad_enabled():
            features = self.dictionary.gather(rows)  # (B, n_s, D)
            return combine(features, rows, self.generator(noise, labels, features))
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
        if isinstance(self.generator, models.Generator):
            return torch.empty(*rows.shape, 0, device=rows.device)
        return self.dictionary.gather(rows)  # (B, n_s, D)

    def _noise(self, labels: Tensor, rng: torch.Generator) -> Tensor:
        width = int(self.generator.noise_dim)  # type: ignore[arg-type]
        return torch.randn(len(labels), width, generator=rng, device=labels.device)


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
    """`mix` for whoever has the features of the rows already, (B, n_s, D)."""
    return Mix(torch.einsum("bn,bnd->bd", weights, features), weights, rows)


def as_features(dictionary: FeatureDictionary) -> Callable[[Tensor], Tensor]:
    """What keeps made features in the range of real ones: ReLU where none of them is negative."""
    return F.relu if bool((dictionary.features >= 0).all()) else nn.Identity()


def make_optimizer(module: nn.Module, name: Literal["sgd", "adam"]) -> torch.optim.Optimizer:
    """SGD(momentum 0.9, weight decay 1e-4) or Adam(β1 0.5); `take_step` sets the learning rate."""
    if name == "adam":
        return torch.optim.Adam(module.parameters(), betas=(0.5, 0.999))
    return torch.optim.SGD(module.parameters(), momentum=0.9, weight_decay=1e-4)


def take_step(optimizer: torch.optim.Optimizer, loss: Tensor, lr: float) -> None:
    """One step down the gradient of `loss`, for this optimiser's parameters alone."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for group in optimizer.param_groups:
        group["lr"] = lr
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

"""Everything that makes features for a class, behind one small protocol.

An oversampler is fitted to a dictionary when it is made, takes training steps, and gives features
for wanted labels. All of them here mix n_s real features of the class with convex weights w,
f̃ = Σ w_i f_i; they differ in where w comes from. FACoG (§3.3) learns it; the others are the null
baselines that say what the learning is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import losses, models, store
from facog_lab.dictionary import FeatureDictionary
from facog_lab.metrics import weight_entropy

MAX_N_S = 20  # the largest n_s of Fig. 5

OversamplerName = Literal["facog", "random_oversampling", "uniform_weights", "dirichlet_weights"]


@dataclass(frozen=True)
class Controls:
    """What may change while phase 2 runs: read once at every step.

    Attributes:
        n_s: real features mixed into one, from 1 to MAX_N_S.
        lambda_adv: weight of L_adv, Eq. 5.
        lambda_asc: weight of L_asc, Eq. 5.
        temperature: τ of L_asc.
        lr_generator: learning rate of G.
        lr_discriminator: learning rate of D.
        lr_classifier: learning rate of the classifier.
    """

    n_s: int
    lambda_adv: float
    lambda_asc: float
    temperature: float
    lr_generator: float
    lr_discriminator: float
    lr_classifier: float


class Mix(NamedTuple):
    """Generated features and what they were mixed from.

    Attributes:
        features: (B, D).
        weights: (B, n_s), w.
        rows: (B, n_s) int64, rows of the dictionary.
    """

    features: Tensor
    weights: Tensor
    rows: Tensor


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


class ConvexNull:
    """A null baseline: convex weights that are drawn or fixed, never learned.

    Args:
        dictionary: the features to mix.
        name: "random_oversampling" repeats one real feature, "uniform_weights" takes the mean of
            n_s, "dirichlet_weights" draws w from Dirichlet(1), uniform on the simplex.
    """

    def __init__(self, dictionary: FeatureDictionary, name: OversamplerName) -> None:
        self.dictionary, self.name = dictionary, name

    def train_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """Nothing to learn."""
        return {}

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """(B, D) features for (B,) labels."""
        rows = self.dictionary.draw(labels, controls.n_s, rng)
        # Exponential draws, divided by their sum, are Dirichlet(1).
        weights = torch.empty(rows.shape, device=labels.device).exponential_(generator=rng)
        if self.name == "uniform_weights":
            weights = torch.ones_like(weights)
        elif self.name == "random_oversampling":
            weights = torch.zeros_like(weights)
            weights[:, 0] = 1  # the slots are exchangeable, so the first one is a random one
        return mix(self.dictionary, rows, weights / weights.sum(1, keepdim=True))

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Nothing."""


class FACoG:
    """The paper's oversampler: G proposes w, D and the frozen projector say what is wrong with it.

    Args:
        dictionary: the features to mix.
        projector: f_proj of phase 1; frozen, but gradients pass through it to G.
        generator: G, see models.Generator or models.AttentionGenerator.
        batch_size: labels in a step.
        fixed: one fixed set of references per class (§3.2's other reading), drawn with `rng`.
        optimizer: "sgd" (momentum 0.9, weight decay 1e-4) or "adam" (β1 0.5), for G and D.
        candidates: what L_asc compares anchors with.
        rng: draws the fixed references.
    """

    def __init__(
        self,
        dictionary: FeatureDictionary,
        projector: nn.Module,
        generator: models.Generator | models.AttentionGenerator,
        discriminator: models.Discriminator,
        *,
        batch_size: int,
        optimizer: Literal["sgd", "adam"],
        candidates: losses.Candidates,
        fixed: bool,
        rng: torch.Generator,
    ) -> None:
        self.dictionary, self.projector = dictionary, projector.requires_grad_(False)
        self.generator, self.discriminator = generator, discriminator
        self.batch_size, self.candidates = batch_size, candidates
        self.generator_optimizer = make_optimizer(generator, optimizer)
        self.discriminator_optimizer = make_optimizer(discriminator, optimizer)
        every_class = torch.arange(dictionary.num_classes, device=dictionary.labels.device)
        self.references = dictionary.draw(every_class, MAX_N_S, rng) if fixed else None

    def train_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """D, then G, each with fresh draws of uniform labels (§3.4, label selection)."""
        return self.discriminator_step(controls, rng) | self.generator_step(controls, rng)

    def discriminator_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """One step of D on L_adv (Eq. 3), with f̃ detached."""
        labels, real = self._real_batch(rng)
        with torch.no_grad():
            fake = self.generate(labels, controls, rng).features
        real_scores = self.discriminator(real, labels)
        fake_scores = self.discriminator(fake, labels)
        loss = losses.discriminator_adversarial(real_scores, fake_scores)
        take_step(self.discriminator_optimizer, loss, controls.lr_discriminator)
        return {
            "loss_d": loss.detach(),
            "score_real": real_scores.detach().mean(),
            "score_generated": fake_scores.detach().mean(),
        }

    def generator_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """One step of G on L_ph2 = λ_adv L_adv + λ_asc L_asc (Eq. 5)."""
        labels, real = self._real_batch(rng)
        fake = self.generate(labels, controls, rng)
        adv = losses.generator_adversarial(self.discriminator(fake.features, labels))
        asc = losses.augmented_supervised_contrastive(
            F.normalize(self.projector(fake.features), dim=1),
            labels,
            F.normalize(self.projector(real), dim=1),
            labels,
            controls.temperature,
            self.candidates,
        )
        loss = controls.lambda_adv * adv + controls.lambda_asc * asc
        take_step(self.generator_optimizer, loss, controls.lr_generator)
        return {"loss_g": loss.detach(), "loss_adv": adv.detach(), "loss_asc": asc.detach()}

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """f̃ = Σ w_i f_i with w = G(noise | label), for (B,) labels."""
        if self.references is None:
            rows = self.dictionary.draw(labels, controls.n_s, rng)  # (B, n_s)
        else:
            rows = self.references[labels, : controls.n_s]
        noise = torch.randn(
            len(labels), self.generator.noise_dim, generator=rng, device=labels.device
        )
        weights = self.generator(noise, labels, self.dictionary.features[rows])
        return mix(self.dictionary, rows, weights)

    def state(self) -> dict[str, Tensor]:
        """Both networks, both optimisers, the references if they are fixed."""
        tensors = store.pack(**self._parts())
        return tensors if self.references is None else tensors | {"references": self.references}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Goes on from what `state` gave."""
        store.unpack(tensors, **self._parts())
        if self.references is not None:
            self.references = tensors["references"].to(self.references.device)

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def _real_batch(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Labels drawn evenly over classes, (B,), and a real feature of each, (B, D)."""
        device = self.dictionary.labels.device
        labels = torch.randint(
            self.dictionary.num_classes, (self.batch_size,), generator=rng, device=device
        )
        return labels, self.dictionary.features[self.dictionary.draw(labels, 1, rng)[:, 0]]


def mix(dictionary: FeatureDictionary, rows: Tensor, weights: Tensor) -> Mix:
    """f̃ = Σ w_i f_i (§3.3) for (B, n_s) rows of the dictionary and (B, n_s) weights."""
    features = torch.einsum("bn,bnd->bd", weights, dictionary.features[rows])
    return Mix(features, weights, rows)


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
    """What to log about generated features: the entropy of w and its largest weight."""
    weights = mixed.weights.detach()
    return {"entropy": weight_entropy(weights), "max_weight": weights.amax(1).mean()}

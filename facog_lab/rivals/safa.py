"""SAFA on frozen features: a feature moved along directions of head classes (Hong et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import models
from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import Given, Mix, make_optimizer, real_batch, take_step
from facog_lab.registry import register_oversampler
from facog_lab.rivals.head_classes import as_features, head_rows
from facog_lab.settings import UPDATES, Controls

LR, BATCH = 2e-4, 32  # with Adam, β1 0.5, as for GAMO


class SAFA:
    """A real feature moved along a direction taken from a head class (Hong et al. 2022).

    An encoder makes a code z of a head class's feature; a translator turns the code into a step
    that suits the feature it is added to: f̃ = f + T(f, z). Four losses: f̃ moved along the code of
    f is f again (recycling); the code of f̃ is the z that moved it, and no other of the batch,
    whatever their classes (contrast); different codes move far apart (mode seeking, Mao et al.
    2019); the classifier sees the class (keep).

    Differs from the paper: written after its description, since no reference code was published;
    the networks' widths, the equal weights of the losses and Adam's rate are ours. It works on
    frozen features, while the paper trains the network along. Head classes: see `head_classes`.

    Args:
        dictionary: the real features.
        classifier: (B, D) features to (B, C) logits: the one that is being trained.
        code: width of a code.
        hidden: width of the hidden layers.
        temperature: τ of the contrast.
    """

    def __init__(
        self,
        dictionary: FeatureDictionary,
        classifier: Callable[[Tensor], Tensor],
        code: int = 64,
        hidden: int = 256,
        temperature: float = 0.1,
    ) -> None:
        self.dictionary, self.classifier = dictionary, classifier
        self.temperature = temperature
        width = dictionary.feature_dim
        self.encoder = models.mlp([width, hidden, code], nn.ReLU())
        self.translator = models.mlp([width + code, hidden, width], nn.ReLU())
        networks = nn.ModuleList([self.encoder, self.translator]).to(dictionary.features.device)
        self.optimizer = make_optimizer(networks, "adam")
        self.parts = {"networks": networks, "optimizer": self.optimizer}
        self.heads = head_rows(dictionary)
        self.as_features = as_features(dictionary)

    def train_step(self, controls: Controls, rng: torch.Generator) -> dict[str, Tensor]:
        """One step of encoder and translator, which count as G."""
        terms = self.losses(*real_batch(self.dictionary, BATCH, rng), rng)
        loss = torch.stack(list(terms.values())).sum()
        if "g" in UPDATES[controls.trains]:
            take_step(self.optimizer, loss, LR)
        return {"loss_g": loss.detach()} | {k: v.detach() for k, v in terms.items()}

    def losses(self, labels: Tensor, real: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """The four terms, for (B,) labels and (B, D) features of them."""
        one, other = (self._codes(labels, rng) for _ in range(2))  # (B, code)
        made, moved = self._moved(real, one), self._moved(real, other)  # (B, D)
        back = self._moved(made, self._encode(real))
        similarity = self._encode(made) @ one.T / self.temperature  # (B, B)
        apart = (one - other).abs().mean().clamp(min=1e-5)
        return {
            "loss_recycle": (back - real).abs().mean(),
            "loss_contrast": F.cross_entropy(
                similarity, torch.arange(len(labels), device=labels.device)
            ),
            "loss_seek": 1 / ((made - moved).abs().mean() / apart + 1e-5),
            "loss_keep": F.cross_entropy(self.classifier(made), labels),
        }

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """(B, D) features for (B,) labels: a real one of the class, and where it was moved."""
        rows = self.dictionary.draw(labels, 1, rng)
        real = self.dictionary.gather(rows[:, 0])
        made = self._moved(real, self._codes(labels, rng))
        return Mix(made, torch.ones(rows.shape, device=labels.device), rows, made - real)

    def _codes(self, labels: Tensor, rng: torch.Generator) -> Tensor:
        """A code of a random feature of the head classes for every label."""
        pick = torch.randint(len(self.heads), (len(labels),), generator=rng, device=labels.device)
        return self._encode(self.dictionary.gather(self.heads[pick]))

    def _encode(self, features: Tensor) -> Tensor:
        return F.normalize(self.encoder(features), dim=1)

    def _moved(self, features: Tensor, codes: Tensor) -> Tensor:
        step = self.translator(torch.cat([features, codes], 1))
        return self.as_features(features + step)


@register_oversampler(
    "safa", label="SAFA", family="adversarial", about="moves a feature along head-class directions"
)
def safa(given: Given) -> SAFA:
    """SAFA for these features."""
    with given.initial_weights():
        return SAFA(given.dictionary, given.classifier)

"""FACoG-attention (ours): a G that sees what it mixes, and transfers spread from large classes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import models
from facog_lab.generator import FACoG, Given, Mix, combine
from facog_lab.registry import register_generator, register_oversampler
from facog_lab.rivals.head_classes import as_features, nearest_heads
from facog_lab.settings import Controls

DONORS = 5  # nearest head classes, one of which lends a direction
GATE = 0.1  # how much of a direction is added before anything is learned


class AttentionGenerator(nn.Module):
    """A generator that sees the features it mixes: a step past the paper (ours).

    Each feature, with the class and the noise, becomes a token; the tokens attend to each other;
    each yields one logit. Permuting the features permutes the weights, whatever n_s is.

    Args:
        num_classes: C.
        feature_dim: D.
        hidden: width of a token.
        noise_dim: width of the noise.
    """

    sees_features = True

    def __init__(
        self, num_classes: int, feature_dim: int, hidden: int = 64, noise_dim: int = 100
    ) -> None:
        super().__init__()
        self.num_classes, self.noise_dim = num_classes, noise_dim
        self.token = nn.Linear(feature_dim, hidden)
        self.context = nn.Linear(noise_dim + num_classes, hidden)
        self.attention = nn.MultiheadAttention(hidden, num_heads=4, batch_first=True)
        self.score = models.mlp([hidden, hidden, 1], nn.ReLU())

    def forward(self, noise: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """(B, n_s) convex weights, as `Generator.forward`, from the features themselves."""
        return self.score(self.tokens(noise, labels, features)).squeeze(2).softmax(1)

    def tokens(self, noise: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """(B, n_s, hidden): each feature among the others."""
        one_hot = F.one_hot(labels, self.num_classes).to(noise.dtype)
        context = self.context(torch.cat([noise, one_hot], 1))  # (B, hidden)
        tokens = F.relu(self.token(features) + context[:, None])  # (B, n_s, hidden)
        return tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]


@register_generator("attention", label="attention", family="FACoG", about="sees the features")
def attention(given: Given) -> AttentionGenerator:
    """A new G that sees the features of a dictionary."""
    return AttentionGenerator(given.dictionary.num_classes, given.dictionary.feature_dim)


class TransferGenerator(nn.Module):
    """G of FACoG-attention: convex weights, and how much of a foreign direction to add (ours).

    Permuting the features permutes the weights and leaves the gate as it is.

    Args:
        num_classes: C.
        feature_dim: D.
        hidden: width of a token.
    """

    def __init__(self, num_classes: int, feature_dim: int, hidden: int = 64) -> None:
        super().__init__()
        self.mixer = AttentionGenerator(num_classes, feature_dim, hidden)
        self.noise_dim = self.mixer.noise_dim
        self.direction = nn.Linear(feature_dim, hidden)
        last = nn.Linear(hidden, 1)
        # Begins with the same small gate for all, which then grows where the losses want it to.
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, math.log(GATE / (1 - GATE)))
        self.gate = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU(), last)

    def forward(
        self, noise: Tensor, labels: Tensor, features: Tensor, directions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weights and gates.

        Args:
            noise: (B, noise_dim), standard normal.
            labels: (B,) int64.
            features: (B, n_s, D), the features to mix.
            directions: (B, D), what may be added to the mix.

        Returns:
            (B, n_s) convex weights and (B, 1) gates between 0 and 1.
        """
        tokens = self.mixer.tokens(noise, labels, features)  # (B, n_s, hidden)
        weights = self.mixer.score(tokens).squeeze(2).softmax(1)
        seen = torch.cat([tokens.mean(1), F.relu(self.direction(directions))], 1)
        return weights, self.gate(seen).sigmoid()


class FACoGAttention(FACoG):
    """FACoG with a G that sees what it mixes and may leave the convex hull (ours, not the paper's).

    f̃ = Σ w_i f_i + g (a - b), where a and b are two features of one of the 5 nearest head classes,
    drawn independently for every sample, and G outputs w and g. L_adv and L_asc as in FACoG. A tail
    class of five features has little spread of its own; that of similar, larger classes is
    transferred to it. Features that are never negative stay so (ReLU).
    """

    @functools.cached_property
    def donor_classes(self) -> Tensor:
        """(C, n) the head classes that may lend a direction to each class."""
        return nearest_heads(self.dictionary, DONORS)

    @functools.cached_property
    def as_features(self) -> Callable[[Tensor], Tensor]:
        """What keeps made features in the range of real ones."""
        return as_features(self.dictionary)

    def _mixed(
        self, labels: Tensor, controls: Controls, rng: torch.Generator, training: bool
    ) -> Mix:
        rows = self.references.rows(labels, controls.n_s, rng)  # (B, n_s)
        width = self.generator.noise_dim
        noise = torch.randn(len(labels), width, generator=rng, device=labels.device)
        slot = torch.randint(
            self.donor_classes.shape[1], (len(labels),), generator=rng, device=labels.device
        )
        pairs = self.dictionary.draw(self.donor_classes[labels, slot], 2, rng)
        a, b = self.dictionary.gather(pairs).unbind(1)  # (B, D) each
        features = self.dictionary.gather(rows)
        weights, gates = self.generator(noise, labels, features, a - b)
        inside = combine(features, rows, weights).features
        made = self.as_features(inside + gates * (a - b))
        return Mix(made, weights, rows, made - inside)


@register_oversampler(
    "facog_attention", label="FACoG-attention", family="FACoG",
    about="G sees what it mixes and adds directions of head classes (ours)",
)  # fmt: skip
def facog_attention(given: Given) -> FACoGAttention:
    """FACoG-attention for these features."""
    of = given.dictionary
    with given.initial_weights():
        generator = TransferGenerator(of.num_classes, of.feature_dim)
        return FACoGAttention(given, generator, given.discriminator())

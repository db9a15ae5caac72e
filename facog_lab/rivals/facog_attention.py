"""Oversamplers that borrow the spread of larger classes: TailCalib, FACoG-attention."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab import models
from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import FACoG, Mix, Unlearned, as_features, combine
from facog_lab.settings import Controls

LENDERS = 5  # nearest head classes, one of which lends a direction
GATE = 0.1  # how much of a direction is added before anything is learned
K = 3  # nearest class means of TailCalib, its published setting for CIFAR-100-LT at ratio 100


def head_classes(class_counts: Tensor) -> Tensor:
    """The classes with at least as many training images as the mean class, (H,) int64.

    On CIFAR-100-LT at ratio 100 they are the 33 largest; the definition needs no fixed number of
    images, so that small data sets have head classes, too.
    """
    return (class_counts >= class_counts.double().mean()).nonzero()[:, 0]


def head_rows(dictionary: FeatureDictionary) -> Tensor:
    """The rows of all head classes, int64."""
    return torch.isin(dictionary.labels, head_classes(dictionary.class_counts)).nonzero()[:, 0]


def class_means(dictionary: FeatureDictionary) -> Tensor:
    """(C, D) the mean feature of each class."""
    sums = torch.zeros(
        dictionary.num_classes, dictionary.feature_dim, device=dictionary.features.device
    ).index_add_(0, dictionary.labels, dictionary.features.float())
    return sums / dictionary.starts.diff()[:, None]


def nearest_heads(dictionary: FeatureDictionary, count: int = LENDERS) -> Tensor:
    """The head classes whose means are nearest to each class's, nearest first.

    Returns:
        (C, n) int64, n at most `count`: another class than the own one wherever there are two
        head classes or more.
    """
    heads, means = head_classes(dictionary.class_counts), class_means(dictionary)
    far = torch.cdist(means, means[heads])  # (C, H)
    own = heads == torch.arange(len(means), device=heads.device)[:, None]
    far = far.masked_fill(own, torch.inf)
    return heads[far.topk(min(count, max(1, len(heads) - 1)), largest=False).indices]


class TailCalib(Unlearned):
    """A Gaussian around a feature and its nearest class means (Vigneswaran et al. 2021, Eq. 7, 8).

    For a real feature x of the class and its k nearest class means μ_j, with covariances Σ_j:
    f̃ ~ N((Σ_j μ_j + x) / (k + 1), (1/k) Σ_j Σ_j). As in the published code, its own class is one of
    the k where its mean is that near. k = 3, no Tukey transform and α = 0 are the published
    settings for CIFAR-100-LT at ratio 100.

    Differs from the paper: there features have length 1 and a cosine classifier is trained on
    them; here they are left as phase 1's classifier knows them. The covariance of a class of one
    is 0.

    Args:
        dictionary: the real features.
        k: nearest class means; at most C.
    """

    def __init__(self, dictionary: FeatureDictionary, k: int = K) -> None:
        self.dictionary, self.k = dictionary, min(k, dictionary.num_classes)
        self.means = class_means(dictionary)
        self.centred = dictionary.features.float() - self.means[dictionary.labels]  # (R, D)
        self.deviation = dictionary.starts.diff().sub(1).clamp(min=1).rsqrt()  # 1/√(N-1), (C,)

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """(B, D) features for (B,) labels, each around a real one of its class."""
        rows = self.dictionary.draw(labels, 1, rng)
        real = self.dictionary.gather(rows[:, 0])
        near = torch.cdist(real, self.means).topk(self.k, largest=False).indices  # (B, k)
        mean = (self.means[near].sum(1) + real) / (self.k + 1)
        # Standard normal numbers times the centred features, over √(N - 1), have exactly the
        # class's covariance: no D×D matrix is made, and none must be positive definite.
        of_class = torch.zeros(len(labels), self.dictionary.num_classes, device=labels.device)
        of_class.scatter_(1, near, self.deviation[near] / self.k**0.5)  # (B, C)
        noise = torch.randn(
            len(labels), len(self.dictionary.labels), generator=rng, device=labels.device
        )
        made = mean + (noise * of_class[:, self.dictionary.labels]) @ self.centred
        return Mix(made, torch.ones(rows.shape, device=labels.device), rows, made - real)


class BorrowingGenerator(nn.Module):
    """G of FACoG-attention: convex weights, and how much of a foreign direction to add (ours).

    Permuting the features permutes the weights and leaves the gate as it is.

    Args:
        num_classes: C.
        feature_dim: D.
        hidden: width of a token.
    """

    def __init__(self, num_classes: int, feature_dim: int, hidden: int = 64) -> None:
        super().__init__()
        self.mixer = models.AttentionGenerator(num_classes, feature_dim, hidden)
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
    """FACoG with a G that sees what it mixes and may leave the convex hull: past the paper (ours).

    f̃ = Σ w_i f_i + g (a - b), where a and b are two features of one of the 5 nearest head classes,
    drawn anew for every sample, and G says w and g. L_adv and L_asc as in FACoG. A tail class of
    five features has little spread of its own; that of similar, larger classes is borrowed.
    Features that are never negative stay so (ReLU).
    """

    @functools.cached_property
    def lenders(self) -> Tensor:
        """(C, n) the head classes that may lend to each class."""
        return nearest_heads(self.dictionary)

    @functools.cached_property
    def as_features(self) -> Callable[[Tensor], Tensor]:
        """What keeps made features in the range of real ones."""
        return as_features(self.dictionary)

    def _mixed(
        self, labels: Tensor, controls: Controls, rng: torch.Generator, training: bool
    ) -> Mix:
        rows = self.references.rows(labels, controls.n_s, rng)  # (B, n_s)
        noise = self._noise(labels, rng)
        slot = torch.randint(
            self.lenders.shape[1], (len(labels),), generator=rng, device=labels.device
        )
        pairs = self.dictionary.draw(self.lenders[labels, slot], 2, rng)
        a, b = self.dictionary.gather(pairs).unbind(1)  # (B, D) each
        features = self.dictionary.gather(rows)
        weights, gates = self.generator(noise, labels, features, a - b)
        inside = combine(features, rows, weights).features
        made = self.as_features(inside + gates * (a - b))
        return Mix(made, weights, rows, made - inside)

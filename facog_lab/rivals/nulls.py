"""The null baselines: convex weights that are drawn or fixed, never learned.

They mix the same rows as FACoG. What FACoG is worth is what it scores above them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from facog_lab.dictionary import References
from facog_lab.generator import Given, Mix, Unlearned, mix
from facog_lab.registry import register_oversampler
from facog_lab.settings import Controls


class ConvexNull(Unlearned):
    """A null baseline: convex weights that are drawn or fixed, never learned.

    Args:
        references: the features to mix.
        weigh: from (B, n_s) exponential draws to positive weights of any sum.
    """

    def __init__(self, references: References, weigh: Callable[[Tensor], Tensor]) -> None:
        self.references, self.weigh = references, weigh

    def generate(self, labels: Tensor, controls: Controls, rng: torch.Generator) -> Mix:
        """(B, D) features for (B,) labels."""
        rows = self.references.rows(labels, controls.n_s, rng)
        draws = torch.empty(rows.shape, device=labels.device).exponential_(generator=rng)
        weights = self.weigh(draws)
        return mix(self.references.dictionary, rows, weights / weights.sum(1, keepdim=True))


@register_oversampler("random_oversampling", label="Random oversampling", family="null",
                      about="repeats one real feature", in_hull=True)  # fmt: skip
def random_oversampling(given: Given) -> ConvexNull:
    """The largest of equal draws is in a random slot; fixed references keep their slots."""
    return ConvexNull(given.references(), lambda draws: _one_hot(draws.argmax(1), draws))


@register_oversampler("uniform_weights", label="Uniform w", family="null",
                      about="the mean of n_s features", in_hull=True)  # fmt: skip
def uniform_weights(given: Given) -> ConvexNull:
    """Class means, as far as n_s features tell."""
    return ConvexNull(given.references(), torch.ones_like)


@register_oversampler("dirichlet_weights", label="Dirichlet(1) w", family="null",
                      about="weights drawn evenly from the simplex", in_hull=True)  # fmt: skip
def dirichlet_weights(given: Given) -> ConvexNull:
    """Exponential draws, divided by their sum, are Dirichlet(1)."""
    return ConvexNull(given.references(), lambda draws: draws)


def _one_hot(slots: Tensor, like: Tensor) -> Tensor:
    """(B, n) weights of 1 in (B,) slots and 0 elsewhere."""
    return F.one_hot(slots, like.shape[1]).to(like.dtype)

"""Class means shrunk as far as their own spread says, and imagined images of each class.

A mean of five images lies far from that of its class. In coordinates in which features of a class
have the covariance 1 and the classes' true means the covariance diag(b) (two covariances, or
probabilistic LDA: Ioffe 2006), the true mean of a class of N images is expected at

    m_d = k_d x̄_d,   with the variance  b_d / (N b_d + 1),   k_d = N b_d / (N b_d + 1)

from the mean of all classes on. A rare class keeps the directions in which classes differ much,
and which it shares with its relatives; what it seems to be in the others is taken for chance.
b is learned from all classes' means (empirical Bayes). Nothing here has a number to choose.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from facog_lab.dictionary import FeatureDictionary
from facog_lab.registry import register_head
from facog_lab.rivals.closed_forms import Moments, lda, moments, oas_shrinkage
from facog_lab.rivals.head_loop import Head

ITERATIONS = 60  # of EM


class TrueMeans(NamedTuple):
    """What is known of the classes' true means, in float64.

    Attributes:
        centre: (D,), the mean of all classes.
        to: (D, r), from features less `centre` to coordinates.
        back: (r, D), from coordinates to features less `centre`.
        between: (r,), b, descending.
        expected: (C, r), m in the coordinates.
        unsure: (C, r), the variance of each true mean around m.
    """

    centre: Tensor
    to: Tensor
    back: Tensor
    between: Tensor
    expected: Tensor
    unsure: Tensor

    @property
    def means(self) -> Tensor:
        """(C, D), m as features."""
        return self.centre + self.expected @ self.back


def true_means(of: Moments) -> TrueMeans:
    """Learns b by EM, for classes of any sizes, and from it the classes' expected true means.

    Args:
        of: class means and within-class covariance.
    """
    white = of.directions * of.variances.rsqrt()  # (D, r)
    seen = (of.means - of.centre) @ white
    images = of.class_counts.double()[:, None]
    between, turn = seen.new_ones(seen.shape[1]), torch.eye(seen.shape[1]).to(seen)
    for _ in range(ITERATIONS):
        expected, unsure = _posterior(seen @ turn, between, images)
        second = (expected.T @ expected + torch.diag(unsure.sum(0))) / len(seen)
        values, vectors = torch.linalg.eigh(second)
        between, turn = values.clamp(min=1e-12).flip(0), turn @ vectors.flip(1)
    expected, unsure = _posterior(seen @ turn, between, images)
    back = turn.T @ (of.directions * of.variances.sqrt()).T
    return TrueMeans(of.centre, white @ turn, back, between, expected, unsure)


def _posterior(seen: Tensor, between: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    weight = images * between + 1
    return images * between / weight * seen, between / weight


def imagine(of: TrueMeans, per_class: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features that new images of each class may have, and their labels.

    Each class's true mean is drawn once, from what is known of it, and its images around that with
    the covariance of all classes. They are for choosing numbers where no image is left that the
    backbone has not seen: what a classifier remembers of its training images does not help it here.

    Args:
        of: the classes' true means.
        per_class: images of each class.
        rng: for the draws; on the device of `of`.

    Returns:
        (C · per_class, D) float32 and (C · per_class,) int64.
    """
    classes, width = of.expected.shape
    device = of.expected.device
    labels = torch.arange(classes, device=device).repeat_interleave(per_class)
    apart = torch.randn(classes, width, generator=rng, device=device).double()
    drawn = of.expected + apart * of.unsure.sqrt()
    noise = torch.randn(len(labels), width, generator=rng, device=device).double()
    return (of.centre + (drawn[labels] + noise) @ of.back).float(), labels


@register_head("lda_shrunken_means", label="LDA, shrunken means", family="free",
               about="LDA whose rare classes' means lie nearer to the mean of all")  # fmt: skip
def lda_shrunken_means(dictionary: FeatureDictionary, classifier: nn.Sequential, seed: int) -> Head:
    """LDA with the classes' expected true means in the place of those that were seen."""
    of = moments(dictionary)
    shrinkage = oas_shrinkage(of)
    return Head(lda(of, shrinkage, true_means(of).means), {"shrinkage": shrinkage})

"""The losses of the rivals that re-weight or shift: pure functions of logits, one equation each.

All take (B, C) logits and (B,) int64 labels and are means over the batch, except where noted
otherwise. None has an effect on how a classifier is used: predictions are the largest logit.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from facog_lab.rivals.objectives import LossInputs, recipe, register_loss

LDAM_MARGIN, LDAM_SCALE = 0.5, 30.0  # largest margin, and length of a logit (Cao et al. 2019)


@register_loss("ce", label="Cross-entropy", about="the usual loss")
def cross_entropy_loss(logits: Tensor, labels: Tensor, given: LossInputs) -> Tensor:
    """Cross-entropy, as registered."""
    return F.cross_entropy(logits, labels, given.weights)


def focal(
    logits: Tensor, labels: Tensor, gamma: float = 1.0, weights: Tensor | None = None
) -> Tensor:
    """Focal loss: cross-entropy in which well-classified samples have less weight.

        L = mean_i  -w_{y_i} (1 - p_i)^γ log p_i,    p_i = softmax(logits_i)_{y_i}

    Source: Lin et al. 2017; with `weights` by effective number, CB-Focal of Cui et al. 2019.
    Differs from both: they have one sigmoid a class; softmax is how the long-tail literature
    compares it on CIFAR since Cao et al. 2019. The mean is over samples, not weights, as theirs.

    Args:
        logits: (B, C).
        labels: (B,) int64.
        gamma: γ, at least 0; 0 is (weighted) cross-entropy.
        weights: (C,) of the classes; all 1 when None.

    Returns:
        A scalar; 0 for an empty batch.

    Raises:
        ValueError: if shapes do not fit or gamma is negative.

    Example:
        >>> focal(torch.zeros(1, 2), torch.tensor([0]), gamma=1.0).item()  # (1 - 1/2) log 2
        0.3465...
    """
    _check(logits, labels, weights)
    if not gamma >= 0:
        raise ValueError(f"gamma = {gamma}: it must be at least 0.")
    log_p = -F.cross_entropy(logits, labels, reduction="none")  # (B,)
    # -expm1 is 1 - p without its rounding near p = 1. The floor is for a γ below 1, whose
    # gradient at p = 1 would be infinite.
    missed = (-log_p.expm1()).clamp(min=torch.finfo(logits.dtype).tiny)
    losses = -log_p if gamma == 0 else -(missed**gamma) * log_p
    if weights is not None:
        losses = weights.to(losses.dtype)[labels] * losses
    return losses.sum() / max(1, len(labels))


@register_loss("focal", label="Focal", about="less weight for well-classified samples")
def focal_loss(logits: Tensor, labels: Tensor, given: LossInputs) -> Tensor:
    """The focal loss, as registered."""
    return focal(logits, labels, given.config.focal_gamma, given.weights)


recipe("cb_focal", "focal", label="CB-Focal", about="focal, classes weighted", reweighting="cb")
recipe("ce_drw", "ce", label="CE-DRW", about="classes weighted at the end", reweighting="drw")


def ldam_margins(class_counts: Tensor, max_margin: float = LDAM_MARGIN) -> Tensor:
    """LDAM's margins, Δ_c ∝ N_c^(-1/4), the largest being `max_margin` (Cao et al. 2019, Eq. 13).

    Args:
        class_counts: (C,) training images of each class, each at least 1.
        max_margin: of the rarest class, in cosines.

    Returns:
        (C,) float32.

    Example:
        >>> ldam_margins(torch.tensor([160_000, 10_000, 16]))
        tensor([0.0500, 0.1000, 0.5000])
    """
    margins = class_counts.double() ** -0.25
    return (max_margin * margins / margins.max()).float()


def ldam(
    logits: Tensor,
    labels: Tensor,
    margins: Tensor,
    scale: float = LDAM_SCALE,
    weights: Tensor | None = None,
) -> Tensor:
    """Label-distribution-aware margin loss: the rarer a class, the clearer it has to win.

        L = cross-entropy(s (cos θ_{ij} - Δ_j [j = y_i]))

    Source: Cao et al. 2019, Eq. 10-13. The logits are s cos θ_{ij}, those of
    `models.CosineLinear`: theirs are cosines that the loss scales, ours are ready for use.

    Args:
        logits: (B, C), s times a cosine each.
        labels: (B,) int64.
        margins: (C,), Δ, in cosines, see `ldam_margins`.
        scale: s, of the logits.
        weights: (C,) of the classes, for LDAM-DRW's last epochs; all 1 when None.

    Returns:
        A scalar, the mean over the weights of the batch.

    Raises:
        ValueError: if shapes do not fit.

    Example:
        >>> no_margins = torch.zeros(2)
        >>> logits, labels = torch.tensor([[30.0, 29.0]]), torch.tensor([0])
        >>> round(ldam(logits, labels, no_margins).item(), 4)  # log(1 + 1/e): cross-entropy
        0.3133
        >>> ldam(logits, labels, torch.tensor([0.5, 0.1])).item()  # log(1 + e^14)
        14.0000...
    """
    _check(logits, labels, weights, margins)
    own = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    shifted = logits - scale * own * margins.to(logits.dtype)
    return F.cross_entropy(shifted, labels, _like(weights, logits))


# Logits of length 30 need the learning rate of LDAM's authors: ours, 0.5, makes the features before
# them grow until they no longer turn.
@register_loss("ldam", label="LDAM", about="margins for rare classes", cosine_scale=LDAM_SCALE,
               lr=0.1)  # fmt: skip
def ldam_loss(logits: Tensor, labels: Tensor, given: LossInputs) -> Tensor:
    """LDAM, as registered."""
    margins = ldam_margins(given.class_counts)
    return ldam(logits, labels, margins, weights=given.weights)


recipe("ldam_drw", "ldam", label="LDAM-DRW", about="LDAM, classes weighted at the end",
       reweighting="drw", lr=0.1)  # fmt: skip


def balanced_softmax(
    logits: Tensor, labels: Tensor, class_counts: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Balanced Softmax: cross-entropy of what the classes' sizes, too, would make likely.

        L = mean_i  -log( N_{y_i} exp(l_{i,y_i}) / Σ_j N_j exp(l_{ij}) )

    Source: Ren et al. 2020, Eq. 4; also logit adjustment with τ = 1 (Menon et al. 2021), and the
    prior-CE inside LADE. The shift is for training alone: the logits l are used without it.

    Args:
        logits: (B, C), l.
        labels: (B,) int64.
        class_counts: (C,) training images of each class, each at least 1.
        weights: (C,) of the classes; all 1 when None.

    Returns:
        A scalar; cross-entropy if all classes are equally large.

    Raises:
        ValueError: if shapes do not fit or a class is empty.

    Example:
        >>> counts = torch.tensor([3, 1])
        >>> balanced_softmax(torch.zeros(1, 2), torch.tensor([1]), counts).item()  # log 4
        1.3862...
    """
    _check(logits, labels, weights, class_counts)
    prior = _prior(class_counts, logits.dtype)
    return F.cross_entropy(logits + prior.log(), labels, _like(weights, logits))


@register_loss("balanced_softmax", label="Balanced Softmax", about="the log of N_c in the logits")
def balanced_softmax_loss(logits: Tensor, labels: Tensor, given: LossInputs) -> Tensor:
    """Balanced Softmax, as registered."""
    return balanced_softmax(logits, labels, given.class_counts, given.weights)


def lade(
    logits: Tensor,
    labels: Tensor,
    class_counts: Tensor,
    alpha: float = 0.1,
    lambda_: float = 0.01,
    weights: Tensor | None = None,
) -> Tensor:
    """LADE: prior-CE, and a term that makes the logits forget how large the classes are.

        L = L_prior-CE + α Σ_c π_c ( -mean_{i: y_i = c} l_{ic} + r_c + λ r_c² )
        r_c = log( 1/B Σ_i exp(l_{ic}) (1/C) / π_c ),    π_c = N_c / N

    The second term is minus a regularised Donsker-Varadhan bound for each class, whose optimum
    is the logit log p(x|c)/p(x) for even classes. Source: Hong et al. 2021, with the balanced
    target of their training. Differs from the bound's derivation, as their published code does:
    the ratio (1/C)/π is that of c, not of each sample's own class. A class without a sample in
    the batch has no first part, its r_c counts all the same.

    Args:
        logits: (B, C), l.
        labels: (B,) int64.
        class_counts: (C,) training images of each class, each at least 1.
        alpha: α, weight of the second term; 0 leaves prior-CE, which is Balanced Softmax.
        lambda_: λ, weight of r_c².
        weights: (C,) of the classes in prior-CE; all 1 when None.

    Returns:
        A scalar.

    Raises:
        ValueError: if shapes do not fit or a class is empty.

    Example:
        >>> logits, counts = torch.zeros(2, 2), torch.tensor([5, 5])
        >>> lade(logits, torch.tensor([0, 1]), counts).item()  # log 2: both r_c are 0
        0.6931...
    """
    prior_ce = balanced_softmax(logits, labels, class_counts, weights)
    if not len(labels):
        return prior_ce
    prior = _prior(class_counts, logits.dtype)
    own = F.one_hot(labels, logits.shape[1]).to(logits.dtype)  # (B, C)
    recognised = (own * logits).sum(0) / own.sum(0).clamp(min=1)  # (C,)
    even = math.log(1 / len(prior)) - prior.log()
    r = logits.logsumexp(0) - math.log(len(labels)) + even  # (C,)
    return prior_ce + alpha * (prior * (r - recognised + lambda_ * r.square())).sum()


@register_loss("lade", label="LADE", about="Balanced Softmax, and a bound on its logits")
def lade_loss(logits: Tensor, labels: Tensor, given: LossInputs) -> Tensor:
    """LADE, as registered."""
    config = given.config
    return lade(
        logits, labels, given.class_counts, config.lade_alpha, config.lade_lambda, given.weights
    )


def _prior(class_counts: Tensor, dtype: torch.dtype) -> Tensor:
    """(C,) π_c = N_c / N."""
    if (class_counts < 1).any():
        empty = int((class_counts < 1).nonzero()[0])
        raise ValueError(f"class {empty} has no training image, so it has no prior: remove it.")
    return class_counts.to(dtype) / class_counts.sum()


def _like(weights: Tensor | None, logits: Tensor) -> Tensor | None:
    return None if weights is None else weights.to(logits.dtype)


def _check(logits: Tensor, labels: Tensor, *of_classes: Tensor | None) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not fit: "
            "expected (B, C) and (B,)."
        )
    for values in of_classes:
        if values is not None and values.shape != logits.shape[1:]:
            raise ValueError(
                f"weights, margins or counts {tuple(values.shape)} do not fit logits "
                f"{tuple(logits.shape)}: expected one for each class."
            )

"""What loops report, and predictions to numbers: ACSA, GM, top-1, many / medium / few, ECE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# What happened while a run was made, as columns: history["epochs"]["loss"][3]. Numbers, names of
# options, and None where there was nothing to measure.
History = dict[str, dict[str, list[Any]]]
MANY_ABOVE, FEW_BELOW = 100, 20  # training images of a class; 20 to 100 is medium (Liu et al. 2019)
BINS = 15  # of confidence, equally wide, from 0 to 1 (Guo et al. 2017)


@dataclass(frozen=True)
class Step:
    """What a loop yields after every step.

    Attributes:
        step: how many steps were taken so far.
        epoch: the epoch the step belongs to, from 0.
        ends_epoch: whether it is the last of its epoch.
        figures: what was measured; phase 1 measures once an epoch, phase 2 at every step.
    """

    step: int
    epoch: int
    ends_epoch: bool
    figures: dict[str, float]


def append(table: dict[str, list[Any]], row: dict[str, Any]) -> None:
    """Adds a row to a table of columns; what a row lacks is None in its column."""
    rows = len(next(iter(table.values()), []))
    for name in {**table, **row}:
        table.setdefault(name, [None] * rows).append(row.get(name))


@dataclass(frozen=True)
class Reliability:
    """How sure a classifier was of test images, and how often rightly: sums over bins.

    A bin k of K holds the images whose largest softmax probability is above k / K and at most
    (k + 1) / K. Sums of several seeds are added to pool them.

    Attributes:
        images: (K,) how many fall into each bin.
        confidence: (K,) the sum of their largest probabilities.
        right: (K,) how many of them are classified rightly.
    """

    images: tuple[int, ...]
    confidence: tuple[float, ...]
    right: tuple[int, ...]

    @property
    def ece(self) -> float:
        """Expected calibration error: |share right - mean confidence| of a bin, mean over images.

        Every test image counts alike, as in Guo et al. (2017), not every class; on the balanced
        test sets of long-tailed recognition that is the same.
        """
        apart = sum(abs(r - c) for r, c in zip(self.right, self.confidence, strict=True))
        return apart / sum(self.images)


@dataclass(frozen=True)
class Metrics:
    """What a classifier scores on a test set; every figure is in [0, 1].

    Attributes:
        acsa: mean of the per-class recalls (average class-specific accuracy).
        gm: geometric mean of the per-class recalls: 0 as soon as one class is never recognised.
        top1: share of test images classified rightly.
        many: mean recall of classes with more than 100 training images, None if there is none.
        medium: the same for 20 to 100.
        few: the same for fewer than 20.
        tail20: mean recall of the rarest fifth of the classes (Fig. 3): their ACSA.
        tail20_gm: geometric mean of the same.
        per_class: recall of each class.
        ece: expected calibration error, see `Reliability`; None where only predictions are known.
        reliability: what the ECE is made from, and a reliability curve can be; None as `ece`.
    """

    acsa: float
    gm: float
    top1: float
    many: float | None
    medium: float | None
    few: float | None
    tail20: float
    tail20_gm: float
    per_class: tuple[float, ...]
    ece: float | None = None
    reliability: Reliability | None = None


def evaluate(
    predictions: Tensor, labels: Tensor, class_counts: Tensor, confidences: Tensor | None = None
) -> Metrics:
    """Scores predictions of a test set in which every class appears.

    Args:
        predictions: (M,) int64, the predicted classes.
        labels: (M,) int64, the true ones.
        class_counts: (C,) int64, training images of each class.
        confidences: (M,) the predicted classes' softmax probabilities, if they are known.

    Raises:
        ValueError: if a class has no test image, so that its recall is not defined.
    """
    num_classes = len(class_counts)
    totals = torch.bincount(labels.cpu(), minlength=num_classes)
    if len(totals) > num_classes or (totals == 0).any():
        missing = (totals == 0).nonzero().flatten().tolist()
        raise ValueError(
            f"test labels must cover the classes 0 to {num_classes - 1}, each at least once; "
            f"without an image: {missing}, in all {len(totals)} classes seen."
        )
    predictions, labels = predictions.cpu(), labels.cpu()
    right = labels[predictions == labels]
    recall = torch.bincount(right, minlength=num_classes).double() / totals
    counts = class_counts.cpu()
    tail = recall[rarest_classes(counts)]
    known = None if confidences is None else reliability(confidences, predictions == labels)
    return Metrics(
        acsa=recall.mean().item(),
        gm=_geometric_mean(recall),
        top1=len(right) / len(labels),
        many=_mean(recall[counts > MANY_ABOVE]),
        medium=_mean(recall[(counts <= MANY_ABOVE) & (counts >= FEW_BELOW)]),
        few=_mean(recall[counts < FEW_BELOW]),
        tail20=tail.mean().item(),
        tail20_gm=_geometric_mean(tail),
        per_class=tuple(recall.tolist()),
        ece=None if known is None else known.ece,
        reliability=known,
    )


def reliability(confidences: Tensor, right: Tensor) -> Reliability | None:
    """Sums over bins of confidence; None if a confidence is not finite, as after a divergence.

    Args:
        confidences: (M,) the predicted classes' softmax probabilities, M at least 1.
        right: (M,) bool, whether the predicted class is the true one.
    """
    sure = confidences.double().cpu()
    if not sure.isfinite().all():
        return None
    bins = (sure * BINS).ceil().long().clamp(1, BINS) - 1
    images, hits, sums = (
        torch.bincount(bins, weights=of, minlength=BINS)
        for of in (None, right.cpu().double(), sure)
    )
    return Reliability(tuple(images.tolist()), tuple(sums.tolist()), tuple(map(int, hits.tolist())))


def groups(class_counts: Tensor) -> list[str]:
    """The group of each class by its training images: "many", "medium" or "few"."""
    return [
        "many" if n > MANY_ABOVE else "few" if n < FEW_BELOW else "medium"
        for n in class_counts.tolist()
    ]


def rarest_classes(class_counts: Tensor, share: float = 0.2) -> Tensor:
    """The rarest `share` of the classes, at least one; among equals the later ones."""
    order = torch.argsort(class_counts.cpu(), descending=True, stable=True)
    return order[-max(1, round(share * len(order))) :]


def weight_entropy(weights: Tensor) -> Tensor:
    """Entropy of convex weights in nats, mean over a batch: 0 is one-hot, log n_s is uniform.

    Args:
        weights: (B, n_s), each row summing to 1.
    """
    return torch.special.entr(weights).sum(1).mean()


def dirichlet_entropy(n_s: int) -> float:
    """Mean entropy, in nats, of weights drawn from Dirichlet(1) over n_s: H_{n_s} - 1."""
    return sum(1 / k for k in range(2, n_s + 1))


def _geometric_mean(values: Tensor) -> float:
    return math.exp(values.log().mean().item())  # log 0 is -inf, and exp(-inf) is 0


def _mean(values: Tensor) -> float | None:
    return values.mean().item() if len(values) else None

"""What loops report, and predictions to numbers: ACSA, GM, top-1, many / medium / few, tail."""

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


def evaluate(predictions: Tensor, labels: Tensor, class_counts: Tensor) -> Metrics:
    """Scores predictions of a test set in which every class appears.

    Args:
        predictions: (M,) int64, the predicted classes.
        labels: (M,) int64, the true ones.
        class_counts: (C,) int64, training images of each class.

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
    right = labels.cpu()[predictions.cpu() == labels.cpu()]
    recall = torch.bincount(right, minlength=num_classes).double() / totals
    counts = class_counts.cpu()
    tail = recall[rarest_classes(counts)]
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
    )


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

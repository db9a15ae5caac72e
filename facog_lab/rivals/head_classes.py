"""The large classes, and what rivals take from them for the small ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facog_lab.dictionary import FeatureDictionary, class_means


def head_classes(class_counts: Tensor) -> Tensor:
    """The classes with at least as many training images as the mean class, (H,) int64.

    On CIFAR-100-LT at ratio 100 they are the 33 largest; the definition needs no fixed number of
    images, so that small data sets have head classes, too.
    """
    return (class_counts >= class_counts.double().mean()).nonzero()[:, 0]


def head_rows(dictionary: FeatureDictionary) -> Tensor:
    """The rows of all head classes, int64."""
    return torch.isin(dictionary.labels, head_classes(dictionary.class_counts)).nonzero()[:, 0]


def nearest_heads(dictionary: FeatureDictionary, count: int) -> Tensor:
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


def as_features(dictionary: FeatureDictionary) -> Callable[[Tensor], Tensor]:
    """What keeps made features in the range of real ones: ReLU where none of them is negative."""
    return F.relu if bool((dictionary.features >= 0).all()) else nn.Identity()

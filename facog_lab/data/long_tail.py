"""Which images a long-tailed subset keeps: how many of each class, and which of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from facog_lab.config import DataError
from facog_lab.rng import rng_for
from facog_lab.settings import Profile

GAMO_COUNTS = (4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40)
NEAR = 1e-9  # of a whole number, relative: there, rounding decides what a float is truncated to


def choose(
    name: str,
    labels: Tensor,
    class_names: Sequence[str],
    profile: Profile,
    ratio: float,
    split_seed: int,
) -> Tensor:
    """(n,) int64, ascending: the images that a long-tailed subset keeps."""
    available = labels.bincount(minlength=len(class_names)).tolist()
    counts = long_tail_counts(profile, available, ratio, class_names)
    return draw(by_class(labels, len(counts)), counts, rng_for("cpu", "split", name, split_seed))


def long_tail_counts(
    profile: Profile,
    available: Sequence[int],
    imbalance_ratio: float,
    class_names: Sequence[str] | None = None,
) -> list[int]:
    """How many images of each class a long-tailed subset has.

    exponential [LDAM-DRW]: n_i = int(N_max · (1/ratio)^(i/(C-1))), N_max the largest class found,
    i the class's rank by images found: the order of labels where all classes are equal, as in
    CIFAR. gamo [GAMO]: 4,000 to 40, in the order of labels. as_found: all.

    Args:
        profile: its name.
        available: images found of each class, in the order of labels.
        imbalance_ratio: of exponential, at least 1.
        class_names: for the errors.

    Raises:
        DataError: naming a class with fewer images than the profile asks, or none.
    """
    names = class_names or [f"class {label}" for label in range(len(available))]
    empty = [name for name, count in zip(names, available, strict=True) if count == 0]
    if empty:
        raise DataError(f"Class {empty[0]!r} has no training images. Add some, or leave it out.")
    if profile == "as_found":
        return list(available)
    if profile == "gamo":
        if len(available) != len(GAMO_COUNTS):
            raise DataError(
                f"profile = 'gamo' is made for ten classes, and there are {len(available)}: use "
                "'exponential' or 'as_found'."
            )
        counts, at = list(GAMO_COUNTS), ""
    else:
        counts = _exponential(available, imbalance_ratio)
        at = f" at imbalance_ratio {imbalance_ratio:g}"
    for name, wanted, found in zip(names, counts, available, strict=True):
        if not 1 <= wanted <= found:
            remedy = _remedy(available, wanted) if at else "use profile = 'exponential'"
            raise DataError(
                f"Class {name!r} has {found:,} training images, and profile {profile!r}{at} "
                f"asks for {wanted:,}: {remedy}."
            )
    return counts


def _exponential(available: Sequence[int], ratio: float) -> list[int]:
    largest, last = max(available), max(1, len(available) - 1)
    counts = [0] * len(available)
    for rank, label in enumerate(sorted(range(len(available)), key=lambda i: -available[i])):
        counts[label] = _truncated(largest, ratio, rank, last)
    return counts


def _truncated(largest: int, ratio: float, rank: int, last: int) -> int:
    """int(largest · (1/ratio)^(rank/last)), exact where the float is close to a whole number."""
    value = largest * (1 / ratio) ** (rank / last)
    whole = round(value)
    if abs(value - whole) > NEAR * whole:
        return int(value)
    exact = Fraction(repr(float(ratio)))  # as it was written: 2.1 and not the float next to it
    return whole if largest**last >= whole**last * exact**rank else whole - 1


def _remedy(available: Sequence[int], wanted: int) -> str:
    """A suggestion: ratios for which no class needs more images than it has."""
    ranked, last = sorted(available, reverse=True), max(1, len(available) - 1)
    most = min(10_000, ranked[0])  # of larger ones the last class is asked for no image
    # The ratio at which a class would be asked for one image more than it has.
    needed = max(
        ((ranked[0] / (n + 1)) ** (last / i) for i, n in enumerate(ranked) if i), default=1
    )
    least = max(1, math.floor(min(needed, most)))
    if _exceeds(available, least):  # floats may have been rounded to the other side of a whole one
        least += 1
    if least > most or _exceeds(available, least):
        return "use profile = 'as_found'"
    bound = f"of at most {most:,}" if wanted < 1 else f"of at least {least:,}"
    return f"take an imbalance_ratio {bound}, or profile = 'as_found'"


def _exceeds(available: Sequence[int], ratio: float) -> bool:
    return any(a < b for a, b in zip(available, _exponential(available, ratio), strict=True))


def by_class(labels: Tensor, num_classes: int) -> tuple[Tensor, ...]:
    """The positions of each class, ascending."""
    return labels.argsort(stable=True).split(labels.bincount(minlength=num_classes).tolist())


def draw(places: Sequence[Tensor], counts: Sequence[int], rng: torch.Generator) -> Tensor:
    """So many of each class's positions without replacement; all of them ascending.

    A class's order does not depend on the counts: the subset of a larger ratio is a part of that
    of a smaller one.
    """
    kept = [
        of_class[torch.randperm(len(of_class), generator=rng)[:count]]
        for of_class, count in zip(places, counts, strict=True)
    ]
    return torch.cat(kept).sort()[0]

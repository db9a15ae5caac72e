"""Which test images were recognised, and what follows for others drawn like them.

Classifiers on the features of one phase 1 differ in the same images, so their difference is known
better than either score. The interval is over the choice of test images: it says nothing of what
another phase 1, or other training images, would have given.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 2000


def interval(difference: ArrayLike, labels: ArrayLike, draws: int = DRAWS) -> tuple[float, float]:
    """95% of the mean over classes of a difference, by a bootstrap over each class's images.

    Each draw takes as many images of a class as there are, with replacement (Efron 1979, the
    percentile interval, stratified by class).

    Args:
        difference: (M,), of each test image.
        labels: (M,) their classes.
        draws: how often all images are drawn anew.
    """
    rng = np.random.default_rng(0)
    of, labels = np.asarray(difference, float), np.asarray(labels)
    means = np.zeros(draws)
    classes = np.unique(labels)
    for label in classes:
        values, times = np.unique(of[labels == label], return_counts=True)
        images = int(times.sum())
        means += rng.multinomial(images, times / images, draws) @ values / images / len(classes)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def packed(right: ArrayLike, labels: ArrayLike) -> dict[str, Any]:
    """What a result row keeps of the test images: 1.7 kB of text for 10,000 of them.

    Args:
        right: (M,) bool, whether each is recognised.
        labels: (M,) int, the true classes 0 to C - 1.

    Returns:
        `test_counts`, the images of each class, and `recognised`, a bit for each image in base64,
        class by class, within a class in the order of the test set.
    """
    of = np.asarray(labels)
    bits = np.packbits(np.asarray(right, bool)[np.argsort(of, kind="stable")])
    counts = np.bincount(of).tolist()
    return {"test_counts": counts, "recognised": base64.b64encode(bits.tobytes()).decode()}


def unpacked(row: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(M,) 1 for each test image that a row recognises, else 0; and (M,) their classes.

    Raises:
        ValueError: if there are not as many bits as images.
    """
    images = sum(row["test_counts"])  # Python's integers: a file may bring any
    bits = np.frombuffer(base64.b64decode(row["recognised"], validate=True), np.uint8)
    if len(bits) != (images + 7) // 8:
        raise ValueError(
            f"recognised has {len(bits)} bytes; the {images} images of test_counts need "
            f"{(images + 7) // 8}"
        )
    labels = np.repeat(np.arange(len(row["test_counts"])), row["test_counts"])
    return np.unpackbits(bits, count=images).astype(float), labels


def between(
    rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]
) -> tuple[float, float] | None:
    """95% of the difference in ACSA over test images, of the means over seeds; None if unknown.

    Args:
        rows: of one method.
        others: of another, on the same seeds.

    Returns:
        Ends in [-1, 1]; None where a row does not say which images it recognises, or where they
        are not those of the others.
    """
    both = [*rows, *others]
    if not (rows and others) or not all(row.get("recognised") for row in both):
        return None
    if any(row["test_counts"] != both[0]["test_counts"] for row in both):
        return None
    first, second = (np.mean([unpacked(row)[0] for row in of], axis=0) for of in (rows, others))
    return interval(first - second, unpacked(both[0])[1])

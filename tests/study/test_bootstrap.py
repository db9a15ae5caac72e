"""Intervals over test images, and the bits that rows keep of them."""

import numpy as np
import pytest

from facog_lab.study import bootstrap


@pytest.mark.parametrize("images", [1, 7, 8, 9, 1000])
def test_what_is_packed_is_unpacked_class_by_class(images):
    rng = np.random.default_rng(images)
    labels, right = rng.integers(0, 3, images), rng.random(images) < 0.6
    row = bootstrap.packed(right, labels)
    found, of = bootstrap.unpacked(row)
    order = np.argsort(labels, kind="stable")
    assert (found == right[order]).all()
    assert (of == labels[order]).all()
    assert len(row["recognised"]) <= 4 * (images // 24 + 1)


def test_bits_of_another_number_of_images_are_refused():
    row = bootstrap.packed([True] * 9, [0] * 9) | {"test_counts": [17]}
    with pytest.raises(ValueError, match="2 bytes; the 17 images"):
        bootstrap.unpacked(row)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    labels = np.repeat([0, 1], [300, 60])
    truth = (0.1 + 0.3) / 2  # classes alike, not images
    for _ in range(200):
        better = rng.random(360) < np.where(labels == 0, 0.1, 0.3)
        low, high = bootstrap.interval(better.astype(float), labels, draws=400)
        hits += low <= truth <= high
    assert 0.90 <= hits / 200 <= 0.99


def test_order_does_not_matter_and_equal_methods_have_no_width():
    rng = np.random.default_rng(1)
    labels, of = rng.integers(0, 4, 200), rng.integers(-1, 2, 200).astype(float)
    order = rng.permutation(200)
    assert bootstrap.interval(of, labels) == bootstrap.interval(of[order], labels[order])
    assert bootstrap.interval(np.zeros(200), labels) == (0, 0)


def test_rows_of_other_images_or_without_them_are_not_compared():
    one = bootstrap.packed([True, False], [0, 1])
    other = bootstrap.packed([True, False, True], [0, 1, 1])
    assert bootstrap.between([one], [one]) == (0, 0)
    assert bootstrap.between([one], [other]) is None
    assert bootstrap.between([one], [{}]) is None
    assert bootstrap.between([], [one]) is None

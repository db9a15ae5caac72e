import numpy as np
import pytest
import torch

from facog_lab.estimators.columns import Columns
from facog_lab.generator import Mix

LABELS = np.repeat([0, 1], [30, 10])


def columns(rows, one_scale=False, whole=False):
    return Columns(rows, LABELS, np.full(rows.shape[1], whole), one_scale)


def normal(*scales, seed=0):
    return np.random.default_rng(seed).normal(size=(40, len(scales))) * scales


@pytest.mark.parametrize("scale", [1, 1e-300, 1e200, 1e-9])
@pytest.mark.parametrize("offset", [0, 1e9])
def test_columns_are_standardised(scale, offset):
    rows = normal(1, 1000, 1e-6) * scale
    rows = rows + offset * scale
    rows[:, 2] = rows[0, 2]
    x = rows / rows.max(0) if scale > 1e100 else rows * 1e300 if scale < 1e-100 else rows
    made = columns(rows).features
    assert made.dtype == np.float32
    x = x[:, :2]
    assert np.allclose(made[:, :2], (x - x.mean(0)) / x.std(0), atol=1e-4)
    assert (made[:, 2] == 0).all()


def test_one_scale_keeps_how_columns_compare():
    rows = normal(1, 1000, 0.1) + np.array([5, -3, 1e6])
    made = columns(rows, one_scale=True).features.astype(float)
    assert np.sqrt((made**2).mean()) == pytest.approx(1, rel=1e-5)
    ratio = made / (rows - rows.mean(0))
    assert np.allclose(ratio, ratio[0, 0], rtol=1e-3)


def as_mix(of, **parts):
    """Features as an oversampler made them, of (B, D) or of rows, weights and what was added."""
    made = {name: torch.as_tensor(np.asarray(value)) for name, value in parts.items()}
    return Mix(**({"features": torch.zeros(1, of.rows.shape[1])} | made))


@pytest.mark.parametrize("one_scale", [True, False])
def test_features_come_back_as_the_rows_that_they_were(one_scale):
    rows = normal(1, 1000, 1e-6) + np.array([1e5, 0, -7])
    of = columns(rows, one_scale)
    back = of.back(as_mix(of, features=of.features), np.arange(40), LABELS)
    assert np.allclose(back, rows, rtol=1e-6)
    far = of.back(as_mix(of, features=of.features * 100), np.arange(40), LABELS)
    assert (far.min(0) == rows.min(0)).all()
    assert (far.max(0) == rows.max(0)).all()


def test_a_mix_is_taken_from_the_rows_and_what_was_added_from_the_features():
    rows, rng = normal(1, 50, 1e-3), np.random.default_rng(1)
    of, order = columns(rows), rng.permutation(40)
    which, weights = rng.integers(0, 40, (6, 3)), rng.dirichlet([1, 1, 1], 6)
    labels = np.zeros(6, int)
    expected = np.einsum("bn,bnd->bd", weights, rows[order[which]])
    own = expected.clip(rows[:30].min(0), rows[:30].max(0))
    back = of.back(as_mix(of, rows=which, weights=weights * 0.999), order, labels)
    assert np.allclose(back, own, rtol=1e-12)
    added = rng.normal(size=(6, 3)) * 0.1
    back = of.back(as_mix(of, rows=which, weights=weights, added=added), order, labels)
    moved = (expected + added * rows.std(0)).clip(rows.min(0), rows.max(0))
    assert np.allclose(back, moved, rtol=1e-9)


def test_the_largest_whole_numbers():
    least, most = np.iinfo(np.uint64).min, np.iinfo(np.uint64).max
    rows = np.full((40, 2), most)
    rows[0], rows[31] = least, most - 1
    of = columns(rows)
    copies = as_mix(of, rows=np.arange(40)[:, None], weights=np.ones((40, 1)))
    assert (of.back(copies, np.arange(40), LABELS) == rows).all()
    half = as_mix(of, rows=[[31, 32]], weights=[[0.5, 0.5]])
    assert of.back(half, np.arange(40), np.array([1]))[0, 0] in (most - 1, most)
    past = as_mix(of, features=of.features + 9)
    assert (of.back(past, np.arange(40), LABELS)[1:] >= most - 2048).all()  # 2^64 - 2048, a float64


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "float64"])
def test_whole_numbers_are_rounded(dtype):
    """In integers, and in the columns of real numbers that hold whole ones alone."""
    rows = np.random.default_rng(0).integers(20, 120, size=(40, 2)).astype(dtype)
    of = Columns(rows, LABELS, np.array([True, False]), one_scale=False)
    shares = np.linspace(0, 1, 21)
    weights = np.stack([1 - shares, shares], 1)
    made = as_mix(of, rows=np.tile([0, 1], (21, 1)), weights=weights)
    back = of.back(made, np.arange(40), np.zeros(21, int))
    exact = weights @ rows[:2].astype(float)
    assert np.array_equal(back[:, 0], np.rint(exact[:, 0].round(9)))
    assert np.allclose(back[:, 1], exact[:, 1], atol=0 if dtype == "float64" else 0.5)

import numpy as np
import tiny
import torch

from facog_lab.rivals.tailcalib import TailCalib
from facog_lab.rng import rng_for
from facog_lab.settings import Controls

COUNTS = (60, 40, 30, 6, 1)


def rng(*keys):
    return rng_for("cpu", "borrowing", *keys)


def test_tailcalib_against_the_published_formula():
    """Mean (Σ μ_j + x) / (k + 1) and covariance Σ Σ_j / k of the k nearest classes."""
    dictionary = tiny.dictionary(COUNTS, width=4)
    oversampler = TailCalib(dictionary, k=2)
    features = dictionary.features.double().numpy()
    of = [features[dictionary.labels.numpy() == c] for c in range(5)]
    means = np.stack([f.mean(0) for f in of])
    x = of[4][0]  # the only feature of its class, so it is the one that is drawn
    near = np.argsort(np.linalg.norm(means - x, axis=1))[:2]
    assert near[0] == 4  # its own class, whose covariance is 0
    mean = (means[near].sum(0) + x) / 3
    covariance = np.cov(of[near[1]].T) / 2
    mixed = oversampler.generate(torch.full((20_000,), 4), Controls(), rng("t"))
    made = mixed.features.double().numpy()
    assert np.allclose(made.mean(0), mean, atol=0.03)
    assert np.allclose(np.cov(made.T), covariance, atol=0.03)
    assert np.allclose(made - x, mixed.added.numpy(), atol=1e-5)


def test_tailcalib_sums_the_covariances_of_several_classes():
    dictionary = tiny.dictionary((30, 20, 1), width=3)
    features, labels = dictionary.features.numpy(), dictionary.labels.numpy()
    expected = sum(np.cov(features[labels == c].T) for c in (0, 1)) / 3
    made = TailCalib(dictionary, 3).generate(torch.full((20_000,), 2), Controls(), rng("t"))
    assert np.allclose(np.cov(made.features.numpy().T), expected, atol=0.03)

"""The null baselines: how their convex weights are distributed, and that nothing is learned."""

import pytest
import tiny
import torch

from facog_lab.generator import make_oversampler
from facog_lab.rng import rng_for
from facog_lab.settings import Controls, Phase2Config


def weights(name, n_s, number=20_000):
    """Weights of features of the largest class."""
    dictionary = tiny.dictionary()
    config = Phase2Config(oversampler=name)
    oversampler = make_oversampler(config, dictionary, *tiny.heads(dictionary))
    labels = torch.zeros(number, dtype=torch.int64)
    return oversampler.generate(labels, Controls(n_s=n_s), rng_for("cpu", "nulls")).weights


def test_uniform_weights_are_uniform():
    assert (weights("uniform_weights", 4) == 0.25).all()


@pytest.mark.parametrize("n_s", [2, 5, 20])
def test_dirichlet_weights_have_its_moments(n_s):
    """Of Dirichlet(1): mean 1/n, variance (n - 1) / (n² (n + 1)); for n = 2, w is uniform."""
    w = weights("dirichlet_weights", n_s)
    variance = (n_s - 1) / (n_s**2 * (n_s + 1))
    error = (variance / len(w)) ** 0.5
    assert (w.mean(0) - 1 / n_s).abs().max() < 5 * error
    assert w.var(0).mean().item() == pytest.approx(variance, rel=0.03)


def test_random_oversampling_is_one_feature_in_any_slot():
    w = weights("random_oversampling", 5)
    assert w.unique().tolist() == [0, 1]
    assert (w.mean(0) - 0.2).abs().max() < 5 * (0.2 * 0.8 / len(w)) ** 0.5

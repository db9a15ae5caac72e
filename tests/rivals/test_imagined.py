"""Imagined features have the mean and the covariance that the two-covariance model says."""

import pytest
import torch

from facog_lab.dictionary import FeatureDictionary
from facog_lab.rivals.closed_forms import moments
from facog_lab.rivals.imagined import Imagined
from facog_lab.rivals.shrunken_means import true_means
from facog_lab.settings import Controls

COUNTS = (3000, 300, 40, 8, 2, 1)
SHAPE = torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.5, 1.0, 0.0, 0.0], [0, 0.3, 0.7, 0], [0, 0, 0, 0.4]])


@pytest.fixture(scope="module")
def of():
    """Classes with the covariance SHAPE·SHAPEᵀ around means that differ most in one direction."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
    means = torch.randn(len(COUNTS), 4, generator=rng) * torch.tensor([6.0, 1.0, 0.3, 0.1])
    features = means[labels] + torch.randn(len(labels), 4, generator=rng) @ SHAPE.T
    names = tuple("abcdef")
    return FeatureDictionary.build(
        features, labels, torch.arange(len(labels)), names, features[:6], torch.arange(6)
    )


def made(maker, label, number=60_000):
    labels = torch.full((number,), label)
    return maker.generate(labels, Controls(), torch.Generator().manual_seed(1)).features.double()


@pytest.mark.parametrize("label", range(len(COUNTS)))
def test_mean_and_covariance_are_those_of_the_posterior_predictive(of, label):
    features = made(Imagined(of), label)
    known = true_means(moments(of))
    spread = known.back.T @ torch.diag(1 + known.unsure[label]) @ known.back
    torch.testing.assert_close(features.mean(0), known.means[label], atol=0.05, rtol=0)
    torch.testing.assert_close(features.T.cov(), spread, atol=0.12, rtol=0.05)


def test_a_large_class_is_where_its_images_are_with_the_spread_of_all(of):
    features = made(Imagined(of), 0)
    torch.testing.assert_close(features.mean(0), moments(of).means[0], atol=0.05, rtol=0)
    wanted = (SHAPE @ SHAPE.T).double()
    torch.testing.assert_close(features.T.cov(), wanted, atol=0.25, rtol=0.1)


def test_a_rare_class_is_blurred_and_a_part_alone_is_not(of):
    whole, moved, own = (
        Imagined(of), Imagined(of, unsure=False), Imagined(of, move=False)
    )  # fmt: skip
    spreads = [made(maker, 5).T.cov().trace().item() for maker in (whole, moved, own)]
    assert spreads[0] > 1.1 * spreads[1]
    assert spreads[1] == pytest.approx(spreads[2], rel=1e-6)
    seen = moments(of).means[5]
    torch.testing.assert_close(made(own, 5).mean(0), seen, atol=0.05, rtol=0)
    apart = (made(moved, 5).mean(0) - seen).norm().item()
    assert apart > 0.1  # one image is not believed


def test_features_that_are_never_negative_stay_so(of):
    grown = FeatureDictionary.build(
        of.features.relu(), of.labels, of.image_index, of.class_names, of.test_features,
        of.test_labels,
    )  # fmt: skip
    assert (made(Imagined(grown), 5, 500) >= 0).all()

from typing import get_args

import numpy as np
import pytest
from imblearn.pipeline import make_pipeline
from imblearn.utils.estimator_checks import estimator_checks_generator
from scipy.stats import ks_2samp
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import estimator_checks_generator as sklearns

from facog_lab.controls import OversamplerName
from facog_lab.sampler import FeatureOversampler

ALL = get_args(OversamplerName)


def named(generator):
    """Checks with their names, of an estimator that learns for few steps."""
    return [
        pytest.param(made, check, id=f"{made.oversampler}-{getattr(check, 'func', check).__name__}")
        for made, check in generator
    ]


def sampler(name, **settings):
    return FeatureOversampler(name, **{"steps": 3, "random_state": 0} | settings)


@pytest.mark.parametrize(
    ("made", "check"),
    [case for name in ALL for case in named(estimator_checks_generator(sampler(name)))],
)
def test_the_common_checks_of_imbalanced_learn(made, check):
    check(made)


@pytest.mark.parametrize(("made", "check"), named(sklearns(sampler("facog"), mark=None)))
def test_the_checks_of_scikit_learn(made, check):
    check(made)


def unequal(seed=0):
    return make_classification(
        400, 6, n_informative=4, n_redundant=0, n_classes=3, weights=[0.8, 0.15, 0.05],
        random_state=seed,
    )  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_balanced_and_the_real_samples_kept(name):
    x, y = unequal()
    out, labels = sampler(name).fit_resample(x, y)
    assert len(set(np.bincount(labels))) == 1
    assert np.array_equal(out[: len(x)], x)
    assert np.array_equal(labels[: len(y)], y)
    again, _ = sampler(name).fit_resample(x, y)
    assert np.array_equal(out, again)
    other, _ = sampler(name, random_state=1).fit_resample(x, y)
    assert not np.array_equal(out, other)


@pytest.mark.parametrize("name", ["smote", "random_oversampling", "gamo", "facog"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_units_do_not_matter(name, scale):
    """Shifting or scaling all of X shifts and scales what is made."""
    x, y = unequal()
    out, _ = sampler(name).fit_resample(x, y)
    other, _ = sampler(name).fit_resample(x * scale - 50 * scale, y)
    assert np.allclose(other / scale + 50, out, atol=2e-3)


def test_smote_makes_what_imbalanced_learns_makes():
    from imblearn.over_sampling import SMOTE

    x, y = unequal()
    ours, labels = sampler("smote", sampling_strategy={2: 3000}).fit_resample(x, y)
    theirs, _ = SMOTE(sampling_strategy={2: 3000}, random_state=0).fit_resample(x, y)
    assert (labels[len(x) :] == 2).all()
    for column in range(6):
        assert ks_2samp(ours[len(x) :, column], theirs[len(x) :, column]).pvalue > 1e-3


def test_a_class_of_one_and_names_as_labels():
    x = np.random.default_rng(0).normal(size=(13, 3)).astype(np.float32)
    y = np.array(["cat"] * 8 + ["dog"] * 4 + ["eel"])
    out, labels = sampler("smote").fit_resample(x, y)
    assert out.dtype == np.float32
    assert np.allclose(out[labels == "eel"], x[-1], atol=1e-6)
    assert {name: int((labels == name).sum()) for name in set(labels)} == dict.fromkeys(set(y), 8)


def test_equal_columns_and_equal_samples():
    x, y = np.ones((9, 2)), np.array([0] * 6 + [1] * 3)
    out, _ = sampler("facog").fit_resample(x, y)
    assert np.allclose(out, 1)


def test_in_a_pipeline():
    x, y = unequal()
    made = make_pipeline(sampler("facog", steps=50), LogisticRegression()).fit(x, y)
    assert made.score(x, y) > 0.5


@pytest.mark.parametrize("wrong", [{"oversampler": "smoet"}, {"n_s": 0}, {"steps": 0}])
def test_settings_are_checked(wrong):
    x, y = unequal()
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FeatureOversampler(**wrong).fit_resample(x, y)

"""Tests over few seeds against literal definitions."""

import itertools

import numpy as np
import pytest
from scipy import stats

from facog_lab.study import paired


def literal_holm(p):
    """Holm 1979: the k-th smallest times (m - k + 1), never less than the one before, at most 1."""
    made = [v for v in p if v == v]
    out, largest = {}, 0.0
    for k, value in enumerate(sorted(made)):
        largest = max(largest, min(1.0, value * (len(made) - k)))
        out[value] = largest
    return [out.get(v, np.nan) for v in p]


@pytest.mark.parametrize("seed", range(20))
def test_holm_is_what_the_definition_says(seed):
    p = np.random.default_rng(seed).uniform(size=12) ** 3
    p[::5] = np.nan
    np.testing.assert_allclose(paired.holm(p), literal_holm(p))
    order = np.random.default_rng(seed).permutation(12)
    np.testing.assert_allclose(paired.holm(p[order]), paired.holm(p)[order])


def test_holm_of_nothing_and_of_one():
    assert paired.holm([]).size == 0
    assert paired.holm([0.03]).tolist() == [0.03]
    assert np.isnan(paired.holm([np.nan])).all()


@pytest.mark.parametrize("n", [2, 3, 5])
def test_sign_flips_are_counted_one_by_one(n):
    of = np.random.default_rng(n).normal(0.3, 1, n)
    flips = [abs(sum(s * x for s, x in zip(signs, of, strict=True)))
             for signs in itertools.product((1, -1), repeat=n)]  # fmt: skip
    assert paired.distribution_free(of) == np.mean([f >= abs(of.sum()) - 1e-12 for f in flips])
    assert paired.distribution_free(np.abs(of)) == 2 / 2**n


def test_above_five_it_is_wilcoxon():
    of = np.random.default_rng(0).normal(0.5, 1, 9)
    assert paired.distribution_free(of) == pytest.approx(stats.wilcoxon(of.round(9)).pvalue)
    assert (paired.name_of_test(5), paired.name_of_test(6)) == ("sign flips", "Wilcoxon")


def test_two_methods_over_the_same_seeds():
    first, second = [0.50, 0.52, 0.51], [0.49, 0.49, 0.52]
    found = paired.compared(first, second)
    assert (found.n, found.above) == (3, 2)
    assert found.gain == pytest.approx(1)
    assert found.p == pytest.approx(stats.ttest_rel(first, second).pvalue)


@pytest.mark.parametrize(("first", "second"), [([0.5], [0.4]), ([0.5, 0.6], [0.4, 0.5])])
def test_what_cannot_be_tested_has_no_p(first, second):
    found = paired.compared(first, second)
    assert found.gain == pytest.approx(10)
    assert np.isnan([found.p, found.p_signs]).all()

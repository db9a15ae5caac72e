"""Tests of paired differences over few seeds, and of many at once."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAME = 1e-9  # differences that vary by less differ by rounding alone; a result has five digits
FEW = 5  # up to so many pairs, Wilcoxon's ranks cannot fall below 0.05 and lose the sizes, too


class Compared(NamedTuple):
    """A method beside another, seed by seed.

    Attributes:
        n: how many seeds both have.
        gain: mean difference, in points.
        above: how many of the seeds are above the other's.
        p: two-sided, of Student's paired t-test; NaN below two seeds, and where no seed changes the
            difference, as between two closed forms on one phase 1.
        p_signs: two-sided, takes no distribution for granted, see `distribution_free`; NaN as `p`.
    """

    n: int
    gain: float
    above: int
    p: float
    p_signs: float


def compared(first: ArrayLike, second: ArrayLike) -> Compared:
    """Scores of two methods over the same seeds.

    Args:
        first: (n,) in [0, 1], of the one.
        second: (n,) of the other, in the same order; n at least 1.
    """
    differences = np.asarray(first, float) - np.asarray(second, float)
    n, gain = len(differences), 100 * float(differences.mean())
    above = int((differences > SAME).sum())
    if n < 2 or np.ptp(differences) <= SAME:
        return Compared(n, gain, above, np.nan, np.nan)
    from scipy import stats  # a second to import

    p = float(stats.ttest_1samp(differences, 0).pvalue)
    return Compared(n, gain, above, p, distribution_free(differences))


def distribution_free(differences: ArrayLike) -> float:
    """A two-sided p that does not assume a normal distribution, by a rule that n alone decides.

    Up to `FEW` pairs: the share of all 2^n choices of signs under which the mean is as far from 0
    as it is (Fisher's sign-flip test). It is 2 / 2^n at least, 0.0625 for five: with so few, only
    the t-test's normal distribution can give less. Above: Wilcoxon's signed-rank test.

    Args:
        differences: (n,), not all 0.
    """
    of = np.asarray(differences, float)
    if len(of) <= FEW:
        signs = np.array(list(itertools.product((1, -1), repeat=len(of))))
        means = np.abs(signs @ of)
        return float(np.mean(means >= abs(of.sum()) - SAME))
    from scipy import stats

    return float(stats.wilcoxon(np.round(of, 9)).pvalue)


def name_of_test(n: int) -> str:
    """The test that `distribution_free` makes of n pairs."""
    return "sign flips" if n <= FEW else "Wilcoxon"


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p (1979): the chance that any below 0.05 is so by luck alone is at most 0.05.

    Args:
        p: (m,) of all comparisons of a table; NaN ones were not made and do not count.
    """
    values = np.asarray(p, float)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]  # NaN is sorted to the end
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted

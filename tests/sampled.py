"""Plain data of many types, offsets and scales, and what `FeatureOversampler` promises of each."""

from typing import NamedTuple

import numpy as np

from facog_lab import registry
from facog_lab.estimators.oversampler import FeatureOversampler

ALL = registry.oversamplers
LEAVE_THE_HULL = ("facog_attention", "cgan", "safa", "tailcalib", "lent_spread", "imagined")
HULL = tuple(name for name in ALL if name not in LEAVE_THE_HULL)
FLOATS = ("float64", "float32", "float16")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
LABELS = np.repeat([0, 1, 2], [20, 8, 3])


class Case(NamedTuple):
    """Data of a type, x · scale + offset."""

    dtype: str
    offset: float
    scale: float


def floats(dtype):
    """Offsets 0 to ±1e9 by scales 1e-6 to 1e6, as far as the type reaches."""
    offsets = (0, 1, -1, 1e3, -1e3, 1e6, -1e6, 1e9, -1e9)
    scales = (2.0**-20, 2.0**-10, 1.0, 2.0**10, 2.0**20)
    most = float(np.finfo(dtype).max)
    return [Case(dtype, o, s) for o in offsets for s in scales if abs(o) + 8 * s < most]


def integers(dtype):
    """At the bottom, middle and top of the type, from two values to as many as there are."""
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    spans = sorted({1, 9, 100, min(10**9, most), most - least})
    return [
        Case(dtype, first, span)
        for span in spans
        for first in sorted({least, max(least, (least + most) // 2 - span), most - span})
    ]


CASES = {
    **{dtype: floats(dtype) for dtype in FLOATS},
    **{dtype: integers(dtype) for dtype in INTEGERS},
    "bool": [Case("bool", 0, 1)],
}


def data(case):
    """(31, 3) rows of three classes, the last column constant; and 31 labels.

    Real numbers are multiples of 1/64 between -4 and 4, scaled and shifted.
    """
    rng = np.random.default_rng(0)
    if case.dtype in FLOATS:
        x = np.round(rng.normal(size=(31, 3)) + LABELS[:, None] / 2, 1) * 64
        x = (x.round() / 64).clip(-4, 4) * case.scale + case.offset
        x[:, 2] = case.offset
        return x.astype(case.dtype), LABELS
    share = rng.integers(0, 2**53, size=(31, 3))
    share[0], share[1], share[:, 2] = 0, 2**53 - 1, 0
    of = [
        [int(case.offset) + int(s) * (int(case.scale) + 1) // 2**53 for s in row] for row in share
    ]
    return np.array(of, dtype=case.dtype), LABELS


def sampled(name, x, y, **settings):
    return FeatureOversampler(name, **{"steps": 2, "random_state": 0} | settings).fit_resample(x, y)


def check(name, x, y, **settings):
    """All that is promised of every type, offset and scale; what was made, and its labels."""
    out, labels = sampled(name, x, y, **settings)
    assert out.dtype == x.dtype
    assert out[: len(x)].tobytes() == x.tobytes()
    assert np.array_equal(labels[: len(y)], y)
    made, of = out[len(x) :], labels[len(y) :]
    assert np.array_equal(np.bincount(labels), np.full(y.max() + 1, np.bincount(y).max()))
    for label in np.unique(of):
        real, own = x[y == label], made[of == label]
        within = real if name in HULL else x
        assert (own >= within.min(0)).all()
        assert (own <= within.max(0)).all()  # NaN is neither
        if name == "random_oversampling":
            assert {row.tobytes() for row in own} <= {row.tobytes() for row in real}
    return made, of

"""`FeatureOversampler` on every type, offset and scale: 2,691 cases, and data meant to break it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sampled import ALL, CASES, FLOATS, Case, check, data, sampled

DTYPES = [name for name in CASES if name != "bool"]


@pytest.mark.long
@pytest.mark.parametrize("dtype", CASES)
@pytest.mark.parametrize("name", ALL)
def test_types_offsets_and_scales(name, dtype):
    """Integers are the nearest to what is made of them as real numbers; a X + b gives a X' + b."""
    plain, _ = check(name, *data(Case("float64", 0, 1)))
    for case in CASES[dtype]:
        x, y = data(case)
        made, _ = check(name, x, y)
        exact = x.astype(np.float64)
        if dtype in FLOATS:
            if np.array_equal((exact - case.offset) / case.scale, data(Case("float64", 0, 1))[0]):
                last = np.finfo(dtype).eps * (abs(case.offset) / case.scale + 4)
                off = (made.astype(np.float64) - case.offset) / case.scale - plain
                assert np.abs(off).max() < 2 * last + 1e-6, case
        elif max(abs(case.offset), abs(case.offset + case.scale)) < 2**53:
            real, _ = sampled(name, exact, y)
            assert np.abs(made - real[len(x) :]).max() <= 0.5, case


@pytest.mark.long
@pytest.mark.parametrize("name", ALL)
@given(drawn=st.data())
@example(drawn=None)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_data_meant_to_break_it(name, drawn):
    """Any finite numbers of any type: the largest, the smallest, all the same, one far outside."""
    if drawn is None:
        x = np.full((9, 2), 1.0)
        x[3], x[4] = np.finfo(np.float64).max, np.finfo(np.float64).min
    else:
        dtype = drawn.draw(st.sampled_from(DTYPES))
        shape = drawn.draw(st.tuples(st.integers(4, 12), st.integers(1, 3)))
        finite = {"allow_nan": False, "allow_infinity": False} if dtype in FLOATS else {}
        x = drawn.draw(arrays.arrays(dtype, shape, elements=finite))
    check(name, x, np.r_[0, 0, 0, 1, np.arange(len(x) - 4) % 2])


@pytest.mark.long
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("more", [{"references": "fixed"}, {"n_s": 1}, {"n_s": 20}], ids=str)
def test_other_settings(name, more):
    for dtype in ("float32", "int64", "uint8"):
        for case in CASES[dtype][::3]:
            check(name, *data(case), **more)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["facog", "facog_attention", "cgan", "gamo_without_d", "gamo", "safa"]
)
def test_default_steps(name):
    """What learned for two steps only above learns for as many as a user gets unasked."""
    mean, deviation = np.array([300, 10, 1.7e9, -1e-9]), np.array([10, 1, 1e5, 1e-12])
    x = mean + deviation * np.random.default_rng(0).normal(size=(200, 4))
    x[0] = mean + 1e6 * deviation  # a row that is far outside
    check(name, x, np.repeat([0, 1], [150, 50]), steps=1000)

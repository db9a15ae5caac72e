import numpy as np
import pandas as pd
import pytest
import sampled
import torch
from imblearn.pipeline import make_pipeline
from imblearn.utils.estimator_checks import estimator_checks_generator
from sampled import ALL, CASES, HULL, check, data
from scipy import sparse
from scipy.stats import ks_2samp
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import estimator_checks_generator as sklearns

from facog_lab.config import TrainingError
from facog_lab.estimators import oversampler as module
from facog_lab.estimators.oversampler import FeatureOversampler
from facog_lab.rivals import cgan
from facog_lab.runs.memory import OutOfMemoryError


def named(generator):
    """Checks with their names, of an estimator that learns for few steps."""
    return [
        pytest.param(made, check, id=f"{made.oversampler}-{getattr(check, 'func', check).__name__}")
        for made, check in generator
    ]


def sampler(name, **settings):
    return FeatureOversampler(name, **{"steps": 3, "random_state": 0} | settings)


# One that learns, one that mixes neighbours, one that mixes nothing; the others in the long part.
KINDS = ("facog", "smote", "gamo")


@pytest.mark.parametrize(
    ("made", "check"),
    [
        pytest.param(*case.values, id=case.id, marks=() if name in KINDS else pytest.mark.long)
        for name in ALL
        for case in named(estimator_checks_generator(sampler(name)))
    ],
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


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for i, name in enumerate(ALL) for dtype in list(CASES)[i % 4 :: 4]],
)
def test_one_offset_and_scale_of_every_type(name, dtype):
    """Each name with some types, each type with some names; all: tests/faults/test_sampled.py."""
    case = CASES[dtype][len(CASES[dtype]) * 2 // 3]
    check(name, *data(case))


def test_cases_are_data_that_differ():
    for dtype in ("float64", "int64", "uint8", "bool"):
        for case in CASES[dtype]:
            x, _ = data(case)
            assert len(np.unique(x[:, 0])) > 1, case
            assert len(np.unique(x[:, 2])) == 1, case
    assert sum(len(cases) for cases in CASES.values()) * len(ALL) >= 2000


@pytest.mark.parametrize("name", ALL)
def test_units_do_not_matter(name):
    """a X + b gives a X' + b, to the last digits that float64 holds of it."""
    x, y = data(sampled.Case("float64", 0, 1))
    made, _ = check(name, x, y)
    for a, b in ((2.0**20, 0), (2.0**-20, -3), (1, 1e9), (1024, -1e6), (2.0**600, 0), (1e-3, 7)):
        other, _ = check(name, x * a + b, y)
        assert np.allclose((other - b) / a, made, rtol=0, atol=1e-4 + 4e-16 * abs(b) / a), (a, b)


@pytest.mark.parametrize("name", ["smote", "borderline_smote", "dos"])
def test_neighbours_are_those_of_the_data_as_given(name):
    """A column that is a million times as wide decides alone."""
    x, y = unequal()
    x = x * [1, 1e6, 1, 1, 1, 1]
    made, _ = check(name, x, y)
    alone, _ = check(name, x[:, [1]], y)
    assert np.allclose(made[:, 1], alone[:, 0])


@pytest.mark.parametrize("name", ALL)
def test_whole_numbers_are_rounded_and_not_cut_off(name):
    """Integers are the real numbers that would have been made, to the nearest."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [320, 20])
    x = rng.integers(100, 120, size=(340, 4))
    real, _ = check(name, x.astype(np.float64), y)
    for dtype in ("int64", "uint8", "int16"):
        made, _ = check(name, x.astype(dtype), y)
        off = made - real
        assert np.abs(off).max() <= 0.5
        if name in HULL:  # SAFA moves a whole number by about the same everywhere
            assert abs(off.mean()) < 4 * 0.29 / off.size**0.5
    yes = x > 109
    made, _ = check(name, yes, y)
    real, _ = check(name, yes.astype(np.float64), y)
    assert np.array_equal(made, np.rint(real) == 1)


@pytest.mark.parametrize("name", ["random_oversampling", "uniform_weights", "dirichlet_weights"])
def test_the_mean_of_a_class_stays(name):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 20, size=(1100, 3)), np.repeat([0, 1], [1000, 100])
    made, _ = check(name, x, y)
    error = x[y == 1].std(0) / 900**0.5
    assert (np.abs(made.mean(0) - x[y == 1].mean(0)) < 4 * error).all()


def test_smote_between_two_whole_numbers_makes_no_third():
    x = np.repeat([[90], [99], [100]], [40, 3, 3], axis=0)
    made, _ = check("smote", x, np.repeat([0, 1], [40, 6]))
    assert set(made[:, 0]) == {99, 100}


@pytest.mark.parametrize("name", ALL)
def test_times_keep_their_variation(name):
    """Seconds since 1970, within a minute of each other, of which float32 makes one or two."""
    rng = np.random.default_rng(0)
    x = np.stack([1.7e9 + rng.normal(0, 30, 60), rng.uniform(size=60)], 1)
    assert len(np.unique(x[:, 0].astype(np.float32))) < 4
    made, _ = check(name, x, np.repeat([0, 1], [45, 15]), n_s=2)
    assert len(np.unique(made[:, 0])) >= 10


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
    for name in HULL:
        out, labels = sampler(name).fit_resample(x, y)
        assert out.dtype == np.float32
        assert (out[labels == "eel"] == x[-1]).all()
        counts = {name: int((labels == name).sum()) for name in set(labels)}
        assert counts == dict.fromkeys(set(y), 8)


@pytest.mark.parametrize("name", ALL)
def test_equal_columns_and_equal_samples(name):
    x, y = np.full((9, 2), 0.1), np.array([0] * 6 + [1] * 3)
    out, _ = sampler(name).fit_resample(x, y)
    assert (out == 0.1).all()


def frame():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(
        {
            "visits": rng.integers(0, 20, 340),
            "price": rng.normal(5, 1, 340),
            "small": rng.normal(size=340).astype(np.float32),
            "member": rng.integers(0, 2, 340).astype(bool),
            "asked": pd.array(rng.integers(0, 5, 340), dtype="Int64"),
        },
        index=np.arange(340) + 7,
    )
    return x, pd.Series(np.repeat(["no", "yes"], [320, 20]), name="buys", index=x.index)


@pytest.mark.parametrize("name", ALL)
def test_frames_stay_frames_and_each_column_keeps_its_type(name):
    x, y = frame()
    made = sampler(name)
    out, labels = made.fit_resample(x, y)
    assert out.dtypes.equals(x.dtypes)
    assert labels.dtype == y.dtype
    assert labels.name == "buys"
    assert made.feature_names_in_.tolist() == x.columns.tolist()
    pd.testing.assert_frame_equal(out[:340], x.reset_index(drop=True))
    real, _ = sampler(name).fit_resample(x.astype(float), y)
    for column in ("visits", "asked", "member"):  # rounded; imbalanced-learn cuts off
        expected = np.rint(real[column][340:].to_numpy())
        assert np.array_equal(out[column][340:].to_numpy(dtype=float), expected)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array, sparse.csr_array])
def test_sparse_comes_back_sparse(kind):
    x, y = unequal()
    x = (x * (x > 0)).astype(np.float32)
    out, _ = sampler("smote").fit_resample(kind(x), y)
    dense, _ = sampler("smote").fit_resample(x, y)
    assert type(out) is kind
    assert out.dtype == np.float32
    assert np.array_equal(out.toarray(), dense)


def test_lists_a_column_of_labels_and_nothing_to_do():
    x, y = [[1, 2], [2, 3], [3, 1], [9, 9]], [0, 0, 0, 1]
    out, labels = sampler("facog").fit_resample(x, y)
    assert out == [*x, [9, 9], [9, 9]]
    assert labels == [0, 0, 0, 1, 1, 1]
    out, labels = sampler("facog").fit_resample(np.array(x), np.array(y)[:, None])
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    out, labels = sampler("facog").fit_resample(np.array(x), [0, 0, 1, 1])
    assert np.array_equal(out, x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"visits": "category"}, "column 'visits' of X holds category.*Encode it"),
        ({"visits": "datetime64[s]"}, "column 'visits' of X holds datetime64.*times as seconds"),
        ({"visits": str}, "column 'visits' of X holds .*Encode it"),
    ],
)
def test_columns_that_are_no_numbers_are_refused(change, message):
    x, y = frame()
    with pytest.raises(ValueError, match=message):
        sampler("random_oversampling").fit_resample(x.astype(change), y)


def test_whole_numbers_that_a_frame_cannot_keep_are_refused():
    x, y = frame()
    with pytest.raises(
        ValueError, match=r"whole numbers above 2\^53, and its columns meet as real"
    ):
        sampler("random_oversampling").fit_resample(x.assign(visits=x.visits + 2**60), y)
    alone = x[["visits"]] + 2**60
    out, _ = sampler("random_oversampling").fit_resample(alone, y)
    assert set(out.visits) == set(alone.visits)


def test_times_in_an_array_are_refused():
    x = np.arange(20).astype("datetime64[s]")[:, None]
    with pytest.raises(ValueError, match=r"X holds datetime64.*times as seconds"):
        sampler("smote").fit_resample(x, [0] * 15 + [1] * 5)


def test_errors_speak_of_what_the_sampler_has(monkeypatch):
    x, y = unequal()
    monkeypatch.setattr(cgan, "LR", 1e30)
    with pytest.raises(TrainingError) as caught:
        sampler("gamo", steps=9).fit_resample(x, y)
    said = str(caught.value)
    assert "oversampler = 'gamo' on 400 rows of 6 columns" in said
    assert "steps = 9" in said
    assert "learning rate" not in said
    assert "temperature" not in said

    def too_much(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 b")

    monkeypatch.setattr(module.FeatureOversampler, "_loop", too_much)
    with pytest.raises(OutOfMemoryError, match="'gamo' on 400 rows of 6 columns: out of memory"):
        sampler("gamo").fit_resample(x, y)


@pytest.mark.parametrize("name", ["facog", "facog_attention", "cgan", "gamo", "safa"])
@pytest.mark.parametrize(("mean", "deviation"), [(300, 10), (10, 1)])
def test_what_learns_learns_from_data_that_are_far_from_zero(name, mean, deviation):
    rng = np.random.default_rng(0)
    x = rng.normal(mean, deviation, size=(200, 4))
    made, _ = check(name, x, np.repeat([0, 1], [150, 50]), steps=15)
    assert np.abs(made.mean(0) - mean).max() < 2 * deviation


def test_in_a_pipeline():
    x, y = unequal()
    made = make_pipeline(sampler("facog", steps=50), LogisticRegression()).fit(x, y)
    assert made.score(x, y) > 0.5


@pytest.mark.parametrize("wrong", [{"oversampler": "smoet"}, {"n_s": 0}, {"steps": 0}])
def test_settings_are_checked(wrong):
    x, y = unequal()
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FeatureOversampler(**wrong).fit_resample(x, y)


def test_torchs_own_draws_are_left_alone():
    x, y = unequal()
    before = torch.random.get_rng_state()
    sampler("gamo").fit_resample(x, y)
    assert torch.equal(before, torch.random.get_rng_state())

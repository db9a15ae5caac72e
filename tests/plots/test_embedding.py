import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from facog_lab.config import ConfigError
from facog_lab.plots import embedding

METHODS = ("pca", "tsne", "umap")


def clusters(sizes=(120, 60, 20), width=60, seed=0):
    """Far clusters of decreasing size: (N, width) float32 and (N,) labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = 6 * rng.normal(size=(len(sizes), width))
    return (centres[labels] + rng.normal(size=(len(labels), width))).astype(np.float32), labels


def slow_trustworthiness(points, shown, k):
    """Venna and Kaski (2001), by the definition."""
    n, penalty = len(points), 0
    for i in range(n):
        order = sorted(
            (j for j in range(n) if j != i), key=lambda j: sum((points[i] - points[j]) ** 2)
        )
        near = sorted(
            (j for j in range(n) if j != i), key=lambda j: sum((shown[i] - shown[j]) ** 2)
        )
        penalty += sum(max(0, order.index(j) + 1 - k) for j in near[:k])
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * penalty


def test_pca_is_the_svd_and_takes_a_mix_to_the_mix_of_its_parents():
    features, _ = clusters()
    fitted = embedding.fit_map(features, "pca")
    u, s, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(fitted.coordinates), np.abs(u[:, :2] * s[:2]), atol=2e-3)
    np.testing.assert_allclose(fitted.place(features), fitted.coordinates, atol=1e-3)

    rng = np.random.default_rng(1)
    parents, weights = rng.integers(len(features), size=(50, 5)), rng.dirichlet(np.ones(5), 50)
    mixed = fitted.place(np.einsum("mn,mnd->md", weights, features[parents]))
    expected = np.einsum("mn,mnd->md", weights, fitted.coordinates[parents])
    np.testing.assert_allclose(mixed, expected, atol=1e-3)
    assert fitted.exact
    assert fitted.badge == "exact"


def test_trustworthiness_is_that_of_the_definition():
    features, _ = clusters((15, 10))
    fitted = embedding.fit_map(features, "pca")
    slow = slow_trustworthiness(features, fitted.coordinates, k=12)
    assert fitted.trustworthiness == pytest.approx(slow, abs=1e-6)


def test_tsne_keeps_clusters_apart_and_places_points_where_they_belong():
    features, labels = clusters()
    fitted = embedding.fit_map(features, "tsne")
    assert not fitted.exact
    assert fitted.badge == f"distorted: trustworthiness {fitted.trustworthiness:.2f}"
    assert 0.5 < fitted.trustworthiness <= 1
    before = fitted.coordinates.copy()

    placed = fitted.place(features)  # the real ones land on themselves, in the same frame
    assert np.median(np.linalg.norm(placed - before, axis=1)) < 0.02 * np.ptp(before)
    np.testing.assert_array_equal(fitted.coordinates, before)
    # whatever the batch, but for the rounding of its products
    np.testing.assert_allclose(placed[:7], fitted.place(features[:7]), rtol=1e-5)
    own = embedding.neighbour_label_agreement(before, labels, placed, labels)
    assert own > 0.99


def test_umap_says_that_it_compiles_and_repeats_itself():
    features, labels = clusters()
    told = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of the walls of warnings comes through
        first = embedding.fit_map(features, "umap", seed=3, report=told.append)
        second = embedding.fit_map(features, "umap", seed=3, report=told.append)
        placed = first.place(features[::4] + 0.01)
    assert [t for t in told if "compiling" in t] == told[:1]
    np.testing.assert_array_equal(first.coordinates, second.coordinates)
    np.testing.assert_array_equal(placed, second.place(features[::4] + 0.01))
    agreement = embedding.neighbour_label_agreement(first.coordinates, labels, placed, labels[::4])
    assert agreement > 0.95


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_the_seed_decides(method):
    features, _ = clusters((40, 20))
    first, second, other = (embedding.fit_map(features, method, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.coordinates, second.coordinates)
    np.testing.assert_array_equal(first.place(features[:9]), second.place(features[:9]))
    assert first.coordinates.dtype == first.place(features).dtype == np.float32
    if method == "tsne":
        assert (first.coordinates != other.coordinates).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [5, 8])
def test_few_points_are_enough(method, n):
    told = []
    fitted = embedding.fit_map(clusters((n,), 7)[0], method, report=told.append)
    assert fitted.coordinates.shape == (n, 2)
    assert np.isfinite(fitted.coordinates).all()
    assert np.isfinite(fitted.place(np.zeros((3, 7)))).all()
    assert fitted.place(np.zeros((0, 7))).shape == (0, 2)
    changed = [t for t in told if "instead of" in t]
    assert len(changed) == (method != "pca")


def test_torch_tensors_and_lists_are_features_too():
    features, _ = clusters((20, 10))
    expected = embedding.fit_map(features, "pca")
    fitted = embedding.fit_map(torch.from_numpy(features), "pca")
    np.testing.assert_array_equal(fitted.coordinates, expected.coordinates)
    np.testing.assert_array_equal(
        fitted.place(features[:3].tolist()), expected.place(torch.from_numpy(features[:3]))
    )


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((4, 8)), "4 features of 8 dimensions.*at least 5"),
        (np.zeros((9, 1)), "9 features of 1 dimensions.*at least 2 dimensions"),
        (np.ones((9, 8)), "all 9 features are the same"),
        (np.zeros(9), r"shape \(9,\)"),
        (np.r_[np.ones((3, 8)), np.full((6, 8), np.nan)], "feature 3 holds NaN"),
        (np.r_[np.eye(8), np.full((1, 8), np.inf)], "feature 8 holds NaN or inf"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_mapped_is_named(method, features, message):
    with pytest.raises(ValueError, match=message):
        embedding.fit_map(features, method)


def test_wrong_width_method_and_settings_are_named():
    features, _ = clusters((20, 10))
    fitted = embedding.fit_map(features, "pca")
    with pytest.raises(ValueError, match="have 59 dimensions, the map was fitted on 60"):
        fitted.place(features[:, 1:])
    with pytest.raises(ValueError, match="feature 0 holds NaN"):
        fitted.place(np.full((1, 60), np.nan))
    with pytest.raises(ConfigError, match=r"no map named 'umpa'. Did you mean 'umap'"):
        embedding.fit_map(features, "umpa")
    with pytest.raises(ConfigError, match=r"perplexity = 1.0"):
        embedding.MapConfig(perplexity=1.0)


def test_agreement_is_that_of_the_nearest_real_feature():
    rng = np.random.default_rng(0)
    real, real_labels = rng.normal(size=(40, 3)), rng.integers(4, size=40)
    fake, fake_labels = rng.normal(size=(25, 3)), rng.integers(4, size=25)
    right = 0
    for point, label in zip(fake, fake_labels, strict=True):
        nearest = min(range(40), key=lambda i: sum((real[i] - point) ** 2))
        right += real_labels[nearest] == label
    share = embedding.neighbour_label_agreement(real, real_labels, fake, fake_labels)
    assert share == pytest.approx(right / 25)
    assert embedding.neighbour_label_agreement(real, real_labels, real, real_labels) == 1
    none = embedding.neighbour_label_agreement(real, real_labels, fake[:0], fake_labels[:0])
    assert np.isnan(none)


def test_importing_it_imports_no_mapping_library():
    code = (
        "import sys, facog_lab.plots.embedding; "
        "print([m for m in ('umap', 'openTSNE', 'sklearn', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

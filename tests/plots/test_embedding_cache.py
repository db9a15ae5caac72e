"""A map that was kept is the map that was fitted, also for what is placed later."""

import numpy as np
import pytest

from facog_lab.plots import embedding, embedding_cache
from facog_lab.runs import store

SETTINGS = embedding.MapConfig(perplexity=5)


def features(seed=0, n=40):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 6)) + 4 * rng.integers(3, size=(n, 1))).astype(np.float32)


def test_the_second_map_is_read_and_the_same(outputs, monkeypatch):
    real, made = features(), features(1, 7)
    first = embedding_cache.fit_map(real, "tsne", SETTINGS, seed=3)
    placed = first.place(made)
    plain = embedding.fit_map(real, "tsne", seed=3, perplexity=5)
    np.testing.assert_array_equal(first.coordinates, plain.coordinates)
    np.testing.assert_array_equal(placed, plain.place(made))

    fits = []
    fit = embedding.fit_map
    monkeypatch.setattr(embedding, "fit_map", lambda *a, **k: fits.append(1) or fit(*a, **k))
    second = embedding_cache.fit_map(real, "tsne", SETTINGS, seed=3)
    np.testing.assert_array_equal(second.coordinates, first.coordinates)
    np.testing.assert_array_equal(second.place(made), placed)
    assert (second.trustworthiness, second.badge) == (first.trustworthiness, first.badge)
    assert not fits
    others = features(2, 5)  # nothing is known of these: the map is fitted again
    np.testing.assert_array_equal(second.place(others), plain.place(others))
    assert len(fits) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"features": features(9)},
        {"seed": 4},
        {"settings": embedding.MapConfig(perplexity=6)},
    ],
)
def test_other_features_seeds_and_settings_are_other_maps(outputs, changed):
    given = {"features": features(), "settings": SETTINGS, "seed": 3}
    one = embedding_cache.fit_map(method="tsne", **given)
    other = embedding_cache.fit_map(method="tsne", **given | changed)
    assert (one.coordinates != other.coordinates).any()


def test_pca_is_not_kept(outputs):
    assert embedding_cache.fit_map(features(), "pca", SETTINGS).exact
    assert not outputs.exists()


FORGED = {
    "too few": lambda t: {"coordinates": t["coordinates"][:-1]},
    "no numbers": lambda t: {"coordinates": t["coordinates"].long()},
    "another name": lambda t: {"x": t["coordinates"]},
}


@pytest.mark.parametrize("kind", FORGED)
def test_what_is_no_map_of_these_features_is_made_again(kind, outputs):
    real, made = features(), features(1, 7)
    first = embedding_cache.fit_map(real, "tsne", SETTINGS, seed=3)
    placed = np.array(first.place(made))
    folders = [path.parent for path in outputs.rglob("manifest.json")]
    assert len(folders) == 2
    for folder in folders:
        stage = folder.parent.name
        run = store.Run("maps", stage, SETTINGS, "", folder.name)
        manifest = store.read_manifest(folder / "manifest.json")
        run.key, run.upstream = manifest["key"], manifest["upstream"]
        saved = run.load()
        run.save(FORGED[kind](saved.tensors), {}, saved.record, True)
    with pytest.warns(store.RunWarning, match=r"holds no map of these features\. It is made again"):
        second = embedding_cache.fit_map(real, "tsne", SETTINGS, seed=3)
    np.testing.assert_array_equal(second.coordinates, first.coordinates)
    with pytest.warns(store.RunWarning, match=r"holds no map of these features\. It is made again"):
        np.testing.assert_array_equal(second.place(made), placed)


def test_a_damaged_map_is_made_again(outputs):
    first = embedding_cache.fit_map(features(), "tsne", SETTINGS, seed=3)
    (state,) = outputs.rglob("state-*")
    state.unlink()
    state.write_bytes(b"rot")
    with pytest.warns(store.RunWarning, match=r"is damaged.*It is made again"):
        second = embedding_cache.fit_map(features(), "tsne", SETTINGS, seed=3)
    np.testing.assert_array_equal(second.coordinates, first.coordinates)
    embedding_cache.fit_map(features(), "tsne", SETTINGS, seed=3)

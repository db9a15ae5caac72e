"""Arrays as data: what `make_long_tailed` gives is what a named data set gives."""

import numpy as np
import pytest
import torch

import facog_lab
from facog_lab.config import ConfigError, DataError
from facog_lab.data.arrays import make_long_tailed
from facog_lab.data.load import load, read
from facog_lab.runs import presets
from facog_lab.settings import DataConfig

RNG = np.random.default_rng(0)


def some(counts=(30, 20, 12), side=8, channels=()):
    labels = np.repeat(np.arange(len(counts)), counts)
    return RNG.integers(0, 256, (len(labels), side, side, *channels), np.uint8), labels


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(("profile", "ratio"), [("exponential", 20.0), ("as_found", None)])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_digits_as_arrays_are_the_digits_of_the_lab(seed, profile, ratio, kind):
    asked = {"dataset": "digits", "profile": profile, "split_seed": seed}
    config = DataConfig(**asked | ({"imbalance_ratio": ratio} if ratio else {}))
    named, whole = load(config), read(config, print)
    parts = [whole.images, whole.labels, whole.test_images, whole.test_labels]
    images, labels, *test = [x.numpy() for x in parts] if kind == "numpy" else parts
    made = make_long_tailed(
        images, labels, test=tuple(test), profile=profile, ratio=ratio or 20, name="digits",
        class_names=whole.class_names, split_seed=seed,
    )  # fmt: skip
    for name in ("images", "labels", "index", "class_counts", "test_images", "test_labels"):
        assert torch.equal(getattr(made, name), getattr(named, name)), name
    assert (made.split_hash, made.fingerprint) == (named.split_hash, named.fingerprint)
    assert (made.mean, made.std, made.class_names) == (named.mean, named.std, named.class_names)


def test_they_open_as_an_experiment_and_train(outputs):
    images, labels = some()
    data = make_long_tailed(images, labels, ratio=5, name="mine")
    settings = presets.experiment(phase1={"epochs": 2, "warmup_epochs": 1}, phase2={"epochs": 1})
    lab = facog_lab.open_lab(settings, "cpu", data=data)
    assert set(lab.compare()) > {"phase1", "facog", "random_oversampling"}
    assert lab.phase2.run.folder.is_relative_to(outputs / "mine")
    other = make_long_tailed(255 - images, labels, ratio=5, name="mine")
    key = facog_lab.open_lab(settings, "cpu", data=other).phase1.run.key
    assert key != lab.phase1.run.key  # other images are another run
    with pytest.raises(ConfigError, match="devices = 2: arrays are in this process alone"):
        facog_lab.open_lab(settings, "cpu", devices=2, data=data)


def test_colour_texts_and_no_test_images():
    images, labels = some((40, 25, 15), channels=(3,))
    names = np.array(["ant", "bee", "fly"], dtype=object)[labels]
    made = make_long_tailed(images, names, profile="as_found")
    assert made.class_names == ("ant", "bee", "fly")
    assert made.images.shape[1:] == (3, 8, 8)
    assert made.test_labels.bincount().tolist() == [8, 5, 3]
    assert made.class_counts.tolist() == [32, 20, 12]
    held = {image.numpy().tobytes() for image in made.test_images}
    assert not held & {image.numpy().tobytes() for image in made.images}
    again = make_long_tailed(images.transpose(0, 3, 1, 2), names, profile="as_found")
    assert torch.equal(again.images, made.images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((3, 8, 8))}, r"images: \(3, 8, 8\) of torch.float64"),
        ({"images": np.zeros((3, 8, 9), np.uint8)}, r"cut images square"),
        ({"images": np.zeros((0, 8, 8), np.uint8), "labels": []}, r"images: \(0,"),
        ({"labels": np.zeros(5, int)}, "for 62 images. Give one label for each"),
        ({"labels": np.full(62, 0.5)}, "labels: shape"),
        ({"class_names": ["a", "b"]}, "2 class_names, and labels"),
        ({"test": (np.zeros((2, 8, 8), np.uint8), [0, 1])}, "class 2 has no test images"),
        ({"test": (np.zeros((4, 8, 8), np.uint8), [0, 1, 2, 9])}, "class 9 has no training images"),
        ({"ratio": 1000.0}, "imbalance"),
    ],
)
def test_what_is_no_data_set_is_refused_in_words(change, message):
    images, labels = some()
    given = {"images": images, "labels": labels} | change
    with pytest.raises((DataError, ConfigError), match=message):
        make_long_tailed(given.pop("images"), given.pop("labels"), **given)

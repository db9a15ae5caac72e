import pytest
import tiny
import torch

from facog_lab.dictionary import FeatureDictionary
from facog_lab.phase1 import Phase1
from facog_lab.rng import derive_seed, rng_for
from facog_lab.runs.extract import extract
from facog_lab.settings import DictionaryConfig, Phase1Config
from facog_lab.views import make_views


def test_rows_are_grouped_by_class_and_remember_their_image():
    made = tiny.dictionary()
    assert (made.labels.diff() >= 0).all()
    assert made.class_counts.tolist() == [40, 20, 9, 3, 1]
    for c in range(5):
        rows = made.labels[made.starts[c] : made.starts[c + 1]]
        assert rows.unique().tolist() == [c]
    assert sorted(made.image_index.tolist()) == list(range(73))


@pytest.mark.parametrize("n_s", [1, 3, 5, 20])
def test_draws_are_of_the_class_and_repeat_only_where_it_is_small(n_s):
    made = tiny.dictionary()
    labels = torch.arange(5).repeat(200)
    rows = made.draw(labels, n_s, torch.Generator().manual_seed(0))
    assert rows.shape == (1000, n_s)
    assert (made.labels[rows] == labels[:, None]).all()
    distinct = torch.tensor([row.unique().numel() for row in rows])
    assert (distinct[made.class_counts[labels] >= n_s] == n_s).all()


@pytest.mark.parametrize(("size", "n_s"), [(4, 2), (5, 5), (3, 5), (7, 1)])
def test_every_slot_draws_every_row_alike(size, n_s):
    """Chi-square of rows per slot, and of the pairs in slots 0 and 1."""
    made = tiny.dictionary((size, 2))
    times = 24_000
    rows = made.draw(torch.zeros(times, dtype=torch.int64), n_s, torch.Generator().manual_seed(1))
    expected = times / size
    for slot in range(n_s):
        counts = torch.bincount(rows[:, slot], minlength=size)
        assert ((counts - expected) ** 2 / expected).sum() < 25  # p < 0.001 at 7 degrees: 24.3
    if n_s > 1 and size >= n_s:
        pairs = torch.bincount(rows[:, 0] * size + rows[:, 1], minlength=size * size)
        possible = pairs.view(size, size)[~torch.eye(size, dtype=torch.bool)]
        expected = times / len(possible)
        assert ((possible - expected) ** 2 / expected).sum() < 46  # p < 0.001 at 19: 43.8
        assert pairs.view(size, size).diagonal().sum() == 0


def test_the_same_generator_gives_the_same_rows():
    made = tiny.dictionary()
    labels = torch.arange(5).repeat(10)
    one, two = (made.draw(labels, 5, rng_for("cpu", 7, "x")) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, made.draw(labels, 5, rng_for("cpu", 8, "x")))


def test_what_is_saved_makes_the_same_dictionary():
    made = tiny.dictionary()
    again = FeatureDictionary.from_tensors(made.tensors(), made.class_names)
    for name in ("features", "labels", "image_index", "class_counts", "starts", "test_features"):
        assert torch.equal(getattr(made, name), getattr(again, name))


def test_extraction_is_the_bare_forward_pass():
    data = tiny.long_tailed()
    loop = Phase1(
        Phase1Config(architecture="small", feature_dim=0, augmentation="crop"), data, "cpu"
    )
    made = extract(loop, DictionaryConfig())
    views = make_views(
        data.images, "clean", seed=0, epoch=0, index=torch.arange(69), mean=data.mean, std=data.std
    )
    loop.model.eval()
    with torch.no_grad():
        expected = loop.model.backbone(views)
    assert torch.allclose(made.features, expected[made.image_index], atol=1e-5)
    assert made.class_counts.tolist() == [40, 20, 9]
    assert len(made.test_features) == 36


def test_more_views_are_more_rows_of_the_same_images():
    data = tiny.long_tailed()
    loop = Phase1(
        Phase1Config(architecture="small", feature_dim=0, augmentation="crop"), data, "cpu"
    )
    made = extract(loop, DictionaryConfig(views=2))
    assert len(made.features) == 3 * 69
    assert made.class_counts.tolist() == [40, 20, 9]  # images, not rows
    assert torch.bincount(made.image_index).tolist() == [3] * 69
    of_one_image = made.features[made.image_index == 0]
    assert not torch.equal(of_one_image[0], of_one_image[1])
    again = extract(loop, DictionaryConfig(views=2))
    assert torch.equal(made.features, again.features)


def test_augmented_rows_are_the_regular_views_that_the_dictionarys_seed_draws():
    """The clean view first, then one row a view; not the views that phase 1 was trained on."""
    data = tiny.long_tailed()
    loop = Phase1(
        Phase1Config(architecture="small", feature_dim=0, augmentation="crop", seed=7), data, "cpu"
    )
    made = extract(loop, DictionaryConfig(views=2, seed=7))
    asked = {"epoch": 0, "index": torch.arange(69), "mean": data.mean, "std": data.std}
    own = derive_seed(7, "dictionary")
    views = [make_views(data.images, "clean", seed=0, **asked)]
    views += [make_views(data.images, "crop", seed=own, view=view, **asked) for view in (0, 1)]
    loop.model.eval()
    with torch.no_grad():
        expected = [loop.model.backbone(images) for images in views]
    for image in range(69):
        rows = made.features[made.image_index == image]
        by_hand = torch.stack([features[image] for features in expected])
        assert torch.allclose(rows, by_hand, atol=1e-5)
    other = extract(loop, DictionaryConfig(views=2, seed=8))
    assert not torch.equal(other.features, made.features)
    trained_on = loop.views(torch.arange(69), 0)
    assert not torch.equal(trained_on[0], views[1])


def parts(**changes):
    base = {
        "features": torch.zeros(3, 2),
        "labels": torch.tensor([0, 1, 1]),
        "image_index": torch.arange(3),
        "class_names": ("cat", "dog"),
        "test_features": torch.zeros(2, 2),
        "test_labels": torch.arange(2),
    }
    return base | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.tensor([0, 1])}, "as many of each"),
        ({"labels": torch.tensor([1, 1, 1])}, "'cat' has no feature"),
        ({"features": torch.tensor([[0, 0], [0, float("nan")], [0, 0]])}, "feature 1 holds NaN"),
    ],
)
def test_errors_name_what_is_wrong(changes, message):
    with pytest.raises(ValueError, match=message):
        FeatureDictionary.build(**parts(**changes))

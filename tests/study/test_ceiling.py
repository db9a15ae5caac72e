"""Real images put back: which, how many, and that nothing else changes."""

import pytest
import tiny
import torch

from facog_lab.config import ConfigError
from facog_lab.runs.left_out import LeftOut
from facog_lab.runs.stages import Source
from facog_lab.study import ceiling
from facog_lab.study.ceiling import CeilingConfig, refilled

COUNTS = (40, 20, 9, 3, 1)


@pytest.fixture
def given():
    features = tiny.dictionary(COUNTS)
    whole = {"full": torch.arange(len(features.test_labels))}
    return Source("tiny", features, tiny.model(features), "abc", "0" * 64, whole)


@pytest.fixture
def more():
    """None of the largest class, 30 of each other; each feature holds its own number."""
    labels = torch.arange(1, 5).repeat_interleave(30)
    return LeftOut(1000 + torch.arange(len(labels))[:, None].repeat(1, 6).float(), labels)


def added(filled):
    """The numbers of the images put back."""
    features = filled.features.features
    return (features[features[:, 0] >= 1000][:, 0] - 1000).long()


@pytest.mark.parametrize(
    ("images", "counts"),
    [
        ("10", (40, 20, 10, 10, 10)),
        ("20", (40, 20, 20, 20, 20)),
        ("50", (40, 50, 39, 33, 31)),  # as far as there are any
        ("all", (40, 50, 39, 33, 31)),
        ("10 more", (40, 30, 19, 13, 11)),
        ("unseen", COUNTS),
    ],
)
def test_each_class_has_what_the_rung_says(given, more, images, counts):
    filled = refilled(given, more, images)
    assert tuple(filled.features.class_counts.tolist()) == counts
    own = added(filled)
    assert len(own.unique()) == len(own)
    rows = filled.features.features[:, 0] >= 1000
    assert torch.equal(filled.features.labels[rows], more.labels[own])
    assert torch.equal(filled.features.test_features, given.features.test_features)
    assert torch.equal(filled.features.image_index.unique(), filled.features.image_index.sort()[0])


def test_unseen_takes_seen_images_only_where_none_were_left_out(given, more):
    filled = refilled(given, more, "unseen")
    seen = filled.features.labels[filled.features.features[:, 0] < 1000]
    assert torch.equal(seen, torch.zeros(40, dtype=torch.int64))


def test_a_larger_rung_holds_a_smaller_one_and_a_seed_draws_others(given, more):
    small, large, other = (
        set(added(refilled(given, more, images, seed)).tolist())
        for images, seed in (("10", 0), ("20", 0), ("10", 1))
    )
    assert small < large
    assert small != other


def test_augmented_rows_stay_with_their_image(more):
    features = tiny.dictionary(COUNTS)
    twice = type(features).build(
        features.features.repeat(2, 1), features.labels.repeat(2), features.image_index.repeat(2),
        features.class_names, features.test_features, features.test_labels,
    )  # fmt: skip
    given = Source("tiny", twice, tiny.model(twice), "abc", "", {})
    assert refilled(given, more, "20").features.class_counts.tolist() == [40, 20, 20, 20, 20]


def test_every_rung_and_seed_has_a_key_of_its_own(given, more):
    keys = {refilled(given, more, i, s).key for i in ("10", "20", "all") for s in (0, 1)}
    assert len(keys | {given.key}) == 7
    assert refilled(given, more, "10").key == ceiling.key(given.key, "10", 0)


def test_an_unknown_rung_is_named():
    with pytest.raises(ConfigError, match="7"):
        CeilingConfig(images="7")

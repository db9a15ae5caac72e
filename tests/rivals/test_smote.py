from collections import Counter

import numpy as np
import pytest
import tiny
import torch
from imblearn.over_sampling import SMOTE as THEIR_SMOTE
from imblearn.over_sampling import BorderlineSMOTE
from scipy.stats import ks_2samp

from facog_lab.dictionary import FeatureDictionary
from facog_lab.rivals.smote import DOS, SMOTE, in_class_neighbours, in_danger
from facog_lab.rng import rng_for
from facog_lab.settings import Controls

COUNTS = (120, 60, 30, 12, 7)


def mixed(oversampler, label, count):
    labels = torch.full((count,), label)
    return oversampler.generate(labels, Controls(), rng_for("cpu", "smote", label))


def test_neighbours_against_a_double_loop():
    dictionary = tiny.dictionary((9, 4, 2, 1))
    near, count = in_class_neighbours(dictionary, 5)
    for row in range(16):
        own = [r for r in range(16) if dictionary.labels[r] == dictionary.labels[row] and r != row]
        own.sort(
            key=lambda r, row=row: float((dictionary.features[r] - dictionary.features[row]).norm())
        )
        assert count[row] == min(5, len(own))
        assert near[row, : count[row]].tolist() == own[:5]
        assert (near[row, count[row] :] == row).all()


def test_views_of_one_image_are_no_neighbours():
    base = torch.tensor([[0.0], [1.0], [5.0]])
    dictionary = FeatureDictionary.build(
        torch.cat([base, base + 0.01]),
        torch.tensor([0, 0, 1, 0, 0, 1]),
        torch.tensor([0, 1, 2, 0, 1, 2]),
        ("a", "b"),
        base,
        torch.tensor([0, 0, 1]),
    )
    near, count = in_class_neighbours(dictionary, 5)
    assert count.tolist() == [2, 2, 2, 2, 0, 0]
    rows = near[dictionary.labels == 0][:, :2]
    assert (
        dictionary.image_index[rows] != dictionary.image_index[dictionary.labels == 0][:, None]
    ).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_features_are_in_danger_as_in_imbalanced_learn(seed):
    dictionary = tiny.dictionary(COUNTS, width=3, seed=seed)
    theirs = BorderlineSMOTE(sampling_strategy=dict.fromkeys(range(5), 130), random_state=0)
    theirs.fit_resample(dictionary.features.numpy(), dictionary.labels.numpy())
    expected = np.sort(np.concatenate(list(theirs.in_danger_indices.values())))
    assert len(expected) > 5
    assert in_danger(dictionary).nonzero()[:, 0].tolist() == expected.tolist()


@pytest.mark.parametrize("borderline", [False, True])
def test_points_as_imbalanced_learn_makes_them(borderline):
    dictionary = tiny.dictionary(COUNTS, width=3, seed=1)
    ours = SMOTE(dictionary, borderline)
    kind = BorderlineSMOTE if borderline else THEIR_SMOTE
    theirs = kind(sampling_strategy={3: 3012, 4: 3007}, random_state=0)
    x, y = theirs.fit_resample(dictionary.features.numpy(), dictionary.labels.numpy())
    directions = np.random.default_rng(0).normal(size=(4, 3))
    for label in (3, 4):
        new = x[len(dictionary.labels) :][y[len(dictionary.labels) :] == label]
        made = mixed(ours, label, 3000)
        assert len(new) == 3000
        for direction in directions:
            assert ks_2samp(new @ direction, made.features.numpy() @ direction).pvalue > 1e-3
        # each of theirs lies between one of our starting features and one of its neighbours
        base = ours.pool[dictionary.labels[ours.pool] == label]
        ends = dictionary.features[ours.neighbours[base]]  # (P, 5, 3)
        start = dictionary.features[base][:, None].expand_as(ends)
        assert on_a_segment(torch.tensor(new), start.reshape(-1, 3), ends.reshape(-1, 3)).all()


def on_a_segment(points, a, b):
    along = b - a
    t = ((points[:, None] - a) * along).sum(2) / along.square().sum(1)
    nearest = a + t.clamp(0, 1)[..., None] * along
    return (points[:, None] - nearest).norm(dim=2).amin(1) < 1e-4


def test_every_neighbour_is_taken_alike():
    dictionary = tiny.dictionary(COUNTS)
    made = mixed(SMOTE(dictionary), 4, 6000)
    pairs = Counter(map(tuple, made.rows.tolist()))
    assert len(pairs) == 7 * 5
    chi = sum((n - 6000 / 35) ** 2 / (6000 / 35) for n in pairs.values())
    assert chi < 65  # p = 0.001 at 34 degrees
    assert abs(made.weights[:, 1].mean() - 0.5) < 0.02


def test_a_class_of_three_has_two_neighbours():
    made = mixed(SMOTE(tiny.dictionary()), 3, 200)
    assert len(set(map(tuple, made.rows.tolist()))) == 6


def test_a_class_without_danger_starts_from_all_its_features():
    apart = tiny.dictionary((20, 20, 8))
    features = apart.features + 1000 * apart.labels[:, None]
    apart = FeatureDictionary.build(
        features, apart.labels, apart.image_index, apart.class_names, features, apart.labels
    )
    assert not in_danger(apart).any()
    made = mixed(SMOTE(apart, borderline=True), 2, 200)
    assert made.rows[:, 0].unique().tolist() == list(range(40, 48))


def test_dos_weights_are_folded_normals_over_the_neighbours():
    dictionary = tiny.dictionary(COUNTS)
    made = mixed(DOS(dictionary), 0, 4000)
    normal = np.abs(np.random.default_rng(0).normal(size=(4000, 5)))
    expected = normal / normal.sum(1, keepdims=True)
    for slot in range(5):
        assert ks_2samp(made.weights[:, slot].numpy(), expected[:, slot]).pvalue > 1e-3
    near, _ = in_class_neighbours(dictionary, 5)
    sets = {frozenset(row.tolist()) for row in near}
    assert all(frozenset(row) in sets for row in made.rows.tolist())
    few = mixed(DOS(tiny.dictionary()), 3, 50)  # a class of three: two neighbours, three slots idle
    assert ((few.weights > 0).sum(1) == 2).all()
